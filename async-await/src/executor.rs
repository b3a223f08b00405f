//! The executor: takes a woken task from the queue and polls it. When the queue is empty, it sleeps in
//! the selector.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use polling::{Events, Poller};
use slab::Slab;

use crate::io::Interest;
use crate::task::{JoinHandle, Run, Task};

/// Owns the tasks, the timers and the selector.
pub struct Executor {
    core: Mutex<Core>,
    pub(crate) poller: Poller,
    /// A thread that sleeps in the selector holds this lock. The other idle threads sleep on the lock.
    leader: Mutex<Leader>,
}

/// What all threads share. Under its lock, no future and no waker is called or dropped.
#[derive(Default)]
pub(crate) struct Core {
    /// The tasks that have not ended.
    pub(crate) tasks: Slab<Arc<dyn Run>>,
    /// The queue: the tasks that were woken.
    ready: VecDeque<Arc<dyn Run>>,
    /// Tasks to take before the selector is asked again: those that were in the queue after the last wait.
    turn: usize,
    /// The timers, the earliest first. The number tells timers of the same time apart.
    pub(crate) timers: BTreeMap<(Instant, u64), Waker>,
    pub(crate) timers_made: u64,
    pub(crate) interests: Slab<Interest>,
    /// A thread sleeps in the selector, or is about to.
    asleep: bool,
    /// The threads must leave.
    over: bool,
}

struct Leader {
    /// The events of one wait, at most 1024. The kernel keeps the others for the next wait.
    events: Events,
    woken: Vec<Waker>,
}

impl Executor {
    /// An executor without tasks.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for the selector.
    pub fn new() -> io::Result<Arc<Executor>> {
        let leader = Mutex::new(Leader { events: Events::new(), woken: Vec::new() });
        Ok(Arc::new(Executor { core: Mutex::default(), poller: Poller::new()?, leader }))
    }

    /// Makes a task of `future`. The task runs while [`block_on`](Self::block_on) does.
    pub fn spawn<F>(self: &Arc<Self>, future: F) -> JoinHandle<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut core = self.lock();
        let entry = core.tasks.vacant_entry();
        let task = Task::new(Arc::clone(self), entry.key(), future);
        entry.insert(task.clone());
        drop(core);
        Arc::clone(&task).wake();
        JoinHandle { task }
    }

    /// Runs tasks on this thread and `threads - 1` others until `future` ends. Then drops the tasks that
    /// are left. Returns the output of `future`, or goes on with its panic. One call at a time.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, and those of epoll_wait(2) except EINTR.
    pub fn block_on<F>(self: &Arc<Self>, threads: usize, future: F) -> io::Result<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut main = self.spawn(future);
        let waker = Waker::from(Arc::clone(self));
        let output = loop {
            self.lock().over = false;
            match Pin::new(&mut main).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => break Ok(output),
                Poll::Pending => {
                    if let Err(error) = self.run(threads) {
                        break Err(error);
                    }
                }
            }
        };
        let tasks = mem::take(&mut self.lock().tasks);
        tasks.iter().for_each(|(_, task)| task.abandon());
        let _abandoned = mem::take(&mut self.lock().ready);
        Ok(output?.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn run(&self, threads: usize) -> io::Result<()> {
        let work = || {
            let worked = self.work();
            self.finish(); // What ends one thread ends all.
            worked
        };
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work);
            let others: io::Result<Vec<_>> = (1..threads).map(spawn).collect();
            let others = others.inspect_err(|_| self.finish())?;
            let worked = work();
            for other in others {
                other.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            worked
        })
    }

    fn work(&self) -> io::Result<()> {
        loop {
            while let Some(task) = self.take() {
                task.run();
            }
            if !self.wait()? {
                return Ok(());
            }
        }
    }

    /// The next task of the queue; `None` when there is none, or a wait must come first.
    fn take(&self) -> Option<Arc<dyn Run>> {
        let mut core = self.lock();
        if core.over || core.turn == 0 && !core.asleep {
            return None;
        }
        core.turn = core.turn.saturating_sub(1);
        core.ready.pop_front()
    }

    /// Sleeps until there is an event, a timer or a new task. Returns whether the thread goes on.
    fn wait(&self) -> io::Result<bool> {
        let mut leader = lock(&self.leader);
        let mut core = self.lock();
        if core.over || core.turn > 0 && !core.ready.is_empty() {
            return Ok(!core.over); // The leader before this one has left tasks in the queue.
        }
        let timeout = match core.timers.first_key_value() {
            _ if !core.ready.is_empty() => Some(Duration::ZERO),
            Some(((until, _), _)) => Some(until.saturating_duration_since(Instant::now())),
            None => None,
        };
        core.asleep = true;
        drop(core);
        let Leader { events, woken } = &mut *leader;
        events.clear(); // polling's `wait` appends.
        let waited = self.poller.wait(events, timeout);
        let mut core = self.lock();
        core.asleep = false;
        waited?;
        for event in events.iter() {
            if let Some(interest) = core.interests.get_mut(event.key) {
                woken.extend(interest.report(event.key, &self.poller));
            }
        }
        while let Some(timer) = core.timers.first_entry()
            && timer.key().0 <= Instant::now()
        {
            woken.push(timer.remove());
        }
        drop(core);
        woken.drain(..).for_each(Waker::wake);
        let mut core = self.lock();
        core.turn = core.ready.len();
        Ok(true)
    }

    /// Puts a task into the queue.
    pub(crate) fn push(&self, task: Arc<dyn Run>) {
        let mut core = self.lock();
        core.ready.push_back(task);
        self.rouse(core);
    }

    /// Ends the sleep in the selector, if a thread is in it: something is new.
    pub(crate) fn rouse(&self, core: MutexGuard<'_, Core>) {
        if core.asleep {
            let _ = self.poller.notify(); // A write to an eventfd, which has room.
        }
    }

    fn finish(&self) {
        let mut core = self.lock();
        core.over = true;
        self.rouse(core);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }
}

/// The waker of [`Executor::block_on`]: the threads leave, and the main future is polled again.
impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.finish();
    }
}

/// Locks, also after a panic: no panic leaves an update half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
