//! A stream that deals out whatever it is told, and what must be true of a [`Connection`] over it.
//! The property tests and the fuzz target share this.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use echo::{Connection, Scratch, Step, Wants};

/// Size of the scratch buffer here: small, so that short sequences fill it.
pub(crate) const SCRATCH: usize = 16;

/// What the fake stream does with one call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deal {
    /// Moves at most this many bytes.
    Move(usize),
    WouldBlock,
    Interrupted,
    Reset,
}

/// A stream that deals out what it was told, then behaves as well as a stream can.
#[derive(Debug)]
pub(crate) struct Fake {
    reads: VecDeque<Deal>,
    writes: VecDeque<Deal>,
    /// What the peer sends before it closes its side.
    incoming: VecDeque<u8>,
    /// What the peer was sent.
    pub(crate) outgoing: Vec<u8>,
    calls: usize,
}

impl Fake {
    /// Sends `incoming`, then closes its side.
    pub(crate) fn new(incoming: &[u8], reads: Vec<Deal>, writes: Vec<Deal>) -> Fake {
        let incoming = incoming.iter().copied().collect();
        Fake {
            reads: reads.into(),
            writes: writes.into(),
            incoming,
            outgoing: Vec::new(),
            calls: 0,
        }
    }
}

fn allowed(deal: Option<Deal>) -> io::Result<usize> {
    match deal.unwrap_or(Deal::Move(usize::MAX)) {
        Deal::Move(bytes) => Ok(bytes),
        Deal::WouldBlock => Err(ErrorKind::WouldBlock.into()),
        Deal::Interrupted => Err(ErrorKind::Interrupted.into()),
        Deal::Reset => Err(ErrorKind::ConnectionReset.into()),
    }
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        let bytes = allowed(self.reads.pop_front())?.min(buffer.len()).min(self.incoming.len());
        for byte in &mut buffer[..bytes] {
            *byte = self.incoming.pop_front().unwrap_or_default();
        }
        Ok(bytes)
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        assert!(!bytes.is_empty(), "an empty write is a system call for nothing");
        let taken = allowed(self.writes.pop_front())?.min(bytes.len());
        self.outgoing.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether one of the deals ends the connection.
pub(crate) fn may_fail(reads: &[Deal], writes: &[Deal]) -> bool {
    reads.iter().chain(writes).any(|deal| matches!(deal, Deal::Reset))
}

/// Steps a connection to its end over a stream that deals out `reads` and `writes`.
///
/// # Panics
///
/// When what it sends is not what it received, it holds more than one read, or turns without progress.
pub(crate) fn check_connection(sent: &[u8], reads: Vec<Deal>, writes: Vec<Deal>) {
    let may_fail = may_fail(&reads, &writes);
    // Each step takes at least one deal off a list, or moves a byte, or is the last.
    let most_steps = reads.len() + writes.len() + 2 * sent.len() + 1;
    let mut scratch = Scratch::with(SCRATCH, Duration::ZERO);
    let mut connection = Connection::new(Fake::new(sent, reads, writes));
    let (mut received, mut echoed) = (0, 0);
    for _ in 0..most_steps {
        let calls_before = connection.stream().calls;
        let was_pending = connection.wants_to_write();
        let Ok(Step { received: read, sent: written, wants, would_block }) =
            connection.step(&mut scratch)
        else {
            assert!(may_fail, "an error that the stream did not give");
            return;
        };
        received += read;
        echoed += written;

        // One step makes one read and one write at most, and nothing without a reason.
        assert!(connection.stream().calls - calls_before <= 2);
        assert!(!was_pending || read == 0, "read while bytes were pending");
        // What is held is bounded by one read.
        assert!(received - echoed <= SCRATCH);
        // What it says it wants follows from what it holds.
        assert_eq!(connection.wants_to_write(), received > echoed);
        assert_eq!(wants == Wants::Write, received > echoed);
        // A step that did nothing says why.
        assert!(
            read + written > 0
                || would_block
                || wants == Wants::Close
                || connection.stream().calls > calls_before
        );
        // What left is a prefix of what came.
        assert_eq!(connection.stream().outgoing.len(), echoed);
        assert!(sent.starts_with(&connection.stream().outgoing));
        if wants == Wants::Close {
            assert_eq!(connection.stream().outgoing, sent, "closed before all was sent back");
            return;
        }
    }
    panic!("no end after {most_steps} steps");
}
