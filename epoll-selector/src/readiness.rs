//! What we ask for, what the kernel reports, and whom it concerns.

/// What a handler waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// To read without blocking, or to accept.
    pub readable: bool,
    /// To write without blocking.
    pub writable: bool,
    /// That only one of the selectors that watch the descriptor is told (EPOLLEXCLUSIVE, epoll_ctl(2)).
    pub exclusive: bool,
}

impl Interest {
    /// Nothing: the descriptor is taken out of the selector. Merely asking for nothing would not do:
    /// epoll reports EPOLLHUP and EPOLLERR unasked (epoll_ctl(2)).
    pub const NONE: Interest = Interest { readable: false, writable: false, exclusive: false };
    /// To read, or to accept.
    pub const READ: Interest = Interest { readable: true, ..Interest::NONE };
    /// To write.
    pub const WRITE: Interest = Interest { writable: true, ..Interest::NONE };
    /// To accept from a listener that other selectors watch too.
    pub const EXCLUSIVE: Interest = Interest { readable: true, exclusive: true, ..Interest::NONE };
}

/// What the kernel reports of one descriptor: its readiness. All of it is a hint; only read(2) and
/// write(2) know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whom it concerns.
    pub token: Token,
    /// There may be something to read, an end of stream or an error included.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer may have closed its side (EPOLLRDHUP), or the selector does not tell. Under edge
    /// triggering the end of stream behind the last bytes is reported with them, and never again: read
    /// on until it comes.
    pub read_closed: bool,
}

/// When the kernel reports that a descriptor is ready (epoll(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On every wait for as long as it is ready.
    Level,
    /// Once, when it becomes ready: what is left undone is not reported again.
    Edge,
    /// Once, and then nothing until the interest is registered again.
    Oneshot,
}

/// The identity of a handler: its place, and the generation of that place. A place is used again as soon
/// as its handler has gone; an event for the one before is then recognised as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(usize);

/// Half of the token's bits count generations: 2^32 of them on a 64-bit machine.
const HALF: u32 = usize::BITS / 2;

impl Token {
    pub(crate) fn new(place: usize, generation: usize) -> Token {
        Token(generation << HALF | place)
    }

    /// The place among the handlers.
    pub(crate) fn place(self) -> usize {
        self.0 & (usize::MAX >> HALF)
    }

    /// The token as the kernel keeps it for us.
    pub(crate) fn to_key(self) -> usize {
        self.0
    }

    pub(crate) fn from_key(key: usize) -> Token {
        Token(key)
    }
}
