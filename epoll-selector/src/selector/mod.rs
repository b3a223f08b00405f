//! The kernel facility behind one interface.

mod mio;
mod poll;
mod polling;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

pub use self::mio::Mio;
pub use self::poll::Poll;
pub use self::polling::Polling;
use crate::{Event, Interest, Token, Trigger};

/// Events taken from the kernel's list with one wait. The rest stays queued for the next wait.
const EVENTS_PER_WAIT: usize = 1024;

/// A list of descriptors, and a wait for those that are ready. The kernel keeps the list of [`Mio`]
/// and [`Polling`] (epoll(7) on Linux, kqueue on the BSDs); [`Poll`] keeps the list itself
/// (poll(2)).
///
/// A selector is a type parameter of the reactor and not a box: a wait costs the system call and no
/// indirection. A selector can be used without a reactor, as the example at [`Event`] does.
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use epoll_selector::{Interest, Mio, Selector, Token, Trigger};
///
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let mut selector = Mio::new(Trigger::Edge)?;
/// selector.add(theirs.as_fd(), Token::from_key(0), Interest::READ)?;
/// assert!(selector.add(theirs.as_fd(), Token::from_key(1), Interest::READ).is_err());
/// let mut events = Vec::new();
/// selector.wait(Some(Duration::ZERO), &mut events)?;
/// assert!(events.is_empty()); // Nothing has arrived.
/// drop(ours);
/// selector.wait(None, &mut events)?;
/// assert!(events[0].readable); // The end of stream.
/// selector.remove(theirs.as_fd())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Selector: Sized {
    /// An empty list that reports as `trigger` says.
    ///
    /// # Errors
    ///
    /// When this selector does not have the trigger, or when no descriptor is left.
    fn new(trigger: Trigger) -> io::Result<Self>;

    /// How the selector reports readiness.
    fn trigger(&self) -> Trigger;

    /// Puts a descriptor on the list. Remove the descriptor before you close it: the kernel's list
    /// holds the open file, which a duplicate of the descriptor keeps alive (epoll(7), Q6).
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2): the descriptor is on the list already, it cannot be watched (a
    /// regular file), or the kernel has no memory for it.
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

    /// Sleeps until a descriptor is ready, or for `timeout`, and appends an event for each ready
    /// descriptor to `events`. Appends nothing after the timeout or a signal.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2) or poll(2), except EINTR.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}

/// Puts a listener on the list of `epoll` without the crate that owns it: neither mio nor polling
/// can ask for EPOLLEXCLUSIVE, and both take our token from what the kernel reports.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn add_exclusive(
    epoll: RawFd,
    fd: BorrowedFd<'_>,
    token: Token,
    trigger: Trigger,
) -> io::Result<()> {
    use std::mem::ManuallyDrop;
    use std::os::fd::{FromRawFd, OwnedFd};

    use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

    let flags = match trigger {
        Trigger::Level => EpollFlags::empty(),
        Trigger::Edge => EpollFlags::EPOLLET,
        Trigger::Oneshot => {
            return Err(io::Error::other("the kernel has no exclusive oneshot; use level or edge"));
        }
    };
    let flags = flags | EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
    // SAFETY: the selector owns `epoll`, and our caller borrows the selector for the whole call.
    // This copy is never dropped, so it closes nothing. (A duplicate would need a descriptor, and
    // there may be none left.)
    let epoll = ManuallyDrop::new(Epoll(unsafe { OwnedFd::from_raw_fd(epoll) }));
    Ok(epoll.add(fd, EpollEvent::new(flags, token.to_key() as u64))?)
}

/// Only Linux has EPOLLEXCLUSIVE.
#[cfg(not(target_os = "linux"))]
fn add_exclusive(_: RawFd, _: BorrowedFd<'_>, _: Token, _: Trigger) -> io::Result<()> {
    Err(io::Error::other("only Linux can wake one of several loops; use --accept shared"))
}
