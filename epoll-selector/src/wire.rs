//! A conversation without its protocol: when to read, when to send, what to deliver.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::{
    Chunk, Context, Event, Found, Interest, Next, Outbox, Pause, Pauses, Protocol, Sent, Talk,
    Trigger, Until,
};

/// The longest message unless [`Conversation::longest`](crate::Conversation::longest) says
/// otherwise, in bytes.
const LONGEST: usize = 64 * 1024;

/// Bytes read from one peer before the others get their turn.
const BYTES_PER_TURN: usize = 4 * echo::SCRATCH_BYTES;

/// How long a closed conversation waits for the peer's end of stream. To close with unread input
/// would reset the connection, and the peer could lose what was sent last.
const LINGER: Duration = Duration::from_secs(2);

/// How long a closed conversation waits for a peer that takes nothing of what is queued.
const STALL: Duration = Duration::from_secs(30);

/// The state of a connection, and what moves it on.
pub(crate) struct Wire {
    pub(crate) stream: Socket,
    pub(crate) line: Rc<RefCell<Line>>,
    until: Until,
    /// The longest message, in bytes.
    pub(crate) longest: usize,
    /// Received and not delivered: `input[start..]`.
    input: Vec<u8>,
    start: usize,
    /// The first of these bytes that the next search begins with.
    searched: usize,
    pub(crate) pauses: Pauses,
    pub(crate) reading: Reading,
    /// No message is delivered any more: what arrives is thrown away.
    pub(crate) closed: bool,
    /// There may be more to read, and no event will say so.
    pub(crate) unread: bool,
    /// A pause has interrupted the delivery: there may be whole messages in `input`.
    held: bool,
    /// The outcome of the last flush.
    pub(crate) sent: Sent,
    /// The outbox was full and no longer is, and the protocol has not been told.
    drained: bool,
    /// All is sent, and the timer bounds the wait for the peer's end of stream.
    lingers: bool,
    /// Bytes sent in all when the timer of a closed conversation was set last.
    last_sent: u64,
}

/// How far the peer's half of the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Connecting,
    Open,
    /// The end of stream was read.
    Ended,
}

/// The part of a conversation that a [`Peer`](crate::Peer) reaches.
pub(crate) struct Line {
    pub(crate) outbox: Outbox,
    /// [`Talk::close`] or [`Peer::close`](crate::Peer::close) was called.
    pub(crate) closing: bool,
    /// The conversation has ended.
    pub(crate) gone: bool,
}

impl Line {
    pub(crate) fn push<'b, T>(
        &mut self,
        chunk: impl Into<Chunk<'b>>,
        context: &mut Context<'_, T>,
    ) {
        if self.outbox.needs_spare() {
            self.outbox.give_spare(context.registry.take_buffer());
        }
        self.outbox.push(chunk);
    }

    /// Asks for a polite end: see [`Talk::close`].
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.outbox.finish();
    }
}

impl Wire {
    pub(crate) fn new(stream: Socket, reading: Reading) -> Wire {
        let line = Line { outbox: Outbox::new(), closing: false, gone: false };
        Wire {
            stream,
            line: Rc::new(RefCell::new(line)),
            until: Until::Any,
            longest: LONGEST,
            input: Vec::new(),
            start: 0,
            searched: 0,
            pauses: Pauses::default(),
            reading,
            closed: false,
            unread: false,
            held: false,
            sent: Sent::All,
            drained: false,
            lingers: false,
            last_sent: 0,
        }
    }

