//! A connection as an exchange of messages.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::wire::{Reading, Wire};
use crate::{
    Context, End, Event, Handler, Interest, Next, Outbox, Peer, Protocol, Sent, Talk, Until,
    connected,
};

/// The handler of a connection with a [`Protocol`]: reads messages, sends what is queued, and reads
/// no more while the peer does not take its answers.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use epoll_selector::{
///     Conversation, Mio, Protocol, Reactor, Selector, Talk, Trigger, Until,
/// };
///
/// /// Answers each line with the number of its bytes.
/// struct Count;
///
/// impl Protocol<()> for Count {
///     fn message(&mut self, line: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
///         talk.push(format!("{}\n", line.len()));
///         Ok(())
///     }
/// }
///
/// let (mut client, server) = UnixStream::pair()?;
/// server.set_nonblocking(true)?;
/// client.write_all(b"one\nthree\n")?;
/// client.shutdown(std::net::Shutdown::Write)?;
///
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, ());
/// let socket = socket2::Socket::from(std::os::fd::OwnedFd::from(server));
/// reactor.add(Conversation::new(socket, Count).until(Until::Bytes(b"\n")));
/// reactor.run()?;
/// let mut answers = String::new();
/// client.read_to_string(&mut answers)?;
/// assert_eq!(answers, "3\n5\n");
/// # Ok::<(), io::Error>(())
/// ```
pub struct Conversation<P> {
    protocol: P,
    wire: Wire,
    /// How long connecting may take.
    limit: Duration,
}

impl<P> Conversation<P> {
    /// A conversation on a connected, non-blocking stream socket. At first each message is what has
    /// arrived ([`Until::Any`]), and the longest is 64 KiB.
    pub fn new(stream: Socket, protocol: P) -> Conversation<P> {
        Conversation { protocol, wire: Wire::new(stream, Reading::Open), limit: Duration::ZERO }
    }

    /// A conversation on a socket from [`connect`](crate::connect). It begins when the connection
    /// is there, and fails after `limit` with `TimedOut`.
    pub fn connecting(stream: Socket, protocol: P, limit: Duration) -> Conversation<P> {
        Conversation { protocol, wire: Wire::new(stream, Reading::Connecting), limit }
    }

    /// Sets what ends the first message.
    #[must_use]
    pub fn until(mut self, until: Until) -> Conversation<P> {
        self.wire.set_until(until);
        self
    }

    /// Sets the longest message, in bytes. A longer one ends in [`Protocol::too_long`].
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Conversation<P> {
        self.wire.longest = bytes;
        self
    }

    /// Sets the marks of the outbox, in bytes. From `high` on nothing is read, until it is down to
    /// `low`.
    #[must_use]
    pub fn marks(self, low: usize, high: usize) -> Conversation<P> {
        self.wire.line.borrow_mut().outbox.marks(low, high);
        self
    }

    /// Adds the conversation to the reactor, as [`Context::add`] does, and returns a handle on it.
    pub fn add_to<T>(self, context: &mut Context<'_, T>) -> Peer
    where
        P: Protocol<T> + 'static,
    {
        let line = Rc::clone(&self.wire.line);
        Peer { token: context.add(self), line }
    }
}

impl<T, P: Protocol<T>> Handler<T> for Conversation<P> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wire.stream.as_fd())
    }

    fn added(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        if self.wire.reading == Reading::Connecting {
            context.timer(Some(Instant::now() + self.limit));
            return Ok(Next::Wait(Interest::WRITE));
        }
        self.protocol.opened(&mut self.wire.talk(context))?;
        self.wire.advance(None, &mut self.protocol, context)
    }

    fn ready(&mut self, event: Event, context: &mut Context<'_, T>) -> io::Result<Next> {
        if self.wire.reading == Reading::Connecting {
            if !connected(&self.wire.stream)? {
                return Ok(Next::Wait(Interest::WRITE));
            }
            context.timer(None);
            self.wire.reading = Reading::Open;
            self.protocol.opened(&mut self.wire.talk(context))?;
        }
        if event.writable && self.wire.sent == Sent::Blocked {
            self.wire.sent = Sent::More;
        }
        self.wire.advance(Some(event), &mut self.protocol, context)
    }

    fn woken(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        self.tell(Protocol::woken, context)
    }

    fn stop(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        if self.wire.reading == Reading::Connecting {
            return Ok(Next::Close);
        }
        self.tell(Protocol::stop, context)
    }

    fn timeout(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        if self.wire.reading == Reading::Connecting {
            let text = format!("no connection within {:?}", self.limit);
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        if !self.wire.closed {
            return self.tell(Protocol::timeout, context);
        }
        self.wire.time_is_over(context)
    }

    fn closed(&mut self, why: End, context: &mut Context<'_, T>) {
        let mut line = self.wire.line.borrow_mut();
        line.gone = true;
        line.outbox = Outbox::new();
        drop(line);
        self.protocol.ended(why, context);
    }
}

impl<P> Conversation<P> {
    /// Calls a method of the protocol, unless the conversation connects or was closed.
    fn tell<T>(
        &mut self,
        method: impl FnOnce(&mut P, &mut Talk<'_, T>) -> io::Result<()>,
        context: &mut Context<'_, T>,
    ) -> io::Result<Next>
    where
        P: Protocol<T>,
    {
        if self.wire.reading == Reading::Connecting {
            return Ok(Next::Keep);
        }
        if !self.wire.closed {
            method(&mut self.protocol, &mut self.wire.talk(context))?;
        }
        self.wire.advance(None, &mut self.protocol, context)
    }
}
