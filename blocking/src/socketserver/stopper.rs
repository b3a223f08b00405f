//! How a server's loop is told to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::wake::Wake;

/// Ends a server's loop, from any thread or from a signal. Its clones end the same loop.
///
/// A stop is for good: a server that was told to stop takes no request any more.
///
/// ```
/// use socketserver::{Concurrency, Server, Socket};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let nothing = |_: &Socket| Ok(());
/// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), nothing)?;
/// let stopper = server.stopper();
/// let serving = std::thread::spawn(move || server.serve_forever());
/// stopper.shutdown(); // The loop may not even have begun.
/// # serving.join().map_err(|_| "the loop panicked")??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<State>);

#[derive(Debug)]
struct State {
    requested: Arc<AtomicBool>,
    wake: Arc<Wake>,
    /// The thread that is in the loop.
    looping: Mutex<Option<ThreadId>>,
    left: Condvar,
    signals: Mutex<Vec<SigId>>,
}

/// A thread is in the loop until this is dropped.
pub(crate) struct Looping<'a>(&'a State);

impl Stopper {
    pub(crate) fn new() -> io::Result<Stopper> {
        Ok(Stopper(Arc::new(State {
            requested: Arc::new(AtomicBool::new(false)),
            wake: Arc::new(Wake::new()?),
            looping: Mutex::new(None),
            left: Condvar::new(),
            signals: Mutex::new(Vec::new()),
        })))
    }

    /// Requests a stop, and waits until the loop has ended. The server then takes no more requests.
    /// Threads and processes may still serve the requests that it has taken.
    ///
    /// A server that serves one request at a time first finishes the present one, and this wait has
    /// no limit of its own. A handler with timeouts limits it.
    ///
    /// Does not wait when no loop runs: a loop that begins later ends at once. Does not wait either
    /// when a handler calls it in the loop's own thread, because that wait would never end.
    pub fn shutdown(&self) {
        self.request();
        let mut looping = self.looping();
        while looping.is_some_and(|thread| thread != thread::current().id()) {
            looping = self.0.left.wait(looping).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Requests a stop, and does not wait. The loop ends after the request that it is busy with.
    ///
    /// ```
    /// # use socketserver::{Concurrency, Server, Socket};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nothing = |_: &Socket| Ok(());
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), nothing)?;
    /// let stopper = server.stopper();
    /// stopper.request();
    /// assert!(stopper.requested());
    /// server.serve_forever()?; // Returns at once.
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.wake.ring();
    }

    /// Makes SIGINT and SIGTERM request a stop, until the server and the last clone of this stopper
    /// are dropped. A signal after the request ends the process at once, with the exit status that
    /// a shell would report: 128 plus the number of the signal.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    ///
    /// ```standalone_crate
    /// # use socketserver::{Concurrency, Server, Socket};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nothing = |_: &Socket| Ok(());
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), nothing)?;
    /// server.stopper().request_on_signals()?;
    /// # signal_hook::low_level::raise(signal_hook::consts::SIGTERM)?;
    /// server.serve_forever()?; // Until a signal comes.
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_on_signals(&self) -> io::Result<()> {
        let State { requested, wake, signals, .. } = &*self.0;
        let mut signals = signals.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: exit at the second signal, remember the first, wake the loop.
            let flag = || Arc::clone(requested);
            signals.push(flag::register_conditional_shutdown(signal, 128 + signal, flag())?);
            signals.push(flag::register(signal, flag())?);
            signals.push(low_level::pipe::register(signal, wake.writer()?)?);
        }
        Ok(())
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    pub(crate) fn wake(&self) -> &Arc<Wake> {
        &self.0.wake
    }

    /// This thread enters the loop. A [`shutdown`](Stopper::shutdown) waits until it has left.
    pub(crate) fn enter(&self) -> Looping<'_> {
        *self.looping() = Some(thread::current().id());
        Looping(&self.0)
    }

    fn looping(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.0.looping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Looping<'_> {
    fn drop(&mut self) {
        *self.0.looping.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.left.notify_all();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let signals = self.signals.get_mut().unwrap_or_else(PoisonError::into_inner);
        for signal in signals.drain(..) {
            low_level::unregister(signal);
        }
    }
}
