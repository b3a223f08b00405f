//! Checks of the verifiers for any returned bytes. The property tests and the fuzz target share them.

use loadgen::{Arrival, Content, DatagramVerifier, Fault, StreamVerifier};

/// Lets a verifier send `sent` bytes, and feeds it with `returned` in pieces of `cuts` bytes. Each cut
/// is at least 1, and the last one is used again until the end. Right bytes must be no fault, and
/// wrong bytes must be one. The verifier must not call more bytes right than are right.
///
/// # Panics
///
/// If the verifier is wrong.
pub(crate) fn check_stream(content: Content, sent: usize, returned: &[u8], cuts: &[usize]) {
    let mut expected = vec![0; sent];
    content.fill(0, &mut expected);
    let right = expected.iter().zip(returned).take_while(|(a, b)| a == b).count();
    let mut verifier = StreamVerifier::new(content, 64);
    verifier.add_sent(sent as u64);
    let (mut rest, mut fault, mut cut, mut cuts) = (returned, None, 1, cuts.iter());
    while !rest.is_empty() && fault.is_none() {
        cut = cuts.next().copied().unwrap_or(cut);
        let (piece, later) = rest.split_at(cut.min(rest.len()));
        fault = verifier.take(piece, true).err();
        rest = later;
    }
    let mut answered = 0;
    while verifier.next_answered() {
        answered += 1;
    }
    assert_eq!(verifier.received(), right as u64);
    assert_eq!(answered, right / 64, "messages called answered");
    let wanted = match (right == returned.len(), right == sent, sent) {
        (true, ..) => None,
        (_, true, 0) => Some(Fault::SpokeFirst),
        (_, true, _) => Some(Fault::Surplus),
        (_, false, _) => Some(Fault::Mismatch),
    };
    assert_eq!(fault, wanted, "{right} of {} B right, {sent} B sent", returned.len());
}

/// The next event of a client of datagrams.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    /// It sends a message.
    Sends,
    /// It gives up waiting.
    GivesUp,
    /// The message that was sent `before` messages before the newest one comes back. The byte at
    /// `place` is changed by `flip`.
    ComesBack { before: u64, place: usize, flip: u8 },
    /// Any bytes come.
    Comes(Vec<u8>),
}

/// Size of a message in [`check_datagrams`]. No two messages of this size are equal.
pub(crate) const DATAGRAM: usize = 24;

/// Feeds a verifier with the events. Only the message in flight is an answer, and only once. Only a
/// message that was given up is late, and only once. Everything else is a fault.
///
/// # Panics
///
/// If the verifier is wrong.
pub(crate) fn check_datagrams(content: Content, happens: &[Happens]) {
    let mut verifier = DatagramVerifier::new(content, DATAGRAM as u64);
    // For each sent message: whether it may still come back.
    let mut open: Vec<bool> = Vec::new();
    let mut awaited = None;
    for event in happens {
        let datagram = match event {
            Happens::Sends => {
                let mut out = vec![0; DATAGRAM];
                verifier.send(&mut out);
                assert_eq!(out, message(content, open.len()));
                awaited = Some(open.len());
                open.push(true);
                continue;
            }
            Happens::GivesUp => {
                verifier.give_up();
                awaited = None;
                continue;
            }
            Happens::ComesBack { before, place, flip } => {
                let number = open.len().saturating_sub(1 + *before as usize);
                let mut bytes = message(content, number);
                bytes[place % DATAGRAM] ^= flip;
                bytes
            }
            Happens::Comes(bytes) => bytes.clone(),
        };
        let number = (0..open.len()).find(|&number| message(content, number) == datagram);
        let found = verifier.take(&datagram, true);
        match number {
            None if open.is_empty() => assert_eq!(found, Err(Fault::SpokeFirst)),
            None => assert_eq!(found, Err(Fault::Mismatch)),
            Some(number) if awaited == Some(number) => {
                assert_eq!(found, Ok(Arrival::Answer));
                awaited = None;
                open[number] = false;
            }
            Some(number) if open[number] => {
                // The verifier forgets the oldest of many messages that were given up.
                assert!(found == Ok(Arrival::Late) || open.len() > 64, "{found:?}");
                open[number] = false;
            }
            Some(number) => {
                let forgotten = open.len() - number > 64;
                assert!(found == Err(Fault::Surplus) || forgotten, "{found:?}");
                assert!(found.is_err());
            }
        }
        assert_eq!(verifier.awaits(), awaited.is_some());
    }
}

fn message(content: Content, number: usize) -> Vec<u8> {
    let mut bytes = vec![0; DATAGRAM];
    content.fill((number * DATAGRAM) as u64, &mut bytes);
    bytes
}
