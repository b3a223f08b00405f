//! The echo service over a stream that may say `WouldBlock`.

use std::io::{self, ErrorKind, Read, Write};

use crate::Scratch;
use crate::idle::IDLE_TICKS;

/// One client's connection: a state machine that [`step`](Connection::step) moves on by one step.
///
/// How often to call `step`, and on what signal, is the I/O model and stays in the servers.
///
/// A connection holds bytes of its own only while the peer does not take what it is sent. These are at
/// most the bytes of one read, and the next read waits until they are gone. So a peer that never reads
/// costs one bounded buffer, and TCP's flow control stops the peer from sending more.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// Received but not yet sent: `pending[sent..]`. Unallocated while empty.
    pending: Vec<u8>,
    sent: usize,
    /// Ticks since a byte moved.
    quiet: u8,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing is pending: it wants bytes from the peer.
    Read,
    /// Bytes are pending: the peer must take them before anything more is read.
    Write,
    /// The peer has ended its stream, and all of it was echoed: drop the connection.
    Close,
}

/// What one call of [`Connection::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes read from the peer.
    pub received: usize,
    /// Bytes the kernel took for the peer.
    pub sent: usize,
    /// What to wait for next.
    pub wants: Wants,
    /// The stream answered `WouldBlock`: until it is ready again, another step does nothing.
    ///
    /// Under edge triggering an event ends here. A read that was shorter than the buffer ends an event
    /// too, if the event did not say that the peer has closed its side.
    pub would_block: bool,
}

impl<S: Read + Write> Connection<S> {
    /// A connection that has neither received nor sent anything. `stream` should be non-blocking.
    pub fn new(stream: S) -> Connection<S> {
        Connection { stream, pending: Vec::new(), sent: 0, quiet: 0 }
    }

    /// Moves the connection on by one step. With bytes pending, the step is one write(2). Otherwise it is
    /// one read(2) and, if that returned bytes, one write.
    ///
    /// What the peer did not take is copied out of `scratch` and becomes pending.
    ///
    /// # Errors
    ///
    /// Any error of the stream except `WouldBlock` and `Interrupted`. The error concerns this connection
    /// alone: drop it and go on.
    pub fn step(&mut self, scratch: &mut Scratch) -> io::Result<Step> {
        if self.wants_to_write() {
            return self.flush();
        }
        match self.stream.read(&mut scratch.buffer) {
            Ok(0) => Ok(Step { received: 0, sent: 0, wants: Wants::Close, would_block: false }),
            Ok(received) => {
                self.quiet = 0;
                scratch.work();
                self.send(&scratch.buffer[..received])
            }
            // Nothing has arrived. For a model that polls, this is the most frequent answer.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Ok(Step { received: 0, sent: 0, wants: Wants::Read, would_block: true })
            }
            // A signal came first. There may be bytes: the caller's loop tries again.
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Ok(Step { received: 0, sent: 0, wants: Wants::Read, would_block: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a tick of the [`IdleClock`](crate::IdleClock). Returns whether the whole of `--idle-timeout`
    /// has passed without a byte moved. Then shut the stream down: the next step finds its end.
    pub fn tick(&mut self) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet >= IDLE_TICKS
    }

    /// Whether bytes are pending.
    pub fn wants_to_write(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// The stream, to register it or to shut it down.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends what was received. What is not taken becomes pending.
    fn send(&mut self, received: &[u8]) -> io::Result<Step> {
        let (sent, would_block) = write(&mut self.stream, received)?;
        if sent < received.len() {
            self.pending = received[sent..].to_vec();
            self.sent = 0;
        }
        Ok(Step { received: received.len(), sent, wants: self.wants(), would_block })
    }

    /// Sends what is pending, and frees the buffer when it is empty.
    fn flush(&mut self) -> io::Result<Step> {
        let (sent, would_block) = write(&mut self.stream, &self.pending[self.sent..])?;
        if sent > 0 {
            self.quiet = 0;
        }
        self.sent += sent;
        if !self.wants_to_write() {
            self.pending = Vec::new();
            self.sent = 0;
        }
        Ok(Step { received: 0, sent, wants: self.wants(), would_block })
    }

    fn wants(&self) -> Wants {
        if self.wants_to_write() { Wants::Write } else { Wants::Read }
    }
}

/// One write(2). Returns how many bytes were taken, and whether the stream answered `WouldBlock`.
fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<(usize, bool)> {
    match stream.write(bytes) {
        Ok(0) => Err(ErrorKind::WriteZero.into()),
        Ok(sent) => Ok((sent, false)),
        // The peer's window and our send buffer are full.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((0, true)),
        // A signal came first: nothing was sent, and the next step tries again.
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok((0, false)),
        Err(error) => Err(error),
    }
}
