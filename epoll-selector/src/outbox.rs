//! Bytes on their way to one peer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;

use crate::{Chunk, Producer};

/// Pieces sent with one system call.
const PIECES_PER_WRITE: usize = 16;

/// Bytes sent before the other handlers get their turn.
const BYTES_PER_FLUSH: usize = 256 * 1024;

/// Slices are gathered in pieces of at most this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The default marks, in bytes.
const LOW_MARK: usize = 64 * 1024;
const HIGH_MARK: usize = 256 * 1024;

/// A queue of bytes to send to one peer: slices (copied and gathered), whole vectors, shared bytes
/// (one copy for all peers), and producers, which make their bytes when they are needed.
///
/// The outbox is full when it holds [`high`](Outbox::marks) bytes or more, and until it holds `low`
/// or less, or while it has a producer. A full outbox still takes what is pushed: the owner stops
/// asking for more, for example by reading no more requests.
///
/// ```
/// use std::sync::Arc;
/// use epoll_selector::{Outbox, Sent};
///
/// let everybody: Arc<[u8]> = Arc::from(*b"to all ");
/// let mut outbox = Outbox::new();
/// outbox.push(Arc::clone(&everybody)); // Only the pointer is copied.
/// outbox.push(b"and to you");
/// assert_eq!(outbox.pending(), 17);
/// let mut wire = Vec::new();
/// assert_eq!(outbox.write_to(&mut wire)?, Sent::All);
/// assert_eq!(wire, b"to all and to you");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Outbox {
    queue: VecDeque<Piece>,
    /// Bytes of the first piece that are sent.
    sent: usize,
    /// Bytes queued and not sent.
    pending: usize,
    /// Bytes sent in all.
    total: u64,
    producers: usize,
    low: usize,
    high: usize,
    full: bool,
    /// An empty buffer for the next slices.
    spare: Vec<u8>,
    ending: Ending,
}

/// How far the stream's end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// After the queue.
    Wanted,
    /// The writing half of the stream is shut down.
    Done,
}

enum Piece {
    Bytes(Vec<u8>),
    Shared(Arc<[u8]>),
    Producer(Box<dyn Producer>),
}

/// How far a flush has come. Shown at [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing is queued any more.
    All,
    /// The stream takes no more now: wait until it is writable.
    Blocked,
    /// A producer has nothing now: wait until somebody knows better.
    Waiting,
    /// There is more to send, and the others come first.
    More,
}

impl Outbox {
    /// An empty outbox that is full from 256 KiB on, until it is down to 64 KiB.
    pub fn new() -> Outbox {
        Outbox {
            queue: VecDeque::new(),
            sent: 0,
            pending: 0,
            total: 0,
            producers: 0,
            low: LOW_MARK,
            high: HIGH_MARK,
            full: false,
            spare: Vec::new(),
            ending: Ending::No,
        }
    }

    /// Sets the marks, in bytes: full from `high` on, until down to `low`.
    pub fn marks(&mut self, low: usize, high: usize) {
        (self.low, self.high) = (low.min(high), high);
        self.note_level();
    }

