//! The bytes that clients send. Each run of a few bytes tells its place in the stream.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The bytes after which the pattern repeats. It is a prime, so no buffer size divides it: two blocks of a
/// power of two that change places never look alike.
const PERIOD: usize = 65_521;

/// The number of bytes that identify a place in the pattern.
const RUN: usize = 8;

/// An endless stream of random bytes. The same seed gives the same bytes. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Two periods, so that each run of up to one period is contiguous.
    bytes: Arc<[u8]>,
    /// The place in the period where the stream begins.
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

    /// The stream of the `number`th client: the same bytes with another beginning. The bytes of one
    /// client are wrong for another.
    pub(crate) fn of_client(&self, number: usize) -> Pattern {
        // The streams of neighbours overlap only after this number of bytes.
        const STRIDE: usize = 9_973;
        Pattern { bytes: Arc::clone(&self.bytes), phase: (number % PERIOD) * STRIDE % PERIOD }
    }

    /// The bytes from `offset` on: at least one, at most `count`, and at most one period.
    pub(crate) fn at(&self, offset: u64, count: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize + self.phase;
        let start = start % PERIOD;
        &self.bytes[start..start + count.clamp(1, PERIOD)]
    }

    /// The most bytes that [`at`](Pattern::at) returns.
    pub(crate) const fn longest() -> usize {
        PERIOD
    }

    /// What is wrong with `received`, which should be the bytes from `offset` on. `received` is at most one
    /// period long. `None` when the bytes are right.
    pub(crate) fn complaint(&self, offset: u64, received: &[u8]) -> Option<String> {
        let expected = self.at(offset, received.len());
        if expected == received {
            return None;
        }
        let wrong = expected.iter().zip(received).position(|(a, b)| a != b)?;
        let place = offset + wrong as u64;
        let cause = match self.place_of(&received[wrong..], place) {
            Some(0) | None => "has another value".to_owned(),
            Some(ahead) if ahead > 0 => {
                format!("is the byte {ahead} places later: bytes were lost or changed places")
            }
            Some(behind) => {
                let before = -behind;
                format!("is the byte {before} places before: bytes were repeated or changed places")
            }
        };
        Some(format!("byte {place} of the stream {cause}"))
    }

    /// The distance from `place` to the right place of the first bytes of `received`. `None` when they
    /// are not bytes of the pattern.
    fn place_of(&self, received: &[u8], place: u64) -> Option<i64> {
        let run = received.get(..RUN)?;
        let here = (place % PERIOD as u64) as usize + self.phase;
        let found = self.bytes.windows(RUN).position(|window| window == run)?;
        let ahead = (found + 2 * PERIOD - here) % PERIOD;
        let ahead = i64::try_from(ahead).ok()?;
        // The pattern is a circle: take the shorter of the two ways.
        Some(if ahead > PERIOD as i64 / 2 { ahead - PERIOD as i64 } else { ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_the_place_and_the_kind_of_the_fault() {
        let pattern = Pattern::new(7).of_client(3);
        let good = pattern.at(100_000, 1000).to_vec();
        assert_eq!(pattern.complaint(100_000, &good), None);
        let lost = pattern.complaint(100_000, &good[5..]).unwrap();
        assert!(lost.contains("byte 100000 of the stream is the byte 5 places later"), "{lost}");
        let repeated = pattern.complaint(100_200, &good).unwrap();
        assert!(repeated.contains("200 places before"), "{repeated}");
        let mut changed = good;
        changed[77] ^= 1;
        let changed = pattern.complaint(100_000, &changed).unwrap();
        assert_eq!(changed, "byte 100077 of the stream has another value");
    }

    #[test]
    fn clients_send_different_bytes() {
        let pattern = Pattern::new(1);
        let theirs = pattern.of_client(1).at(0, 100).to_vec();
        assert!(pattern.of_client(2).complaint(0, &theirs).is_some());
    }
}
