//! What a connection sends, and the check of what comes back.
//!
//! The bytes of a connection are one endless stream, and a pure function of the connection and the
//! offset in the stream. So nothing that was sent needs to be kept: the sender writes the stream
//! from any offset, and the receiver checks it from any offset, however the bytes are cut up on the
//! way. A message is the next `size` bytes of the stream.
//!
//! The stream is made of blocks of 4 KiB. Every block is the same tape of random words, combined
//! (xor) with a mask that no other block of the connection has, and that another connection has
//! only by chance (2^-64). Bytes that are corrupted, dropped, duplicated or swapped, and bytes of
//! another connection, are therefore not those that belong at their offset. The exception is one
//! that no echo could show: bytes that happen to equal those they replace.

/// Words in a block: large enough that the mask costs nothing, small enough for the first-level
/// cache.
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

    /// Writes the part of the stream that begins at `offset` (in bytes) into `out`.
    pub fn fill(self, mut offset: u64, mut out: &mut [u8]) {
        while !out.is_empty() {
            let within = (offset % BLOCK as u64) as usize;
            let (part, rest) = out.split_at_mut(out.len().min(BLOCK - within));
            fill_block(self.mask(offset), within, part);
            offset += part.len() as u64;
            out = rest;
        }
    }

    /// Checks that `received` is the part of the stream that begins at `offset` (in bytes).
    ///
    /// # Errors
    ///
    /// The index of the first byte of `received` that is wrong.
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

    /// The mask of the block that holds `offset`. `mix` is a bijection: no two blocks have the
    /// same.
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

/// Writes the bytes of one block from index `within` on.
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

/// Whether `received` are the bytes of one block from index `within` on. The loop has no early
/// exit, so that the compiler turns it into vector instructions.
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
    // Beyond the block's last word there is no tail.
    tail.is_empty() || *tail == word_bytes(mask, index + rest / WORD)[..tail.len()]
}

/// For `length` bytes from index `within` of a block on: how many belong to a word that began
/// before, the index of the first word after those, and how many bytes are left for it and its
/// successors.
fn split_head(within: usize, length: usize) -> (usize, usize, usize) {
    let head = within.next_multiple_of(WORD) - within;
    let head = head.min(length);
    ((head), within.div_ceil(WORD), length - head)
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
const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream word by word, without blocks, heads and tails: the definition.
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
    fn another_place_and_another_connection_are_told_apart() {
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
