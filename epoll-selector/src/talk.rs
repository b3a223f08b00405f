//! What a protocol can do with its conversation, and others with it.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use socket2::Socket;

use crate::framing::PREFIX_BYTES;
use crate::wire::{Line, Wire};
use crate::{Chunk, Context, Producer, Token, Until};

/// What a [`Protocol`](crate::Protocol) can do while it is being called. Shown at
/// [`Conversation`](crate::Conversation).
pub struct Talk<'a, T> {
    /// The context of the call: the shared state, the timer, wakes, other handlers. The timer is
    /// the protocol's, except while the conversation connects and after it was closed.
    pub context: Context<'a, T>,
    pub(crate) wire: &'a mut Wire,
}

/// Why a conversation does not read.
///
/// ```
/// use epoll_selector::{Pause, Pauses};
///
/// let mut pauses = Pauses::default();
/// pauses.insert(Pause::Busy);
/// pauses.insert(Pause::Rate);
/// pauses.remove(Pause::Busy);
/// assert!(!pauses.is_empty()); // Reading goes on when the last reason has gone.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The conversation's own outbox is full. The conversation sets and removes this reason itself.
    Outbox,
    /// An answer is being computed elsewhere.
    Busy,
    /// The peer has used up its rate.
    Rate,
    /// The other connection, to which the bytes go, is full.
    Partner,
}

/// The reasons not to read, kept apart. Shown at [`Pause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses(u8);

impl Pauses {
    /// Adds a reason.
    pub fn insert(&mut self, why: Pause) {
        self.0 |= 1 << why as u8;
    }

    /// Removes a reason.
    pub fn remove(&mut self, why: Pause) {
        self.0 &= !(1 << why as u8);
    }

    /// Whether this is one of the reasons.
    pub fn contains(self, why: Pause) -> bool {
        self.0 & 1 << why as u8 != 0
    }

    /// Whether nothing speaks against reading.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<T> Talk<'_, T> {
    /// Queues bytes for the peer. They are sent when this call has returned.
    pub fn push<'b>(&mut self, chunk: impl Into<Chunk<'b>>) {
        self.wire.line.borrow_mut().push(chunk, &mut self.context);
    }

    /// Queues a message with its length in front, as [`Until::Prefixed`] reads it.
    ///
    /// # Errors
    ///
    /// When the message is longer than a length of four bytes can say.
    pub fn push_prefixed(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        let prefix: [u8; PREFIX_BYTES] = length.to_be_bytes();
        self.push(&prefix);
        self.push(message);
        Ok(())
    }

    /// Queues the bytes that `producer` will make. No further message is delivered until they are
    /// on their way.
    pub fn produce(&mut self, producer: impl Producer + 'static) {
        self.wire.line.borrow_mut().outbox.produce(producer);
    }

    /// Sends now what is queued, instead of when this call has returned.
    ///
    /// # Errors
    ///
    /// Those of send(2). Return them.
    pub fn flush(&mut self) -> io::Result<()> {
        self.wire.flush(&mut self.context)
    }

    /// Bytes queued and not sent.
    pub fn pending(&self) -> usize {
        self.wire.line.borrow().outbox.pending()
    }

    /// Sets what ends the next message. Bytes that have already arrived count.
    pub fn until(&mut self, until: Until) {
        self.wire.set_until(until);
    }

    /// Stops reading, and delivering what was read, until this reason has gone and no other is
    /// left.
    pub fn pause(&mut self, why: Pause) {
        self.wire.pauses.insert(why);
    }

    /// Removes a reason not to read.
    pub fn resume(&mut self, why: Pause) {
        self.wire.pauses.remove(why);
    }

    /// Ends our half of the stream behind what is queued. Messages are still delivered. The
    /// conversation ends when the peer has ended its half too.
    pub fn finish(&mut self) {
        self.wire.line.borrow_mut().outbox.finish();
    }

    /// Closes politely: no further message is delivered, what is queued is sent, and the
    /// conversation ends when the peer has ended its half too, or soon after. To end it at once
    /// return an error, or close its token.
    pub fn close(&mut self) {
        self.wire.line.borrow_mut().close();
    }

    /// Ends the input: what has arrived is still delivered, then
    /// [`Protocol::end_of_input`](crate::Protocol::end_of_input) is called.
    pub fn end_input(&mut self) {
        // Fails if the peer has reset the connection, which the next read tells.
        let _ = self.wire.stream.shutdown(Shutdown::Read);
        self.wire.unread = true;
    }

    /// A handle on this conversation, for the others.
    pub fn peer(&self) -> Peer {
        Peer { token: self.context.token(), line: Rc::clone(&self.wire.line) }
    }

    /// The socket, for its addresses and options.
    pub fn stream(&self) -> &Socket {
        &self.wire.stream
    }
}

