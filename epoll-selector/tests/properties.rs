//! What holds for every input and however the system cuts it into pieces.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use epoll_selector::{Found, Outbox, Producer, Sent, Until};
use proptest::collection::vec;
use proptest::prelude::*;

const LONGEST: usize = 12;

const TERMINATORS: &[&[u8]] = &[b"\n", b"\r\n", b"aab", b"\r\n\r\n"];

/// What a receiver finds: the messages, and whether it gave up on a message that is too long.
type Outcome = (Vec<Vec<u8>>, bool);

/// Receives `input` in pieces that end at `cuts`, as a conversation does.
fn receive(until: Until, input: &[u8], cuts: &BTreeSet<usize>) -> Outcome {
    let (mut start, mut searched, mut messages) = (0, 0, Vec::new());
    for end in cuts.iter().copied().filter(|cut| *cut < input.len()).chain([input.len()]) {
        loop {
            let held = &input[start..end.max(start)];
            match until.find(held, searched, LONGEST) {
                Found::Message { body, end } => {
                    messages.push(held[body].to_vec());
                    (start, searched) = (start + end, 0);
                }
                Found::Partial { searched: so_far } => {
                    assert!(so_far <= held.len());
                    searched = so_far;
                    break;
                }
                Found::TooLong => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// The same for a terminator, the plain way: all at once.
fn split(terminator: &[u8], input: &[u8]) -> Outcome {
    let (mut rest, mut messages) = (input, Vec::new());
    loop {
        let end = rest.windows(terminator.len()).position(|window| window == terminator);
        let length = end.unwrap_or(rest.len().saturating_sub(terminator.len() - 1));
        if length > LONGEST {
            return (messages, true);
        }
        let Some(end) = end else { return (messages, false) };
        messages.push(rest[..end].to_vec());
        rest = &rest[end + terminator.len()..];
    }
}

/// Bytes of few kinds, so that terminators and their beginnings are frequent.
fn input() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(&b"ab\r\n\0\x03"[..]), 0..80)
}

proptest! {
    #[test]
    fn a_terminator_is_found_however_the_input_is_cut(
        terminator in prop::sample::select(TERMINATORS),
        input in input(),
        cuts in prop::collection::btree_set(0..80usize, 0..20),
    ) {
        let found = receive(Until::Bytes(terminator), &input, &cuts);
        prop_assert_eq!(found, split(terminator, &input));
    }

    #[test]
    fn prefixed_messages_are_found_however_the_input_is_cut(
        messages in vec(vec(any::<u8>(), 0..=LONGEST), 0..10),
        cuts in prop::collection::btree_set(0..160usize, 0..20),
    ) {
        let mut input = Vec::new();
        for message in &messages {
            input.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            input.extend_from_slice(message);
        }
        prop_assert_eq!(receive(Until::Prefixed, &input, &cuts), (messages, false));
    }

    #[test]
    fn any_input_at_all_is_handled(
        until in prop::sample::select(&[
            Until::Any, Until::Prefixed, Until::Bytes(b"\r\n"), Until::Bytes(b""),
            Until::AtMost(3), Until::Count(5), Until::Count(usize::MAX), Until::AtMost(usize::MAX),
        ][..]),
        input in vec(any::<u8>(), 0..80),
        searched in 0..100usize,
    ) {
        match until.find(&input, searched, LONGEST) {
            Found::Message { body, end } => {
                prop_assert!(body.start <= body.end && body.end <= end && end <= input.len());
            }
            Found::Partial { searched } => prop_assert!(searched <= input.len()),
            Found::TooLong => {}
        }
    }

    #[test]
    fn an_outbox_sends_every_byte_once_and_in_order(
        pushes in vec(push(), 0..20),
        answers in vec(answer(), 1..60),
    ) {
        let mut outbox = Outbox::new();
        outbox.marks(100, 300);
        let mut stream = Fickle { answers, at: 0, taken: Vec::new() };
        let (mut expected, mut produces, mut was_full) = (Vec::new(), false, false);
        for push in pushes {
            expected.extend_from_slice(&push.bytes());
            produces |= matches!(push, Push::Produced(..));
            push.into_outbox(&mut outbox);
            for write in [false, true, true] {
                if write {
                    outbox.write_to(&mut stream).unwrap();
                }
                let full = outbox.pending() >= 300 || was_full && outbox.pending() > 100;
                was_full = outbox.is_full();
                prop_assert!(produces || was_full == full, "{} pending", outbox.pending());
            }
            prop_assert!(expected.starts_with(&stream.taken));
            prop_assert_eq!(outbox.total(), stream.taken.len() as u64);
        }
        let mut flushes = 0;
        while outbox.write_to(&mut stream).unwrap() != Sent::All {
            flushes += 1;
            prop_assert!(flushes < 50_000, "no progress");
        }
        prop_assert_eq!(&stream.taken, &expected);
        prop_assert!(outbox.is_empty() && !outbox.is_full() && outbox.pending() == 0);
    }
}

#[derive(Clone, Debug)]
enum Push {
    Slice(Vec<u8>),
    Moved(Vec<u8>),
    Shared(Arc<[u8]>),
    Produced(Vec<u8>, usize),
}

fn push() -> impl Strategy<Value = Push> {
    let bytes = || vec(any::<u8>(), 0..200);
    prop_oneof![
        bytes().prop_map(Push::Slice),
        bytes().prop_map(Push::Moved),
        bytes().prop_map(|bytes| Push::Shared(Arc::from(bytes))),
        (bytes(), 1..50usize).prop_map(|(bytes, size)| Push::Produced(bytes, size)),
    ]
}

impl Push {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Push::Slice(bytes) | Push::Moved(bytes) | Push::Produced(bytes, _) => bytes.clone(),
            Push::Shared(bytes) => bytes.to_vec(),
        }
    }

    fn into_outbox(self, outbox: &mut Outbox) {
        match self {
            Push::Slice(bytes) => outbox.push(&bytes),
            Push::Moved(bytes) => outbox.push(bytes),
            Push::Shared(bytes) => outbox.push(bytes),
            Push::Produced(bytes, size) => outbox.produce(Pieces { bytes, size, calls: 0 }),
        }
    }
}

/// Makes its bytes in pieces, and every third time has nothing yet.
struct Pieces {
    bytes: Vec<u8>,
    size: usize,
    calls: usize,
}

impl Producer for Pieces {
    fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        self.calls += 1;
        if self.calls % 3 == 1 {
            return Ok(true);
        }
        let piece = self.bytes.len().min(self.size);
        into.extend(self.bytes.drain(..piece));
        Ok(!self.bytes.is_empty())
    }
}

/// What a stream answers to a write.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Takes(usize),
    TakesAll,
    WouldBlock,
    Interrupted,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (1..40usize).prop_map(Answer::Takes),
        Just(Answer::TakesAll),
        Just(Answer::WouldBlock),
        Just(Answer::Interrupted),
    ]
}

/// A stream that answers as it was told, over and over, and takes something in between.
struct Fickle {
    answers: Vec<Answer>,
    at: usize,
    taken: Vec<u8>,
}

impl Write for Fickle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.at += 1;
        let answer = match self.at % 7 {
            0 => Answer::Takes(1),
            _ => self.answers[self.at % self.answers.len()],
        };
        let taken = match answer {
            Answer::Takes(most) => bytes.len().min(most),
            Answer::TakesAll => bytes.len(),
            Answer::WouldBlock => return Err(ErrorKind::WouldBlock.into()),
            Answer::Interrupted => return Err(ErrorKind::Interrupted.into()),
        };
        self.taken.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
