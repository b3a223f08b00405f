//! Fuzzes the verifiers of the load generator.
#![no_main]

#[path = "../../tests/load/chunked.rs"]
mod chunked;

use loadgen::Content;
use chunked::{DATAGRAM, Happens, check_datagrams, check_stream};
use libfuzzer_sys::fuzz_target;

/// The largest number of sent bytes.
const MOST_SENT: usize = 1 << 14;

// The first byte chooses the verifier.
fuzz_target!(|bytes: &[u8]| {
    let content = Content::new(1, 2);
    match bytes.split_first() {
        Some((0..=127, rest)) => stream(content, rest),
        Some((_, rest)) => check_datagrams(content, &happens(rest)),
        None => {}
    }
});

/// Reads the number of sent bytes (two bytes), the number of returned bytes (two bytes), the number of
/// cuts, and the cuts. The rest changes the returned bytes (xor), and what is longer is appended.
fn stream(content: Content, bytes: &[u8]) {
    let [a, b, c, d, cuts, rest @ ..] = bytes else { return };
    let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low])) % MOST_SENT;
    let (cuts, changes) = rest.split_at(usize::from(*cuts).min(rest.len()));
    let cuts: Vec<usize> = cuts.iter().map(|&cut| 1 + usize::from(cut) * 16).collect();
    let mut returned = vec![0; length(*c, *d)];
    content.fill(0, &mut returned);
    for (index, change) in changes.iter().enumerate() {
        match returned.get_mut(index) {
            Some(byte) => *byte ^= change,
            None => returned.push(*change),
        }
    }
    check_stream(content, length(*a, *b), &returned, &cuts);
}

/// Reads a few bytes for each event.
fn happens(mut bytes: &[u8]) -> Vec<Happens> {
    let mut happens = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let used = match kind % 8 {
            0..=2 => 0,
            3 => 0,
            4..=6 => 3.min(rest.len()),
            _ => (DATAGRAM - 4 + usize::from(kind) / 32).min(rest.len()),
        };
        let (used, later) = rest.split_at(used);
        happens.push(match (kind % 8, used) {
            (0..=2, _) => Happens::Sends,
            (3, _) => Happens::GivesUp,
            (4..=6, &[before, place, flip]) => Happens::ComesBack {
                before: u64::from(before % 8),
                place: place.into(),
                // Most returned bytes stay unchanged.
                flip: flip.saturating_sub(192),
            },
            (_, bytes) => Happens::Comes(bytes.to_vec()),
        });
        bytes = later;
    }
    happens
}