/// A handle on another conversation of the same loop: to send to it, and to close it.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use epoll_selector::{
///     Context, Conversation, End, Mio, Peer, Protocol, Reactor, Selector, Talk, Trigger, Until,
/// };
///
/// /// Sends each line to everybody.
/// struct Member;
///
/// impl Protocol<Vec<Peer>> for Member {
///     fn opened(&mut self, talk: &mut Talk<'_, Vec<Peer>>) -> io::Result<()> {
///         let peer = talk.peer();
///         talk.context.shared.push(peer);
///         Ok(())
///     }
///
///     fn message(&mut self, line: &[u8], talk: &mut Talk<'_, Vec<Peer>>) -> io::Result<()> {
///         let line: Arc<[u8]> = Arc::from([line, b"\n"].concat()); // One copy for all.
///         for peer in talk.context.shared.clone() {
///             if !peer.push(Arc::clone(&line), &mut talk.context) {
///                 talk.context.close(peer.token()); // It does not read, and its outbox is full.
///             }
///         }
///         Ok(())
///     }
///
///     fn ended(&mut self, _: End, context: &mut Context<'_, Vec<Peer>>) {
///         let token = context.token();
///         context.shared.retain(|peer| peer.token() != token);
///     }
/// }
///
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, Vec::new());
/// let mut join = || {
///     let (client, server) = UnixStream::pair()?;
///     server.set_nonblocking(true)?;
///     let socket = socket2::Socket::from(OwnedFd::from(server));
///     reactor.add(Conversation::new(socket, Member).until(Until::Bytes(b"\n")));
///     io::Result::Ok(client)
/// };
/// let (mut speaker, mut listener) = (join()?, join()?);
/// speaker.write_all(b"hello\n")?;
/// for _ in 0..3 {
///     reactor.turn(Some(Duration::from_millis(10)))?;
/// }
/// let mut heard = [0; 6];
/// listener.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"hello\n");
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone)]
pub struct Peer {
    pub(crate) token: Token,
    pub(crate) line: Rc<RefCell<Line>>,
}

impl Peer {
    /// The token of the conversation.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Queues bytes, and wakes the conversation to send them. Returns false, and drops the bytes,
    /// when the outbox is full or the conversation has ended: a peer that does not read costs
    /// bounded memory.
    #[must_use]
    pub fn push<'b, T>(&self, chunk: impl Into<Chunk<'b>>, context: &mut Context<'_, T>) -> bool {
        if self.is_full() {
            return false;
        }
        self.line.borrow_mut().push(chunk, context);
        context.wake(self.token);
        true
    }

    /// Bytes queued and not sent.
    pub fn pending(&self) -> usize {
        self.line.borrow().outbox.pending()
    }

    /// Whether [`push`](Peer::push) would drop the bytes: the outbox is above its high mark and has
    /// not come down to the low one, or the conversation has ended.
    pub fn is_full(&self) -> bool {
        let line = self.line.borrow();
        line.gone || line.closing || line.outbox.is_full()
    }

    /// As [`Talk::finish`].
    pub fn finish<T>(&self, context: &mut Context<'_, T>) {
        self.line.borrow_mut().outbox.finish();
        context.wake(self.token);
    }

    /// As [`Talk::close`].
    pub fn close<T>(&self, context: &mut Context<'_, T>) {
        self.line.borrow_mut().close();
        context.wake(self.token);
    }
}
