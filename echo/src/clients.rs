//! The live streams of a server whose threads block in them.

use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::Socket;

use crate::{Listener, Options, Stop, Tally, Totals};

/// How long threads may take to notice that their stream was shut down, after `--drain`.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The clients that a server with blocking threads is serving.
///
/// A thread that blocks in read(2) or write(2) cannot look at a flag. Another thread must wake it, and
/// needs its stream for that: here are all streams. Their number tells the acceptor whether there is a
/// place for one more client.
#[derive(Debug)]
pub struct Clients {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    live: Slab<Arc<Socket>>,
    tally: Tally,
    stopping: bool,
}

/// One client's stream while it is served. Dropping it closes the stream, then frees the place.
#[derive(Debug)]
pub struct Client {
    // In this order: fields are dropped in the order of their declaration.
    stream: Arc<Socket>,
    place: Place,
}

/// One of the places that `--max-connections` allows.
#[derive(Debug)]
struct Place {
    clients: Arc<Clients>,
    key: usize,
}

impl Clients {
    /// No clients yet.
    pub fn new(options: &Options) -> Arc<Clients> {
        let state = State { live: Slab::new(), tally: Tally::new(options), stopping: false };
        Arc::new(Clients { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Enters a client. If the drain has begun, the client's stream is drained like the others.
    pub fn enter(self: &Arc<Clients>, stream: Socket) -> Client {
        let mut state = self.lock();
        state.tally.opened(&stream);
        if state.stopping {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let stream = Arc::new(stream);
        let key = state.live.insert(Arc::clone(&stream));
        Client { stream, place: Place { clients: Arc::clone(self), key } }
    }

    /// Number of clients being served.
    pub fn active(&self) -> usize {
        self.lock().live.len()
    }

    /// Sleeps until `listener` may accept again: during a pause as [`wait_for_pause`] does, and while the
    /// server is full, until a client leaves. A drain ends both waits.
    ///
    /// [`wait_for_pause`]: Clients::wait_for_pause
    pub fn wait_for_place(&self, listener: &mut Listener) {
        self.wait_for_pause(listener);
        let full = |state: &mut State| !listener.is_open(state.live.len()) && !state.stopping;
        drop(self.wait_while(self.lock(), None, full));
    }

    /// While `listener` is paused, sleeps until a client leaves, the pause is over, or a drain begins.
    pub fn wait_for_pause(&self, listener: &mut Listener) {
        if let Some(pause) = listener.pause_left() {
            let state = self.lock();
            let active = state.live.len();
            let none_left = |state: &mut State| state.live.len() >= active && !state.stopping;
            drop(self.wait_while(state, Some(pause), none_left));
        }
    }

    /// Starts the thread that ends the waits of the others. It sleeps until a stop is requested, shuts the
    /// listener down, which makes accept(2) fail, and lets the clients finish, for at most `limit`.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started or no descriptor is left.
    pub fn drain_when(
        self: &Arc<Clients>,
        stop: &Arc<Stop>,
        listener: &Listener,
        limit: Duration,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        let handle = listener.handle()?;
        let (clients, stop) = (Arc::clone(self), Arc::clone(stop));
        thread::Builder::new().name("drain".to_owned()).spawn(move || {
            stop.wait()?;
            // Fails if another process that shares the listener was faster.
            let _ = handle.shutdown(Shutdown::Read);
            clients.drain(limit);
            Ok(())
        })
    }

    /// Lets every client finish: shuts down the reading half of its stream. Its thread then finds end of
    /// stream behind what has arrived, echoes that, and leaves. After `limit`, the remaining streams are
    /// shut down altogether, which ends a write(2) to a peer that does not read.
    fn drain(&self, limit: Duration) {
        let mut state = self.lock();
        state.stopping = true;
        self.changed.notify_all();
        for (_, stream) in &state.live {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let state = self.wait_while(state, Some(limit), |state| !state.live.is_empty());
        for (_, stream) in &state.live {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(self.wait_while(state, Some(LAST_MOMENT), |state| !state.live.is_empty()));
    }

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        self.lock().tally.totals()
    }

    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        limit: Option<Duration>,
        mut condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        while condition(&mut state) {
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update is complete at once: a thread that panicked has left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Counts what was done for this client.
    pub fn served(&self, bytes: u64, result: &io::Result<()>) {
        let mut state = self.place.clients.lock();
        state.tally.sent(bytes);
        state.tally.closed(&self.stream, result);
    }
}

impl Deref for Client {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.stream
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let last = self.clients.lock().live.try_remove(self.key);
        // The descriptor must be free before the acceptor wakes: accept(2) would fail with EMFILE again.
        drop(last);
        self.clients.changed.notify_all();
    }
}
