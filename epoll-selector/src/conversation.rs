//! A connection as an exchange of messages.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::talk::{Line, Reading, Wire};
use crate::{
    Context, End, Event, Found, Handler, Interest, Next, Outbox, Pause, Pauses, Peer, Sent, Talk,
    Trigger, Until, connected,
};

/// The longest message unless [`Conversation::longest`] says otherwise, in bytes.
const LONGEST: usize = 64 * 1024;

/// Bytes read from one peer before the others get their turn.
const BYTES_PER_TURN: usize = 4 * echo::SCRATCH_BYTES;

/// How long a closed conversation waits for the peer's end of stream. To close with unread input would
/// reset the connection, and the peer could lose what was sent last.
const LINGER: Duration = Duration::from_secs(2);

/// How long a closed conversation waits for a peer that takes nothing of what is queued.
const STALL: Duration = Duration::from_secs(30);

/// What a conversation is about: called with whole messages, and answers through [`Talk`].
///
/// An error or a panic of any method ends this conversation and no other. Shown at [`Conversation`].
pub trait Protocol<T> {
    /// The connection is there. A greeting goes here.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn opened(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// A message has arrived, as [`Until`] says; `message` has no terminator and no prefix.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn message(&mut self, message: &[u8], talk: &mut Talk<'_, T>) -> io::Result<()>;

    /// The message is longer than `longest` bytes. If this returns `Ok`, perhaps after an answer, the
    /// conversation is closed as by [`Talk::close`].
    ///
    /// # Errors
    ///
    /// By default an error that names the limit.
    fn too_long(&mut self, longest: usize, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        let text = format!("a message is longer than {longest} bytes");
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// The peer has ended its half of the stream. `rest` is a message without its end. By default the
    /// conversation closes when all that is queued is sent.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = rest;
        talk.close();
        Ok(())
    }

    /// The outbox was full, and is down to its low mark.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn drained(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// Somebody has woken the conversation: see [`Context::wake`]. What a [`Peer`](crate::Peer) has
    /// pushed needs no answer here.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn woken(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Ok(())
    }

    /// The timer set with [`Context::timer`] is due.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation. The default is an error: a protocol with a timer needs this.
    fn timeout(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        let _ = talk;
        Err(ErrorKind::TimedOut.into())
    }

    /// The reactor was asked to stop. By default the input ends: what has arrived is answered, and
    /// [`end_of_input`](Protocol::end_of_input) follows.
    ///
    /// # Errors
    ///
    /// Any error ends the conversation.
    fn stop(&mut self, talk: &mut Talk<'_, T>) -> io::Result<()> {
        talk.end_input();
        Ok(())
    }

    /// The conversation has ended, and why. This is the last call. It is the only call when the connection
    /// was never made.
    fn ended(&mut self, why: End, context: &mut Context<'_, T>) {
        let _ = (why, context);
    }
}

/// The handler of a connection with a [`Protocol`]: reads messages, sends what is queued, and reads no
/// more while the peer does not take its answers.
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
    /// All is sent, and the timer bounds the wait for the peer's end of stream.
    lingers: bool,
    /// Bytes sent in all when the timer was set last.
    last_sent: u64,
}

impl<P> Conversation<P> {
    /// A conversation on a connected, non-blocking stream socket. At first each message is what has
    /// arrived ([`Until::Any`]), and the longest is 64 KiB.
    pub fn new(stream: Socket, protocol: P) -> Conversation<P> {
        let line = Line { outbox: Outbox::new(), closing: false, gone: false };
        let wire = Wire {
            stream,
            line: Rc::new(RefCell::new(line)),
            until: Until::Any,
            longest: LONGEST,
            input: Vec::new(),
            start: 0,
            searched: 0,
            pauses: Pauses::default(),
            reading: Reading::Open,
            closed: false,
            unread: false,
            held: false,
            sent: Sent::All,
            drained: false,
        };
        Conversation { protocol, wire, limit: Duration::ZERO, lingers: false, last_sent: 0 }
    }

