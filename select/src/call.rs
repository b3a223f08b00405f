//! The call that asks the kernel: select(2) or poll(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use clap::ValueEnum;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};

/// The system call that asks about all descriptors.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    /// select(2): sets of descriptors, none of them above 1023
    Select,
    /// poll(2): a list of descriptors
    Poll,
}

/// What to ask about: nothing, or a descriptor and whether it is readable or writable.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'fd> {
    pub(crate) fd: Option<BorrowedFd<'fd>>,
    pub(crate) to_write: bool,
}

impl Call {
    /// Asks the kernel about all of `watched`. Sleeps until one is ready, or for `timeout`. `ready`
    /// becomes the answer, in the same order: ready or not.
    ///
    /// The question borrows the descriptors, so the answer is copied out before any is closed.
    pub(crate) fn ask<'fd>(
        self,
        watched: impl Iterator<Item = Watched<'fd>> + Clone,
        timeout: Option<Duration>,
        ready: &mut Vec<bool>,
    ) -> nix::Result<()> {
        ready.clear();
        match self {
            Call::Select => {
                let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
                let mut highest = -1;
                for Watched { fd, to_write } in watched.clone() {
                    let Some(fd) = fd else { continue };
                    if to_write {
                        writable.insert(fd)
                    } else {
                        readable.insert(fd)
                    }
                    highest = highest.max(fd.as_raw_fd());
                }
                let mut timeout = timeout.map(|timeout| {
                    TimeVal::microseconds(rounded_up(timeout, Duration::from_micros(1)))
                });
                select(highest + 1, &mut readable, &mut writable, None, timeout.as_mut())?;
                let is_ready = |fd| readable.contains(fd) || writable.contains(fd);
                ready.extend(watched.map(|watched| watched.fd.is_some_and(is_ready)));
            }
            Call::Poll => {
                let mut fds = Vec::new();
                for Watched { fd, to_write } in watched.clone() {
                    let Some(fd) = fd else { continue };
                    let flags = if to_write { PollFlags::POLLOUT } else { PollFlags::POLLIN };
                    fds.push(PollFd::new(fd, flags));
                }
                let timeout = timeout.map(|timeout| rounded_up(timeout, Duration::from_millis(1)));
                let timeout = timeout.and_then(|timeout| PollTimeout::try_from(timeout).ok());
                poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE))?;
                let mut answers = fds.iter().map(|fd| fd.any() != Some(false));
                ready.extend(
                    watched.map(|watched| watched.fd.is_some() && answers.next() == Some(true)),
                );
            }
        }
        Ok(())
    }

    /// The most clients that one question can be about.
    pub(crate) fn most_clients(self) -> usize {
        match self {
            Call::Select => FD_SETSIZE - echo::DESCRIPTOR_RESERVE,
            Call::Poll => usize::MAX,
        }
    }

    /// Checks that a descriptor can be asked about. Without this check a C program would write past the
    /// end of the set, and here [`FdSet::insert`] would panic.
    pub(crate) fn check(self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let number = fd.as_raw_fd();
        if self == Call::Select && usize::try_from(number).is_ok_and(|number| number >= FD_SETSIZE)
        {
            return Err(io::Error::other(format!(
                "descriptor {number} is above select's limit of 1023; open fewer files before the \
                 start, or use --call poll"
            )));
        }
        Ok(())
    }
}

/// A timeout in units of the call, rounded up: when the call returns, the time has passed.
fn rounded_up(timeout: Duration, unit: Duration) -> i64 {
    i64::try_from(timeout.as_nanos().div_ceil(unit.as_nanos())).unwrap_or(i64::MAX)
}
