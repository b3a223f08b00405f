//! What an outbox takes: bytes, and producers of bytes.

use std::io;
use std::sync::Arc;

/// Bytes that can be pushed into an [`Outbox`](crate::Outbox). They come from a slice, a string, an
/// array, a vector or an `Arc<[u8]>`.
pub enum Chunk<'a> {
    /// Copied, and gathered with its neighbours into one piece.
    Slice(&'a [u8]),
    /// Moved.
    Bytes(Vec<u8>),
    /// Shared with other outboxes.
    Shared(Arc<[u8]>),
}

/// Makes bytes when the peer has taken those before: a file that is larger than memory, a listing,
/// a counter.
///
/// ```
/// use std::io;
/// use epoll_selector::{Outbox, Producer, Sent};
///
/// struct Countdown(u8);
///
/// impl Producer for Countdown {
///     fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
///         into.extend_from_slice(format!("{} ", self.0).as_bytes());
///         self.0 -= 1;
///         Ok(self.0 > 0)
///     }
/// }
///
/// let mut outbox = Outbox::new();
/// outbox.produce(Countdown(3));
/// outbox.push(b"lift-off");
/// let mut wire = Vec::new();
/// assert_eq!(outbox.write_to(&mut wire)?, Sent::All);
/// assert_eq!(wire, b"3 2 1 lift-off");
/// # Ok::<(), io::Error>(())
/// ```
pub trait Producer {
    /// Appends the next bytes to the empty buffer `into`: some ten thousand are a good number.
    /// Returns whether there may be more. `true` and no bytes: nothing now; the next flush asks
    /// again.
    ///
    /// # Errors
    ///
    /// Any error ends the connection, since its bytes would be incomplete.
    fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool>;
}

impl Chunk<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Chunk::Slice(bytes) => bytes.len(),
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::Shared(bytes) => bytes.len(),
        }
    }
}

impl<'a> From<&'a [u8]> for Chunk<'a> {
    fn from(bytes: &'a [u8]) -> Chunk<'a> {
        Chunk::Slice(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Chunk<'a> {
    fn from(bytes: &'a [u8; N]) -> Chunk<'a> {
        Chunk::Slice(bytes)
    }
}

impl<'a> From<&'a str> for Chunk<'a> {
    fn from(text: &'a str) -> Chunk<'a> {
        Chunk::Slice(text.as_bytes())
    }
}

impl<'a> From<&'a Vec<u8>> for Chunk<'a> {
    fn from(bytes: &'a Vec<u8>) -> Chunk<'a> {
        Chunk::Slice(bytes)
    }
}

impl From<Vec<u8>> for Chunk<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Chunk::Bytes(bytes)
    }
}

impl From<String> for Chunk<'_> {
    fn from(text: String) -> Self {
        Chunk::Bytes(text.into_bytes())
    }
}

impl From<Arc<[u8]>> for Chunk<'_> {
    fn from(bytes: Arc<[u8]>) -> Self {
        Chunk::Shared(bytes)
    }
}