    /// A conversation on a socket from [`connect`](crate::connect). It begins when the connection is
    /// there, and fails after `limit` with `TimedOut`.
    pub fn connecting(stream: Socket, protocol: P, limit: Duration) -> Conversation<P> {
        let mut conversation = Conversation::new(stream, protocol);
        conversation.wire.reading = Reading::Connecting;
        conversation.limit = limit;
        conversation
    }

    /// Sets what ends the first message.
    #[must_use]
    pub fn until(mut self, until: Until) -> Conversation<P> {
        self.wire.until = until;
        self
    }

    /// Sets the longest message, in bytes. A longer one ends in [`Protocol::too_long`].
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Conversation<P> {
        self.wire.longest = bytes;
        self
    }

    /// Sets the marks of the outbox, in bytes. From `high` on nothing is read, until it is down to `low`.
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
        self.advance(None, context)
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
        self.advance(Some(event), context)
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
        let sent = self.wire.line.borrow().outbox.total();
        match std::mem::replace(&mut self.last_sent, sent) {
            _ if self.wire.line.borrow().outbox.is_finished() => Ok(Next::Close),
            before if before == sent => {
                let text = format!("the peer took nothing for {STALL:?}");
                Err(io::Error::new(ErrorKind::TimedOut, text))
            }
            _ => {
                context.timer(Some(Instant::now() + STALL));
                Ok(Next::Keep)
            }
        }
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
        self.advance(None, context)
    }

    /// Sends, delivers what was held back, reads if `event` says so, sends again, and returns what to wait
    /// for.
    fn advance<T>(&mut self, event: Option<Event>, context: &mut Context<'_, T>) -> io::Result<Next>
    where
        P: Protocol<T>,
    {
        self.flush(context)?;
        self.look_at_line(context);
        if self.wire.listens() {
            self.deliver_held(context)?;
        }
        if let Some(event) = event
            && event.readable
        {
            self.read(event, context)?;
        }
        self.flush(context)?;
        self.look_at_line(context);
        Ok(self.next(context))
    }

    /// Takes over what the outbox, the protocol and the peers have said about the line since.
    fn look_at_line<T>(&mut self, context: &mut Context<'_, T>) {
        let line = self.wire.line.borrow();
        match line.outbox.is_full() {
            true => self.wire.pauses.insert(Pause::Outbox),
            false => self.wire.pauses.remove(Pause::Outbox),
        }
        if line.closing && !self.wire.closed {
            self.wire.closed = true;
            self.last_sent = line.outbox.total();
            (self.wire.input, self.wire.start) = (Vec::new(), 0);
            context.timer(Some(Instant::now() + STALL));
        }
    }

    fn next<T>(&mut self, context: &mut Context<'_, T>) -> Next {
        let line = self.wire.line.borrow();
        let outbox = &line.outbox;
        let finished = outbox.is_finished();
        if finished && self.wire.reading == Reading::Ended {
            return Next::Close;
        }
        if finished && self.wire.closed && !self.lingers {
            self.lingers = true;
            context.timer(Some(Instant::now() + LINGER));
        }
        let reads = self.wire.listens() || self.wire.discards();
        // What a call has queued after the last flush.
        let queued = !outbox.is_empty() || outbox.is_finishing() && !finished;
        let sends = match self.wire.sent {
            Sent::All | Sent::More => queued,
            Sent::Blocked | Sent::Waiting => false,
        };
        if sends || reads && self.wire.unread || self.wire.listens() && self.wire.held {
            return Next::Again;
        }
        let writable = self.wire.sent == Sent::Blocked;
        Next::Wait(Interest { readable: reads, writable, exclusive: false })
    }

    fn flush<T>(&mut self, context: &mut Context<'_, T>) -> io::Result<()>
    where
        P: Protocol<T>,
    {
        self.wire.flush(context)?;
        if std::mem::take(&mut self.wire.drained) && !self.wire.closed {
            self.protocol.drained(&mut self.wire.talk(context))?;
        }
        Ok(())
    }

    /// Reads what has arrived, up to a bound, and delivers it.
    fn read<T>(&mut self, event: Event, context: &mut Context<'_, T>) -> io::Result<()>
    where
        P: Protocol<T>,
    {
        // Level and oneshot report again what is left. Edge does not.
        let end_may_follow = context.trigger() == Trigger::Edge && event.read_closed;
        self.wire.unread = true;
        let mut received = 0;
        while received < BYTES_PER_TURN && (self.wire.listens() || self.wire.discards()) {
            let (count, emptied) = context.scratch(|buffer, context| {
                let count = match (&self.wire.stream).read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((0, true)),
                    Err(error) if error.kind() == ErrorKind::Interrupted => return Ok((0, false)),
                    result => result?,
                };
                if count == 0 {
                    self.end_input(context)?;
                    return Ok((0, true));
                }
                self.take(&buffer[..count], context)?;
                // A short read has emptied the socket, unless the end of stream is behind it.
                io::Result::Ok((count, count < buffer.len() && !end_may_follow))
            })?;
            received += count;
            if emptied {
                self.wire.unread = false;
                break;
            }
        }
        Ok(())
    }

    fn end_input<T>(&mut self, context: &mut Context<'_, T>) -> io::Result<()>
    where
        P: Protocol<T>,
    {
        self.wire.reading = Reading::Ended;
        if self.wire.closed {
            return Ok(());
        }
        let input = std::mem::take(&mut self.wire.input);
        let rest = &input[self.wire.start..];
        self.protocol.end_of_input(rest, &mut self.wire.talk(context))
    }

    /// Delivers what was just read behind what was held back.
    fn take<T>(&mut self, bytes: &[u8], context: &mut Context<'_, T>) -> io::Result<()>
    where
        P: Protocol<T>,
    {
        if self.wire.discards() {
            return Ok(());
        }
        if self.wire.input.is_empty() {
            let done = self.deliver(bytes, context)?;
            if !self.wire.closed {
                self.wire.input = bytes[done..].to_vec();
            }
            return Ok(());
        }
        self.wire.input.drain(..self.wire.start);
        self.wire.start = 0;
        self.wire.input.extend_from_slice(bytes);
        self.deliver_held(context)
    }

    fn deliver_held<T>(&mut self, context: &mut Context<'_, T>) -> io::Result<()>
    where
        P: Protocol<T>,
    {
        let input = std::mem::take(&mut self.wire.input);
        let start = self.wire.start + self.deliver(&input[self.wire.start..], context)?;
        if start < input.len() && !self.wire.closed {
            (self.wire.input, self.wire.start) = (input, start);
        } else {
            self.wire.start = 0;
        }
        Ok(())
    }

    /// Delivers the messages in `bytes` until one is incomplete, the protocol pauses, or the outbox is
    /// full. Returns the number of bytes that are done with.
    fn deliver<T>(&mut self, bytes: &[u8], context: &mut Context<'_, T>) -> io::Result<usize>
    where
        P: Protocol<T>,
    {
        let mut done = 0;
        self.wire.held = true;
        while self.wire.listens() {
            let Wire { until, searched, longest, .. } = self.wire;
            match until.find(&bytes[done..], searched, longest) {
                Found::Message { body, end } => {
                    self.wire.until = until.after_message();
                    self.wire.searched = 0;
                    let message = &bytes[done..][body];
                    done += end;
                    self.protocol.message(message, &mut self.wire.talk(context))?;
                }
                Found::Partial { searched } => {
                    self.wire.searched = searched;
                    self.wire.held = false;
                    break;
                }
                Found::TooLong => {
                    let mut talk = self.wire.talk(context);
                    self.protocol.too_long(longest, &mut talk)?;
                    talk.close();
                }
            }
            self.look_at_line(context);
        }
        Ok(done)
    }
}
