//! What the tasks of the server share, and what they wait for besides sockets and time.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use async_await::{Executor, Source};
use echo::{Options, Scratch, Stop, Tally};
use slab::Slab;
use socket2::Socket;

/// What all tasks share.
pub(crate) struct Server {
    pub(crate) executor: Arc<Executor>,
    pub(crate) options: Options,
    /// Burns the CPU time of `--work`.
    pub(crate) work: Scratch,
    tally: Mutex<Tally>,
    /// Clients connected.
    active: AtomicUsize,
    /// The task that waits until a client leaves.
    departure: Mutex<Option<Waker>>,
    stop: Stop,
    /// When the drain that has begun must end.
    deadline: OnceLock<Instant>,
    /// The tasks that wait for a stop.
    stopping: Mutex<Slab<Waker>>,
}

impl Server {
    /// Nothing is served yet. From here on SIGINT and SIGTERM are requests to stop.
    pub(crate) fn new(options: &Options) -> io::Result<Arc<Server>> {
        Ok(Arc::new(Server {
            executor: Executor::new()?,
            options: options.clone(),
            work: Scratch::with(0, options.work),
            tally: Mutex::new(Tally::new(options)),
            active: AtomicUsize::new(0),
            departure: Mutex::new(None),
            stop: Stop::new()?,
            deadline: OnceLock::new(),
            stopping: Mutex::new(Slab::new()),
        }))
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Clients connected.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// Waits until fewer than `count` clients are connected. One task at a time can wait for this.
    pub(crate) fn fewer_than(&self, count: usize) -> impl Future<Output = ()> + Unpin {
        poll_fn(move |context| {
            // First the waker and then the look: a client that leaves in between finds the waker.
            *lock(&self.departure) = Some(context.waker().clone());
            if self.active() < count { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// A source that becomes readable at a request to stop.
    pub(crate) fn stop_source(&self) -> io::Result<Source> {
        let descriptor = self.stop.as_fd().try_clone_to_owned()?;
        Ok(Source::new(&self.executor, Socket::from(descriptor)))
    }

    /// Waits for a request to stop. Returns the deadline of the drain.
    pub(crate) fn stopping(&self) -> Stopping<'_> {
        Stopping { server: self, key: None }
    }

    /// Wakes the tasks that wait for a request to stop.
    pub(crate) fn wake_stopping(&self) {
        let wakers: Vec<Waker> = lock(&self.stopping).iter().map(|(_, it)| it.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Waits for a request to stop. It must stay in the task that polls it first.
pub(crate) struct Stopping<'a> {
    server: &'a Server,
    /// Its key among the waiting, once it is one of them.
    key: Option<usize>,
}

impl Future for Stopping<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        let server = self.server;
        if self.key.is_none() {
            self.key = Some(lock(&server.stopping).insert(context.waker().clone()));
        }
        // The flag counts, not the wake: the wake may be behind a queue of tasks that compute.
        if !server.stop.requested() {
            return Poll::Pending;
        }
        Poll::Ready(*server.deadline.get_or_init(|| Instant::now() + server.options.drain))
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        let _waker = self.key.and_then(|key| lock(&self.server.stopping).try_remove(key));
    }
}

/// One of the places that `--max-connections` allows. Dropping it frees the place.
pub(crate) struct Place(Arc<Server>);

impl Place {
    /// Takes a place for the client at the other end of `socket`.
    pub(crate) fn new(server: &Arc<Server>, socket: &Socket) -> Place {
        server.tally().opened(socket);
        server.active.fetch_add(1, Relaxed);
        Place(Arc::clone(server))
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
        let departure = lock(&self.0.departure).take();
        if let Some(waker) = departure {
            waker.wake();
        }
    }
}

/// Locks, also after a panic: no panic leaves an update half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
