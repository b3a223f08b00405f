//! What the clients send: bytes of which each run says where in the stream it belongs.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Bytes after which the pattern repeats. A prime, so that no buffer size divides it: two blocks of a
/// power of two that change places never look alike.
const PERIOD: usize = 65_521;

/// Bytes that tell a place in the pattern from all others.
const RUN: usize = 8;

/// An endless stream of bytes, random but the same for the same seed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Twice the period, so that any run of one period is in one piece.
    bytes: Arc<[u8]>,
    /// Where in the period the stream begins.
    phase: usize,
}

impl Pattern {
    /// The pattern of this seed.
    pub(crate) fn new(seed: u64) -> Pattern {
        let mut bytes = vec![0; 2 * PERIOD];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes[..PERIOD]);
        bytes.copy_within(..PERIOD, PERIOD);
        Pattern { bytes: bytes.into(), phase: 0 }
    }

    /// The same bytes with another beginning, for the `number`th client: what one client gets of
    /// another's is a mismatch.
    pub(crate) fn of_client(&self, number: usize) -> Pattern {
        // Far enough apart that the streams of neighbours do not overlap for a while.
        const STRIDE: usize = 9_973;
        Pattern { bytes: Arc::clone(&self.bytes), phase: (number % PERIOD) * STRIDE % PERIOD }
    }

    /// The bytes from `offset` on: at least one, at most `count` and at most a period.
    pub(crate) fn at(&self, offset: u64, count: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize + self.phase;
        let start = start % PERIOD;
        &self.bytes[start..start + count.clamp(1, PERIOD)]
    }

    /// The most bytes that [`at`](Pattern::at) returns.
    pub(crate) const fn longest() -> usize {
        PERIOD
    }

    /// What is wrong with `received`, at most a period of bytes that should be those from `offset` on.
    pub(crate) fn complaint(&self, offset: u64, received: &[u8]) -> Option<String> {
        let expected = self.at(offset, received.len());
        if expected == received {
            return None;
        }
        let wrong = expected.iter().zip(received).position(|(a, b)| a != b)?;
        let place = offset + wrong as u64;
        let cause = match self.place_of(&received[wrong..], place) {
            Some(0) | None => "a byte of another value".to_owned(),
            Some(ahead) if ahead > 0 => {
                format!("what belongs {ahead} bytes further on: bytes were lost or changed places")
            }
            Some(behind) => {
                format!(
                    "what belongs {} bytes before: bytes were repeated or changed places",
                    -behind
                )
            }
        };
        Some(format!("byte {place} of the stream is {cause}"))
    }

    /// How far from `place` the first bytes of `received` belong, if they are ours at all.
    fn place_of(&self, received: &[u8], place: u64) -> Option<i64> {
        let run = received.get(..RUN)?;
        let here = (place % PERIOD as u64) as usize + self.phase;
        let found = self.bytes.windows(RUN).position(|window| window == run)?;
        let ahead = (found + 2 * PERIOD - here) % PERIOD;
        let ahead = i64::try_from(ahead).ok()?;
        // Of the two ways around the circle, the shorter.
        Some(if ahead > PERIOD as i64 / 2 { ahead - PERIOD as i64 } else { ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong() {
        let pattern = Pattern::new(7).of_client(3);
        let good = pattern.at(100_000, 1000).to_vec();
        assert_eq!(pattern.complaint(100_000, &good), None);
        let lost = pattern.complaint(100_000, &good[5..]).unwrap();
        assert!(
            lost.contains("byte 100000 of the stream is what belongs 5 bytes further on"),
            "{lost}"
        );
        let repeated = pattern.complaint(100_200, &good).unwrap();
        assert!(repeated.contains("200 bytes before"), "{repeated}");
        let mut changed = good;
        changed[77] ^= 1;
        let changed = pattern.complaint(100_000, &changed).unwrap();
        assert_eq!(changed, "byte 100077 of the stream is a byte of another value");
    }

    #[test]
    fn clients_send_different_bytes() {
        let pattern = Pattern::new(1);
        let theirs = pattern.of_client(1).at(0, 100).to_vec();
        assert!(pattern.of_client(2).complaint(0, &theirs).is_some());
    }
}
