//! What a handler asks for, what the kernel reports, and which handler the report concerns.

/// What a handler waits for.
///
/// ```
/// use epoll_selector::Interest;
///
/// let both = Interest { writable: true, ..Interest::READ };
/// assert!(both.readable && both.writable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until a read or an accept does not block.
    pub readable: bool,
    /// Until a write does not block.
    pub writable: bool,
    /// Several selectors watch the descriptor, and the kernel tells only one of them
    /// (EPOLLEXCLUSIVE, epoll_ctl(2)).
    pub exclusive: bool,
}

impl Interest {
    /// Nothing: the reactor takes the descriptor out of the selector. An empty interest in the
    /// selector would not be silent: epoll reports EPOLLHUP and EPOLLERR unasked (epoll_ctl(2)).
    pub const NONE: Interest = Interest { readable: false, writable: false, exclusive: false };
    /// To read, or to accept.
    pub const READ: Interest = Interest { readable: true, ..Interest::NONE };
    /// To write.
    pub const WRITE: Interest = Interest { writable: true, ..Interest::NONE };
    /// To accept from a listener that other selectors watch too.
    pub const EXCLUSIVE: Interest = Interest { readable: true, exclusive: true, ..Interest::NONE };
}

/// What the kernel reports of one descriptor: its readiness. Every field is a hint: only read(2)
/// and write(2) know.
///
/// ```
/// use std::os::fd::AsFd;
/// use epoll_selector::{Interest, Poll, Selector, Token, Trigger};
///
/// let (mut ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let mut selector = Poll::new(Trigger::Level)?;
/// selector.add(theirs.as_fd(), Token::from_key(7), Interest::READ)?;
/// std::io::Write::write_all(&mut ours, b"x")?;
/// let mut events = Vec::new();
/// selector.wait(None, &mut events)?;
/// assert_eq!(events[0].token, Token::from_key(7));
/// assert!(events[0].readable);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The handler that the report concerns.
    pub token: Token,
    /// There may be bytes to read, an end of stream, or an error.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// A short read may not have emptied the socket: the peer may have closed its side
    /// (EPOLLRDHUP) or sent urgent data, or the selector cannot tell. Under [`Trigger::Edge`] what
    /// is behind a short read is not reported again, so read on until the end of stream or
    /// `WouldBlock`.
    pub read_closed: bool,
}

impl Event {
    /// An event that says nothing for certain: any kind of readiness is possible.
    pub(crate) fn any(token: Token) -> Event {
        Event { token, readable: true, writable: true, read_closed: true }
    }
}

/// When the kernel reports that a descriptor is ready (epoll(7)).
///
/// ```
/// use epoll_selector::{Mio, Poll, Polling, Selector, Trigger};
///
/// assert!(Mio::new(Trigger::Edge).is_ok());
/// assert!(Mio::new(Trigger::Level).is_err()); // mio is always edge-triggered,
/// assert!(Poll::new(Trigger::Edge).is_err()); // poll(2) is always level-triggered,
/// assert!(Polling::new(Trigger::Oneshot).is_ok()); // and polling has all three.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On every wait while the descriptor is ready.
    Level,
    /// Once, when the descriptor becomes ready. What is left undone is not reported again.
    Edge,
    /// Once, and then nothing until the interest is registered again.
    Oneshot,
}

/// The identity of a handler: its place in the reactor's table, and the number of its registration.
///
/// The reactor uses a place again as soon as its handler has gone. The number counts all
/// registrations of the reactor, so the new handler gets another token. An event, a wake or a close
/// for the old token then reaches nobody.
///
/// ```
/// use epoll_selector::{Handler, Mio, Reactor, Selector, Trigger};
///
/// struct Nothing;
/// impl Handler<()> for Nothing {}
///
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, ());
/// let (first, second) = (reactor.add(Nothing), reactor.add(Nothing));
/// assert_ne!(first, second);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(usize);

/// The bits of a token that hold the place: 2^32 places, or 2^20 where a pointer has 32 bits.
const PLACE_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };

impl Token {
    /// The token of registration `number` at `place`. The number wraps: after 2^32 registrations,
    /// or 2^12 where a pointer has 32 bits.
    pub(crate) fn new(place: usize, number: usize) -> Token {
        Token(number << PLACE_BITS | place)
    }

    /// The place in the reactor's table.
    pub(crate) fn place(self) -> usize {
        self.0 & ((1 << PLACE_BITS) - 1)
    }

    /// The token as the kernel keeps it for us.
    pub fn to_key(self) -> usize {
        self.0
    }

    /// The token with this key, for those who use a [`Selector`](crate::Selector) without a
    /// reactor.
    pub fn from_key(key: usize) -> Token {
        Token(key)
    }
}