    pub(crate) fn talk<'a, T>(&'a mut self, context: &'a mut Context<'_, T>) -> Talk<'a, T> {
        Talk { context: context.reborrow(), wire: self }
    }

    /// Sets what ends the next message.
    pub(crate) fn set_until(&mut self, until: Until) {
        (self.until, self.searched) = (until, 0);
    }

    /// Whether messages are to be read and delivered.
    fn listens(&self) -> bool {
        self.reading == Reading::Open && !self.closed && self.pauses.is_empty()
    }

    /// Whether input is to be read and thrown away.
    fn discards(&self) -> bool {
        self.reading == Reading::Open && self.closed
    }

    /// Sends, delivers what was held back, reads if `event` says so, sends again, and returns what
    /// to wait for.
    pub(crate) fn advance<T>(
        &mut self,
        event: Option<Event>,
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<Next> {
        self.flush_and_tell(protocol, context)?;
        self.look_at_line(context);
        if self.listens() {
            self.deliver_held(protocol, context)?;
        }
        if let Some(event) = event
            && event.readable
        {
            self.read(event, protocol, context)?;
        }
        self.flush_and_tell(protocol, context)?;
        self.look_at_line(context);
        Ok(self.next(context))
    }

    /// Takes over what the protocol, the peers and the last flush have changed about the line.
    fn look_at_line<T>(&mut self, context: &mut Context<'_, T>) {
        let line = self.line.borrow();
        match line.outbox.is_full() {
            true => self.pauses.insert(Pause::Outbox),
            false => self.pauses.remove(Pause::Outbox),
        }
        if line.closing && !self.closed {
            self.closed = true;
            self.last_sent = line.outbox.total();
            (self.input, self.start) = (Vec::new(), 0);
            context.timer(Some(Instant::now() + STALL));
        }
    }

    /// What to wait for.
    fn next<T>(&mut self, context: &mut Context<'_, T>) -> Next {
        let line = self.line.borrow();
        let finished = line.outbox.is_finished();
        if finished && self.reading == Reading::Ended {
            return Next::Close;
        }
        if finished && self.closed && !self.lingers {
            self.lingers = true;
            context.timer(Some(Instant::now() + LINGER));
        }
        let reads = self.listens() || self.discards();
        let sends = match self.sent {
            // The last callback may have queued more.
            Sent::All | Sent::More => line.outbox.has_work(),
            Sent::Blocked | Sent::Waiting => false,
        };
        if sends || reads && self.unread || self.listens() && self.held {
            return Next::Again;
        }
        let writable = self.sent == Sent::Blocked;
        Next::Wait(Interest { readable: reads, writable, exclusive: false })
    }

    /// The timer of a closed conversation is due: ends it, unless the peer has taken something
    /// since.
    pub(crate) fn time_is_over<T>(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        let line = self.line.borrow();
        if line.outbox.is_finished() {
            return Ok(Next::Close);
        }
        if line.outbox.total() == self.last_sent {
            let text = format!("the peer took nothing for {STALL:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        self.last_sent = line.outbox.total();
        context.timer(Some(Instant::now() + STALL));
        Ok(Next::Keep)
    }

    /// Sends what is queued, unless the socket is known to take nothing.
    pub(crate) fn flush<T>(&mut self, context: &mut Context<'_, T>) -> io::Result<()> {
        if self.sent == Sent::Blocked {
            return Ok(());
        }
        // Taken out: a producer is foreign code, and might look at the line.
        let mut outbox = std::mem::take(&mut self.line.borrow_mut().outbox);
        let was_full = outbox.is_full();
        let sent = outbox.flush(&self.stream);
        self.drained |= was_full && !outbox.is_full();
        if outbox.is_empty()
            && let Some(buffer) = outbox.take_spare()
        {
            context.registry.give_buffer(buffer);
        }
        self.line.borrow_mut().outbox = outbox;
        self.sent = sent?;
        Ok(())
    }

    /// Sends what is queued, and tells the protocol when a full outbox is down to its low mark.
    fn flush_and_tell<T>(
        &mut self,
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<()> {
        self.flush(context)?;
        if std::mem::take(&mut self.drained) && !self.closed {
            protocol.drained(&mut self.talk(context))?;
        }
        Ok(())
    }

    /// Reads what has arrived, up to a bound, and delivers it.
    fn read<T>(
        &mut self,
        event: Event,
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<()> {
        // Level and oneshot report again what is left. Edge does not.
        let end_may_follow = context.trigger() == Trigger::Edge && event.read_closed;
        self.unread = true;
        let mut received = 0;
        while received < BYTES_PER_TURN && (self.listens() || self.discards()) {
            let (count, emptied) = context.scratch(|buffer, context| {
                let count = match (&self.stream).read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((0, true)),
                    // A signal came first.
                    Err(error) if error.kind() == ErrorKind::Interrupted => return Ok((0, false)),
                    result => result?,
                };
                if count == 0 {
                    self.end_input(protocol, context)?;
                    return Ok((0, true));
                }
                self.take(&buffer[..count], protocol, context)?;
                // A short read has emptied the socket, unless the end of stream is behind it.
                io::Result::Ok((count, count < buffer.len() && !end_may_follow))
            })?;
            received += count;
            if emptied {
                self.unread = false;
                break;
            }
        }
        Ok(())
    }

    fn end_input<T>(
        &mut self,
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<()> {
        self.reading = Reading::Ended;
        if self.closed {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        let rest = &input[self.start..];
        protocol.end_of_input(rest, &mut self.talk(context))
    }

    /// Delivers what was just read, behind what was held back.
    fn take<T>(
        &mut self,
        bytes: &[u8],
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<()> {
        if self.input.is_empty() {
            let done = self.deliver(bytes, protocol, context)?;
            if !self.closed {
                self.input = bytes[done..].to_vec();
            }
            return Ok(());
        }
        self.input.drain(..self.start);
        self.start = 0;
        self.input.extend_from_slice(bytes);
        self.deliver_held(protocol, context)
    }

    fn deliver_held<T>(
        &mut self,
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<()> {
        let (input, start) = (std::mem::take(&mut self.input), self.start);
        let start = start + self.deliver(&input[start..], protocol, context)?;
        self.start = 0;
        if start < input.len() && !self.closed {
            (self.input, self.start) = (input, start);
        }
        Ok(())
    }

    /// Delivers the messages in `bytes` until one is incomplete, the protocol pauses, or the outbox
    /// is full. Returns the number of bytes that are done with.
    fn deliver<T>(
        &mut self,
        bytes: &[u8],
        protocol: &mut impl Protocol<T>,
        context: &mut Context<'_, T>,
    ) -> io::Result<usize> {
        let mut done = 0;
        self.held = true;
        while self.listens() {
            let (until, longest) = (self.until, self.longest);
            match until.find(&bytes[done..], self.searched, longest) {
                Found::Message { body, end } => {
                    self.set_until(until.after_message());
                    let message = &bytes[done..][body];
                    done += end;
                    protocol.message(message, &mut self.talk(context))?;
                }
                Found::Partial { searched } => {
                    self.searched = searched;
                    self.held = false;
                    break;
                }
                Found::TooLong => {
                    protocol.too_long(longest, &mut self.talk(context))?;
                    self.line.borrow_mut().close();
                }
            }
            self.look_at_line(context);
        }
        Ok(done)
    }
}
