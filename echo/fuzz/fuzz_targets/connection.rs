//! `Connection` over a stream that does whatever the fuzzer's bytes say.
#![no_main]

#[path = "../../tests/connection/fake.rs"]
mod fake;

use fake::{Deal, check_connection};
use libfuzzer_sys::fuzz_target;

/// Most deals of one list, so that a run stays short.
const MOST_DEALS: usize = 200;

// A byte for the number of deals to reads, that many bytes, the same for writes; what is left is
// what the peer sends.
fuzz_target!(|bytes: &[u8]| {
    let (reads, rest) = deals(bytes);
    let (writes, sent) = deals(rest);
    check_connection(sent, reads, writes);
});

fn deals(bytes: &[u8]) -> (Vec<Deal>, &[u8]) {
    let Some((&count, rest)) = bytes.split_first() else { return (Vec::new(), bytes) };
    let count = usize::from(count).min(rest.len()).min(MOST_DEALS);
    (rest[..count].iter().map(|&byte| deal(byte)).collect(), &rest[count..])
}

/// A move of 0 bytes would be an end of stream, so moves begin at 1.
fn deal(byte: u8) -> Deal {
    match byte {
        0 => Deal::Reset,
        1..=40 => Deal::WouldBlock,
        41..=60 => Deal::Interrupted,
        _ => Deal::Move(1 + usize::from(byte) % (2 * fake::SCRATCH)),
    }
}
