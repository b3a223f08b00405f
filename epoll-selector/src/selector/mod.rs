//! The kernel facility behind one interface.

mod mio;
mod polling;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

pub use self::mio::Mio;
pub use self::polling::Polling;
use crate::{Event, Interest, Token, Trigger};

/// Events taken from the kernel with one wait; what exceeds them stays queued for the next.
const EVENTS_PER_WAIT: usize = 1024;

/// A list of descriptors, kept by the kernel: epoll(7) on Linux, kqueue on the BSDs.
///
/// Chosen by type parameter, not behind a box: a wait costs the system call and no indirection.
pub trait Selector: Sized {
    /// An empty list that reports as `trigger` says.
    ///
    /// # Errors
    ///
    /// When this selector has no such trigger, or no descriptor is left.
    fn new(trigger: Trigger) -> io::Result<Self>;

    /// How it reports readiness.
    fn trigger(&self) -> Trigger;

    /// Puts a descriptor on the list. It must be taken off again before it is closed: the kernel's list
    /// holds the open file, which a duplicate of the descriptor keeps alive (epoll(7), Q6).
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2): the descriptor is on the list already, or the kernel has no memory for it.
    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()>;

    /// Changes the interest, or renews it after a oneshot event.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2): the descriptor is not on the list.
    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()>;

    /// Takes a descriptor off the list.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2): the descriptor is not on the list.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Sleeps until a descriptor is ready, or for `timeout`, and appends what it learns to `events`:
    /// nothing after the timeout or a signal.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2) but EINTR; none is expected.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}

/// Puts a listener on the list of `epoll` behind the back of the crate that owns it: neither mio nor
/// polling has a word for EPOLLEXCLUSIVE, and both hand our token back from what the kernel reports.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn add_exclusive(
    epoll: RawFd,
    fd: BorrowedFd<'_>,
    token: Token,
    trigger: Trigger,
) -> io::Result<()> {
    use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

    let flags = match trigger {
        Trigger::Level => EpollFlags::empty(),
        Trigger::Edge => EpollFlags::EPOLLET,
        Trigger::Oneshot => {
            return Err(io::Error::other("the kernel has no exclusive oneshot; use level or edge"));
        }
    };
    let flags = flags | EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
    // SAFETY: the selector that owns `epoll` is borrowed by our caller for the whole call.
    let epoll = unsafe { BorrowedFd::borrow_raw(epoll) };
    let epoll = Epoll(epoll.try_clone_to_owned()?); // A duplicate shares the list.
    Ok(epoll.add(fd, EpollEvent::new(flags, token.to_key() as u64))?)
}

/// Elsewhere there is no such thing.
#[cfg(not(target_os = "linux"))]
fn add_exclusive(_: RawFd, _: BorrowedFd<'_>, _: Token, _: Trigger) -> io::Result<()> {
    Err(io::Error::other("only Linux can wake one of several loops; use --accept shared"))
}
