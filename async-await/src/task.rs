//! A task: a future that the executor owns, and the waker that queues it.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::executor::{Executor, lock};

/// A future and its state. The task is its own waker: every waker is a handle of the same task. A waker
/// may outlive the future, so the future has a box of its own.
pub(crate) struct Task<F: Future> {
    executor: Arc<Executor>,
    /// Its key among the executor's tasks.
    key: usize,
    state: Mutex<State<F>>,
}

struct State<F: Future> {
    /// `None` while a thread polls it, and after its end.
    future: Option<Pin<Box<F>>>,
    /// The task is in the queue, or goes there after the poll that is going on.
    woken: bool,
    end: End<F::Output>,
}

enum End<T> {
    /// Not reached. The waker is of the task that awaits the [`JoinHandle`].
    Awaited(Option<Waker>),
    /// The output, or the panic.
    Reached(thread::Result<T>),
}

/// A task of any type, as the queue holds it.
pub(crate) trait Run: Send + Sync {
    /// Polls the future once.
    fn run(self: Arc<Self>);

    /// Drops the future.
    fn abandon(&self);
}

impl<F: Future<Output: Send> + Send + 'static> Task<F> {
    pub(crate) fn new(executor: Arc<Executor>, key: usize, future: F) -> Arc<Task<F>> {
        let future = Some(Box::pin(future));
        let state = State { future, woken: false, end: End::Awaited(None) };
        Arc::new(Task { executor, key, state: Mutex::new(state) })
    }
}

impl<F: Future<Output: Send> + Send + 'static> Wake for Task<F> {
    /// Queues the task: from any thread, but only once, and not after its end.
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.state);
        let woken = mem::replace(&mut state.woken, true);
        if !woken && state.future.is_some() {
            self.executor.push(self.clone());
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Run for Task<F> {
    fn run(self: Arc<Self>) {
        let mut state = lock(&self.state);
        state.woken = false; // A wake during this poll asks for another one.
        let Some(mut future) = state.future.take() else { return };
        drop(state);
        let waker = Waker::from(self.clone());
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        // A panic ends the task and not the thread. The panic hook has reported it already.
        let output = match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                let mut state = lock(&self.state);
                state.future = Some(future);
                if state.woken {
                    self.executor.push(self.clone());
                }
                return;
            }
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future))); // A destructor may panic too.
        let _removed = self.executor.lock().tasks.try_remove(self.key);
        let end = mem::replace(&mut lock(&self.state).end, End::Reached(output));
        if let End::Awaited(Some(joiner)) = end {
            joiner.wake();
        }
    }

    fn abandon(&self) {
        let future = lock(&self.state).future.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

/// Awaits the end of a task: its output, or its panic. The task goes on when the handle is dropped.
pub struct JoinHandle<F: Future> {
    pub(crate) task: Arc<Task<F>>,
}

impl<F: Future> Future for JoinHandle<F> {
    type Output = thread::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<thread::Result<F::Output>> {
        let awaited = End::Awaited(Some(context.waker().clone()));
        let end = mem::replace(&mut lock(&self.task.state).end, awaited);
        match end {
            End::Awaited(_) => Poll::Pending,
            End::Reached(output) => Poll::Ready(output),
        }
    }
}
