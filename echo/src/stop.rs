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
/// A flag alone would be a race: a signal that comes between the check of the flag and a blocking call
/// is not seen before that call returns. So there is a descriptor too, which becomes readable and stays
/// readable: the self-pipe of D. J. Bernstein. signal-safety(7) says why a handler can do little more.
#[derive(Debug)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    /// [`Stop::request`] was called.
    requested_within: AtomicBool,
    pipe: UnixStream,
    handlers: Vec<SigId>,
}

impl Stop {
    /// Installs the handlers. Call it before the first thread starts and before `listening on` is printed:
    /// from that line on, a signal is a polite request.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for the pipe.
    pub fn new() -> io::Result<Stop> {
        let requested = Arc::new(AtomicBool::new(false));
        let (pipe, signalled) = UnixStream::pair()?;
        let mut handlers = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: exit at the second signal; otherwise remember the first.
            let flag = || Arc::clone(&requested);
            handlers.push(flag::register_conditional_shutdown(signal, 128 + signal, flag())?);
            handlers.push(flag::register(signal, flag())?);
            handlers.push(low_level::pipe::register(signal, signalled.try_clone()?)?);
        }
        Ok(Stop { requested, requested_within: AtomicBool::new(false), pipe, handlers })
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Requests a stop from within, as SIGTERM would. Does nothing if a stop was requested before.
    pub fn request(&self) {
        // A second signal would end the process: of several threads that ask, one raises the signal.
        if !self.requested_within.swap(true, Ordering::Relaxed) && !self.requested() {
            let _ = low_level::raise(SIGTERM);
        }
    }

    /// Sleeps until a stop is requested.
    ///
    /// # Errors
    ///
    /// When poll(2) has no memory.
    pub fn wait(&self) -> io::Result<()> {
        while !self.requested() {
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                // A signal came. The flag tells whether it was SIGINT or SIGTERM.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Stop {
    /// Removes the handlers. A forked child must do so before it installs its own: the parent's handlers
    /// write to the pipe that both processes share.
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}

impl AsFd for Stop {
    /// Readable from the first signal on. No code reads it, so it stays readable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
