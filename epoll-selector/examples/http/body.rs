//! The parts of an HTTP/1.1 message (RFC 9112), and where each ends. Servers and clients need the
//! same.
//!
//! Everything here is a pure function of the peer's bytes, so a fuzzer can call it.

use epoll_selector::Until;

/// Longest line in front of a chunk, in bytes: a length, and extensions that nobody uses.
const CHUNK_LINE_MAX: usize = 256;

/// Most bytes of the fields behind the last chunk.
const TRAILER_MAX: usize = 8 * 1024;

/// The part of a message that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    #[default]
    Head,
    /// A body with this number of bytes left, as it arrives.
    Body(u64),
    ChunkSize,
    /// A chunk with this number of bytes left, as it arrives.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Fields behind the last chunk, one by one, until an empty line. This many bytes were before.
    Trailer(usize),
}

impl Part {
    pub(crate) fn until(self) -> Until {
        match self {
            Part::Head => Until::Bytes(b"\r\n\r\n"),
            Part::Body(left) | Part::Chunk(left) => {
                Until::AtMost(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Part::ChunkSize | Part::Trailer(_) => Until::Bytes(b"\r\n"),
            Part::ChunkEnd => Until::Count(2),
        }
    }

    /// The part behind the body's head.
    pub(crate) fn of(body: Body) -> Part {
        match body {
            Body::Length(0) => Part::Head,
            Body::Length(length) => Part::Body(length),
            Body::Chunked => Part::ChunkSize,
        }
    }

    /// Whether the bytes of this part belong to the content.
    pub(crate) fn is_content(self) -> bool {
        matches!(self, Part::Body(_) | Part::Chunk(_))
    }

    /// What follows when `bytes` of this part have arrived: [`Part::Head`] behind the last byte of
    /// the message. `None` if the bytes break the rules: then nobody knows where the next message
    /// begins.
    pub(crate) fn after(self, bytes: &[u8]) -> Option<Part> {
        let arrived = bytes.len() as u64;
        Some(match self {
            Part::Head => Part::Head,
            Part::Body(left) => match left.checked_sub(arrived)? {
                0 => Part::Head,
                left => Part::Body(left),
            },
            Part::ChunkSize => match parse_chunk_size(bytes)? {
                0 => Part::Trailer(0),
                size => Part::Chunk(size),
            },
            Part::Chunk(left) => match left.checked_sub(arrived)? {
                0 => Part::ChunkEnd,
                left => Part::Chunk(left),
            },
            Part::ChunkEnd => (bytes == b"\r\n").then_some(Part::ChunkSize)?,
            Part::Trailer(_) if bytes.is_empty() => Part::Head,
            Part::Trailer(before) => {
                let so_far = before + bytes.len();
                (so_far <= TRAILER_MAX && !has_line_end(bytes)).then_some(Part::Trailer(so_far))?
            }
        })
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Content-Length; 0 without a body.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A number of bytes: only digits. `str::parse` would take a sign, too.
pub(crate) fn parse_number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// The length of a chunk (RFC 9112, section 7.1): hexadecimal digits, and extensions that are
/// ignored.
///
/// Strict, because a proxy that reads the same bytes in another way sees other requests than the
/// server.
fn parse_chunk_size(line: &[u8]) -> Option<u64> {
    if line.len() > CHUNK_LINE_MAX || has_line_end(line) {
        return None;
    }
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

/// A CR or LF alone, which another reader could take for the end of the line.
fn has_line_end(line: &[u8]) -> bool {
    line.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}
