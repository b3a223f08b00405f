//! SIGINT and SIGTERM, turned into something that each model can wait for in its own way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

/// A request to stop: set by the first SIGINT or SIGTERM. The second one ends the process at once, with
/// the exit status a shell would report (128 + the signal's number).
///
/// A flag alone would be a race: a signal that lands between the check of the flag and a blocking call
/// is not seen before that call returns. So there is a descriptor too, which becomes readable and stays
/// so: the self-pipe of D. J. Bernstein (signal-safety(7) says why a handler can do little more).
#[derive(Debug)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    pipe: UnixStream,
    handlers: Vec<SigId>,
}

impl Stop {
    /// Installs the handlers. Call it before the first thread is started and before `listening on` is
    /// printed: from then on a signal is a polite request.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for the pipe.
    pub fn new() -> io::Result<Stop> {
        let requested = Arc::new(AtomicBool::new(false));
        let (pipe, signalled) = UnixStream::pair()?;
        let mut handlers = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: exit if it is the second time; else note that it is the first.
            let flag = || Arc::clone(&requested);
            handlers.push(flag::register_conditional_shutdown(signal, 128 + signal, flag())?);
            handlers.push(flag::register(signal, flag())?);
            handlers.push(low_level::pipe::register(signal, signalled.try_clone()?)?);
        }
        Ok(Stop { requested, pipe, handlers })
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Requests a stop from within, as SIGTERM would; when one was requested before, does nothing.
    pub fn request(&self) {
        if !self.requested() {
            // To ourselves, so it cannot fail; a second one would end the process, hence the look.
            let _ = low_level::raise(SIGTERM);
        }
    }

    /// Sleeps until a stop is requested.
    ///
    /// # Errors
    ///
    /// When poll(2) fails for want of memory.
    pub fn wait(&self) -> io::Result<()> {
        while !self.requested() {
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                // Some signal came: the flag tells whether it was one of ours.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Stop {
    /// Takes the handlers back. A forked child must, before it installs its own: they would write to the
    /// pipe that it shares with its parent.
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}

impl AsFd for Stop {
    /// Readable from the first signal on; nobody reads it, so it stays readable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
