//! Whatever a stream does, what a [`Connection`] sends is what it received.

#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use echo::{Connection, Scratch, Step, Wants, echo_until_eof};
use proptest::prelude::*;

/// Size of the scratch buffer here: small, so that short sequences fill it.
const SCRATCH: usize = 16;

/// What the fake stream does with one call.
#[derive(Clone, Copy, Debug)]
enum Deal {
    /// Moves at most this many bytes.
    Move(usize),
    WouldBlock,
    Interrupted,
    Reset,
}

/// A stream that deals out what it was told, then behaves as well as a stream can.
#[derive(Debug)]
struct Fake {
    reads: VecDeque<Deal>,
    writes: VecDeque<Deal>,
    /// What the peer sends before it closes its side.
    incoming: VecDeque<u8>,
    /// What the peer was sent.
    outgoing: Vec<u8>,
    calls: usize,
}

impl Fake {
    fn new(incoming: &[u8], reads: Vec<Deal>, writes: Vec<Deal>) -> Fake {
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
            *byte = self.incoming.pop_front().unwrap();
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

/// Short moves and every error; a read of 0 bytes would be an end of stream, so moves begin at 1.
fn deal() -> impl Strategy<Value = Deal> {
    prop_oneof![
        8 => (1..2 * SCRATCH).prop_map(Deal::Move),
        3 => Just(Deal::WouldBlock),
        2 => Just(Deal::Interrupted),
    ]
}

/// At most one reset: it ends the connection.
fn deals() -> impl Strategy<Value = Vec<Deal>> {
    (prop::collection::vec(deal(), 0..80), prop::option::weighted(0.2, 0..80_usize)).prop_map(
        |(mut deals, reset)| {
            if let Some(at) = reset {
                deals.insert(at.min(deals.len()), Deal::Reset);
            }
            deals
        },
    )
}

fn is_reset(deal: &Deal) -> bool {
    matches!(deal, Deal::Reset)
}

proptest! {
    #[test]
    fn a_connection_sends_what_it_received(
        sent in prop::collection::vec(any::<u8>(), 0..500),
        reads in deals(),
        writes in deals(),
    ) {
        let may_fail = reads.iter().chain(&writes).any(is_reset);
        // Each step takes at least one deal off a list, or moves a byte, or is the last.
        let most_steps = reads.len() + writes.len() + 2 * sent.len() + 1;
        let mut scratch = Scratch::with(SCRATCH, Duration::ZERO);
        let mut connection = Connection::new(Fake::new(&sent, reads, writes));
        let (mut received, mut echoed, mut closed) = (0, 0, false);
        for _ in 0..most_steps {
            let calls_before = connection.stream().calls;
            let was_pending = connection.wants_to_write();
            let Ok(Step { received: read, sent: written, wants, would_block }) =
                connection.step(&mut scratch)
            else {
                prop_assert!(may_fail, "an error that the stream did not give");
                break;
            };
            received += read;
            echoed += written;

            // One step makes one read and one write at most, and nothing without a reason.
            prop_assert!(connection.stream().calls - calls_before <= 2);
            prop_assert!(!was_pending || read == 0, "read while bytes were pending");
            // What is held is bounded by one read.
            prop_assert!(received - echoed <= SCRATCH);
            // What it says it wants follows from what it holds.
            prop_assert_eq!(connection.wants_to_write(), received > echoed);
            prop_assert_eq!(wants == Wants::Write, received > echoed);
            // A step that did nothing says why.
            prop_assert!(read + written > 0 || would_block || wants == Wants::Close
                || connection.stream().calls > calls_before);
            // What left is a prefix of what came.
            prop_assert_eq!(connection.stream().outgoing.len(), echoed);
            prop_assert!(sent.starts_with(&connection.stream().outgoing));
            if wants == Wants::Close {
                closed = true;
                break;
            }
        }
        if closed {
            prop_assert_eq!(&connection.stream().outgoing, &sent, "closed before all was sent back");
        } else {
            prop_assert!(may_fail, "no end after {} steps", most_steps);
        }
    }

    #[test]
    fn the_blocking_echo_sends_what_it_received(
        sent in prop::collection::vec(any::<u8>(), 0..500),
        reads in deals(),
        writes in deals(),
    ) {
        // A stream that blocks does not say WouldBlock.
        let blocks = |deals: Vec<Deal>| -> Vec<Deal> {
            deals.into_iter().filter(|deal| !matches!(deal, Deal::WouldBlock)).collect()
        };
        let (reads, writes) = (blocks(reads), blocks(writes));
        let may_fail = reads.iter().chain(&writes).any(is_reset);
        let mut stream = Fake::new(&sent, reads, writes);
        let mut bytes = 0;
        let mut scratch = Scratch::with(SCRATCH, Duration::ZERO);
        match echo_until_eof(&mut stream, &mut scratch, &mut bytes) {
            Ok(()) => {
                prop_assert_eq!(bytes, sent.len() as u64);
                prop_assert_eq!(stream.outgoing, sent);
            }
            Err(_) => {
                prop_assert!(may_fail, "an error that the stream did not give");
                prop_assert!(bytes <= stream.outgoing.len() as u64);
                prop_assert!(sent.starts_with(&stream.outgoing));
            }
        }
    }
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_endless_loop() {
    let mut connection = Connection::new(Fake::new(b"x", vec![], vec![Deal::Move(0)]));
    let error = connection.step(&mut Scratch::with(SCRATCH, Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn work_burns_cpu_time_for_each_read() {
    let mut connection = Connection::new(Fake::new(b"x", vec![], vec![]));
    let mut scratch = Scratch::with(SCRATCH, Duration::from_millis(20));
    let before = std::time::Instant::now();
    connection.step(&mut scratch).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(20));
}
