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

/// How long threads may take to notice that their stream was shut down, once `--drain` is over.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The clients that a server with blocking threads is serving.
///
/// A thread that blocks in read(2) or write(2) cannot look at a flag: it must be woken by someone who
/// holds its stream. This is that someone. It also counts, so that accepting can wait for a place.
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

/// One client's stream for as long as it is served. Dropping it frees the place and closes the stream.
#[derive(Debug)]
pub struct Client {
    clients: Arc<Clients>,
    stream: Arc<Socket>,
    key: usize,
}

impl Clients {
    /// No clients yet.
    pub fn new(options: &Options) -> Arc<Clients> {
        let state = State { live: Slab::new(), tally: Tally::new(options), stopping: false };
        Arc::new(Clients { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Enters a client. If the drain has begun, its stream is drained like the others.
    pub fn enter(self: &Arc<Clients>, stream: Socket) -> Client {
        let mut state = self.lock();
        state.tally.opened(&stream);
        if state.stopping {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let stream = Arc::new(stream);
        let key = state.live.insert(Arc::clone(&stream));
        Client { clients: Arc::clone(self), stream, key }
    }

    /// Number of clients being served.
    pub fn active(&self) -> usize {
        self.lock().live.len()
    }

    /// Sleeps until `listener` may accept again: while it is paused, as [`wait_for_pause`] does; and while
    /// `--max-connections` are being served until one of them leaves. A drain ends both.
    ///
    /// [`wait_for_pause`]: Clients::wait_for_pause
    pub fn wait_for_place(&self, listener: &mut Listener) {
        self.wait_for_pause(listener);
        let full = |state: &mut State| !listener.is_open(state.live.len()) && !state.stopping;
        drop(self.wait_while(self.lock(), None, full));
    }

    /// While `listener` is paused, sleeps until a client leaves, the pause is over, or a drain begins.
    pub fn wait_for_pause(&self, listener: &mut Listener) {
        if let Some(pause) = listener.patience() {
            let state = self.lock();
            let active = state.live.len();
            let none_left = |state: &mut State| state.live.len() >= active && !state.stopping;
            drop(self.wait_while(state, Some(pause), none_left));
            listener.resume();
        }
    }

    /// Starts the thread that wakes the others: it sleeps until a stop is requested, then shuts the
    /// listener down, which makes accept(2) fail, and lets the clients finish, for `limit` at most.
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
        let doorbell = listener.doorbell()?;
        let (clients, stop) = (Arc::clone(self), Arc::clone(stop));
        thread::Builder::new().name("drain".to_owned()).spawn(move || {
            stop.wait()?;
            // Another process that shares the listener may have been faster: the bell has rung then.
            let _ = doorbell.shutdown(Shutdown::Read);
            clients.drain(limit);
            Ok(())
        })
    }

    /// Lets every client finish: shuts down the reading half of its stream, so that its thread finds end
    /// of stream behind what has arrived, echoes that, and leaves. Those that have not left after `limit`
    /// are shut down altogether, which ends a write(2) to a peer that does not read.
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

    /// What has been done so far.
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
        let mut state = self.clients.lock();
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

impl Drop for Client {
    fn drop(&mut self) {
        // The last handle of the stream goes with the last clone of the `Arc`, which is ours.
        self.clients.lock().live.try_remove(self.key);
        self.clients.changed.notify_all();
    }
}