    /// Queues bytes. After [`finish`](Outbox::finish) they are dropped.
    pub fn push<'a>(&mut self, chunk: impl Into<Chunk<'a>>) {
        let chunk = chunk.into();
        let length = chunk.len();
        if self.ending != Ending::No || length == 0 {
            return;
        }
        match chunk {
            Chunk::Slice(slice) => match self.queue.back_mut() {
                Some(Piece::Bytes(last)) if last.len() + length <= PIECE_BYTES => {
                    last.extend_from_slice(slice);
                }
                _ => {
                    let mut piece = std::mem::take(&mut self.spare);
                    piece.extend_from_slice(slice);
                    self.queue.push_back(Piece::Bytes(piece));
                }
            },
            Chunk::Bytes(bytes) => self.queue.push_back(Piece::Bytes(bytes)),
            Chunk::Shared(bytes) => self.queue.push_back(Piece::Shared(bytes)),
        }
        self.pending += length;
        self.note_level();
    }

    /// Queues the bytes that `producer` will make. After [`finish`](Outbox::finish) it is dropped.
    pub fn produce(&mut self, producer: impl Producer + 'static) {
        if self.ending == Ending::No {
            self.queue.push_back(Piece::Producer(Box::new(producer)));
            self.producers += 1;
            self.note_level();
        }
    }

    /// Ends the stream behind the queue: [`flush`](Outbox::flush) shuts the writing half down when
    /// all is sent. What is pushed later is dropped.
    pub fn finish(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Wanted;
        }
    }

    /// Bytes queued and not sent, without those that a producer has not made.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes sent since the outbox was made.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing is queued, and no producer.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a flush has something to do: bytes to send, a producer to ask, or the stream to end.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.ending == Ending::Wanted
    }

    /// Whether the owner should stop asking for more.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether all is sent and the writing half of the stream is shut down.
    pub fn is_finished(&self) -> bool {
        self.ending == Ending::Done
    }

    /// Sends what the socket takes, and ends the stream if it is time.
    ///
    /// # Errors
    ///
    /// Those of send(2), except `WouldBlock` and `Interrupted`, and those of a producer.
    pub fn flush(&mut self, mut stream: &Socket) -> io::Result<Sent> {
        let sent = self.write_to(&mut stream)?;
        if sent == Sent::All && self.ending == Ending::Wanted {
            self.ending = Ending::Done;
            // Fails if the peer has reset the connection, which the next read tells.
            let _ = stream.shutdown(Shutdown::Write);
        }
        Ok(sent)
    }

    /// Sends what the stream takes, up to a bound of 256 KiB and one write.
    ///
    /// # Errors
    ///
    /// Those of the stream, except `WouldBlock` and `Interrupted`, and those of a producer.
    pub fn write_to(&mut self, stream: &mut impl Write) -> io::Result<Sent> {
        let mut written = 0;
        loop {
            match self.queue.front() {
                None => return Ok(Sent::All),
                Some(_) if written >= BYTES_PER_FLUSH => return Ok(Sent::More),
                Some(Piece::Producer(_)) => match self.ask_producer()? {
                    true => continue,
                    false => return Ok(Sent::Waiting),
                },
                Some(Piece::Bytes(_) | Piece::Shared(_)) => {}
            }
            match self.write_once(stream) {
                Ok((0, _)) => return Err(ErrorKind::WriteZero.into()),
                Ok((taken, offered)) => {
                    self.take_off(taken);
                    written += taken;
                    if taken < offered {
                        return Ok(Sent::Blocked); // The socket's buffer is full (epoll(7), Q9).
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One write of the first pieces: bytes taken, and bytes offered.
    fn write_once(&self, stream: &mut impl Write) -> io::Result<(usize, usize)> {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let (mut count, mut offered) = (0, 0);
        for (piece, slice) in self.queue.iter().zip(&mut slices) {
            let bytes = match piece {
                Piece::Bytes(bytes) => &bytes[..],
                Piece::Shared(bytes) => &bytes[..],
                Piece::Producer(_) => break,
            };
            let rest = if count == 0 { &bytes[self.sent..] } else { bytes };
            *slice = IoSlice::new(rest);
            count += 1;
            offered += rest.len();
        }
        let taken = match count {
            1 => stream.write(&slices[0]), // The simpler system call.
            _ => stream.write_vectored(&slices[..count]),
        };
        Ok((taken?, offered))
    }

    /// Takes bytes off the front of the queue.
    fn take_off(&mut self, mut taken: usize) {
        self.pending -= taken;
        self.total += taken as u64;
        while taken > 0 {
            let length = match self.queue.front() {
                Some(Piece::Bytes(bytes)) => bytes.len(),
                Some(Piece::Shared(bytes)) => bytes.len(),
                Some(Piece::Producer(_)) | None => break,
            };
            let left = length - self.sent;
            if taken < left {
                self.sent += taken;
                break;
            }
            taken -= left;
            self.sent = 0;
            if let Some(Piece::Bytes(buffer)) = self.queue.pop_front() {
                self.give_spare(buffer);
            }
        }
        self.note_level();
    }

    /// Has the producer at the front make its next bytes. Returns false if it has none now.
    fn ask_producer(&mut self) -> io::Result<bool> {
        let Some(Piece::Producer(mut producer)) = self.queue.pop_front() else { return Ok(true) };
        let mut buffer = std::mem::take(&mut self.spare);
        let goes_on = producer.more(&mut buffer)?;
        if goes_on {
            self.queue.push_front(Piece::Producer(producer));
        } else {
            self.producers -= 1;
        }
        let made = buffer.len();
        if made > 0 {
            self.pending += made;
            self.queue.push_front(Piece::Bytes(buffer));
        } else {
            self.give_spare(buffer);
        }
        self.note_level();
        Ok(made > 0 || !goes_on)
    }

    fn note_level(&mut self) {
        if self.pending >= self.high || self.producers > 0 {
            self.full = true;
        } else if self.pending <= self.low {
            self.full = false;
        }
    }

    /// Gives the outbox an empty buffer for its next slices.
    pub(crate) fn give_spare(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Takes the empty buffer back, if there is one.
    pub(crate) fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.spare.capacity() > 0).then(|| std::mem::take(&mut self.spare))
    }

    /// Whether the next slice needs a buffer.
    pub(crate) fn needs_spare(&self) -> bool {
        self.spare.capacity() == 0 && !matches!(self.queue.back(), Some(Piece::Bytes(_)))
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}
