//! The bytes that a connection sends, and the check of the bytes that come back.
//!
//! The bytes of a connection are one endless stream. Each byte is a pure function of the seed, the
//! connection and the offset. So the generator keeps no sent bytes: the sender writes the stream
//! from any offset, and the receiver checks the stream from any offset, in pieces of any length. A
//! message is the next `size` bytes of the stream.
//!
//! The stream consists of blocks of 4 KiB. Every block is the same tape of random words, combined
//! (xor) with the mask of that block. No two blocks of a connection have the same mask; blocks of
//! two connections have the same mask with a probability of 2^-64. So the check finds corrupted,
//! lost, duplicated and swapped bytes, and bytes of another connection. It cannot find a wrong byte
//! that happens to equal the right one.

/// Words in a block. A larger block computes fewer masks; this one fits the first-level cache.
const BLOCK_WORDS: usize = 512;
const WORD: usize = size_of::<u64>();
const BLOCK: usize = BLOCK_WORDS * WORD;

static TAPE: [u64; BLOCK_WORDS] = tape();

/// The content of one connection's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    key: u64,
}

impl Content {
    /// The content of connection number `connection` in a run with this `seed`.
    pub fn new(seed: u64, connection: u64) -> Content {
        Content { key: mix(mix(seed) ^ connection) }
    }

    /// Fills `out` with the stream from `offset` (in bytes).
    pub fn fill(self, mut offset: u64, mut out: &mut [u8]) {
        while !out.is_empty() {
            let within = (offset % BLOCK as u64) as usize;
            let (part, rest) = out.split_at_mut(out.len().min(BLOCK - within));
            fill_block(self.mask(offset), within, part);
            offset += part.len() as u64;
            out = rest;
        }
    }

    /// Checks that `received` is the stream from `offset` (in bytes).
    ///
    /// # Errors
    ///
    /// The index of the first wrong byte in `received`.
    pub fn check(self, offset: u64, received: &[u8]) -> Result<(), usize> {
        let mut checked = 0;
        while checked < received.len() {
            let at = offset + checked as u64;
            let within = (at % BLOCK as u64) as usize;
            let rest = &received[checked..];
            let part = &rest[..rest.len().min(BLOCK - within)];
            if !block_is_right(self.mask(at), within, part) {
                return Err(checked + self.first_wrong(at, part));
            }
            checked += part.len();
        }
        Ok(())
    }

    /// The mask of the block that holds `offset`. `mix` is a bijection, so no two blocks of a
    /// connection have the same mask.
    fn mask(self, offset: u64) -> u64 {
        mix(self.key.wrapping_add(offset / BLOCK as u64))
    }

    #[cold]
    fn first_wrong(self, offset: u64, part: &[u8]) -> usize {
        let mut expected = vec![0; part.len()];
        self.fill(offset, &mut expected);
        part.iter().zip(&expected).take_while(|(got, expected)| got == expected).count()
    }
}

/// Fills `out` with the bytes of one block from index `within`.
fn fill_block(mask: u64, within: usize, out: &mut [u8]) {
    let (head, index, rest) = split_head(within, out.len());
    if head > 0 {
        let word = word_bytes(mask, within / WORD);
        out[..head].copy_from_slice(&word[within % WORD..][..head]);
    }
    let (words, tail) = out[head..].as_chunks_mut::<WORD>();
    for (word, tape) in words.iter_mut().zip(&TAPE[index..]) {
        *word = (tape ^ mask).to_le_bytes();
    }
    if !tail.is_empty() {
        let word = word_bytes(mask, index + rest / WORD);
        tail.copy_from_slice(&word[..tail.len()]);
    }
}

/// Whether `received` is the part of one block from index `within`. The loop has no early exit, so
/// the compiler can use vector instructions.
fn block_is_right(mask: u64, within: usize, received: &[u8]) -> bool {
    let (head, index, rest) = split_head(within, received.len());
    if head > 0 {
        let word = word_bytes(mask, within / WORD);
        if received[..head] != word[within % WORD..][..head] {
            return false;
        }
    }
    let (words, tail) = received[head..].as_chunks::<WORD>();
    let mut difference = 0;
    for (word, tape) in words.iter().zip(&TAPE[index..]) {
        difference |= u64::from_le_bytes(*word) ^ tape ^ mask;
    }
    if difference != 0 {
        return false;
    }
    // A tail exists only inside the block, so `word_bytes` stays within the tape.
    tail.is_empty() || *tail == word_bytes(mask, index + rest / WORD)[..tail.len()]
}

/// Splits `length` bytes from index `within` of a block at the next word. Returns the number of
/// bytes before that word, the index of that word, and the number of bytes from that word on.
fn split_head(within: usize, length: usize) -> (usize, usize, usize) {
    let head = within.next_multiple_of(WORD) - within;
    let head = head.min(length);
    (head, within.div_ceil(WORD), length - head)
}

fn word_bytes(mask: u64, index: usize) -> [u8; WORD] {
    (TAPE[index] ^ mask).to_le_bytes()
}

const fn tape() -> [u64; BLOCK_WORDS] {
    let mut tape = [0; BLOCK_WORDS];
    let mut index = 0;
    while index < BLOCK_WORDS {
        tape[index] = mix(index as u64);
        index += 1;
    }
    tape
}

/// The output function of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014): a bijection that spreads every bit of the input over the whole word.
pub(crate) const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of the stream: byte by byte, without heads and tails.
    fn defined(content: Content, offset: u64, length: usize) -> Vec<u8> {
        (offset..offset + length as u64)
            .map(|at| {
                let word = (at % BLOCK as u64) as usize / WORD;
                word_bytes(content.mask(at), word)[at as usize % WORD]
            })
            .collect()
    }

    const OFFSETS: [u64; 8] = [0, 1, 7, 8, 4088, 4095, 4096, 1 << 40];
    const LENGTHS: [usize; 8] = [0, 1, 7, 8, 9, 64, 4096, 10_000];

    #[test]
    fn fill_writes_the_defined_stream_from_any_offset() {
        let content = Content::new(1, 2);
        for offset in OFFSETS {
            for length in LENGTHS {
                let mut out = vec![0; length];
                content.fill(offset, &mut out);
                assert_eq!(out, defined(content, offset, length), "{length} bytes at {offset}");
                assert_eq!(content.check(offset, &out), Ok(()), "{length} bytes at {offset}");
            }
        }
    }

    #[test]
    fn check_names_the_first_wrong_byte_wherever_it_is() {
        let content = Content::new(1, 2);
        for offset in OFFSETS {
            let mut bytes = defined(content, offset, 5000);
            for wrong in [0, 1, 8, 63, 4094, 4999] {
                bytes[wrong] ^= 1;
                assert_eq!(content.check(offset, &bytes), Err(wrong));
                bytes[wrong] ^= 1;
            }
        }
    }

    #[test]
    fn bytes_of_another_offset_or_connection_are_wrong() {
        let mut out = [0; 64];
        Content::new(1, 2).fill(640, &mut out);
        assert_eq!(Content::new(1, 2).check(640, &out), Ok(()));
        for (content, offset) in [
            (Content::new(1, 2), 576),
            (Content::new(1, 2), 704),
            (Content::new(1, 2), 640 + BLOCK as u64),
            (Content::new(1, 3), 640),
            (Content::new(2, 2), 640),
        ] {
            assert!(content.check(offset, &out).is_err(), "{content:?} at {offset}");
        }
    }
}
