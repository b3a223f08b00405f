//! Where a message ends.

use std::ops::Range;

use memchr::memmem;

/// Bytes of the length in front of a [`Until::Prefixed`] message.
pub const PREFIX_BYTES: usize = 4;

/// What ends the next message of a [`Conversation`](crate::Conversation).
///
/// ```
/// use epoll_selector::{Found, Until};
///
/// // A line, in two reads: the search goes on where it stopped.
/// let until = Until::Bytes(b"\r\n");
/// assert_eq!(until.find(b"GET /\r", 0, 100), Found::Partial { searched: 5 });
/// assert_eq!(until.find(b"GET /\r\nHost", 5, 100), Found::Message { body: 0..5, end: 7 });
/// // A frame whose length is 2.
/// let found = Until::Prefixed.find(b"\0\0\0\x02hi", 0, 100);
/// assert_eq!(found, Found::Message { body: 4..6, end: 6 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// These bytes, which are not part of the message. Without any it is [`Until::Any`].
    Bytes(&'static [u8]),
    /// This many bytes. It is used up by its message: after that `Any` holds until the next is set.
    Count(usize),
    /// What has arrived, and at most this many bytes: a body of known length, as it comes. It is
    /// used up by its message, as `Count` is.
    AtMost(usize),
    /// What has arrived.
    Any,
    /// A length of four bytes, most significant first, and as many bytes as it says.
    Prefixed,
}

/// What [`Until::find`] has found. Shown at [`Until`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole message: the input's bytes `body`. The next message begins at `end`.
    Message {
        /// Where the message is, without terminator and prefix.
        body: Range<usize>,
        /// Bytes of the input that are done with.
        end: usize,
    },
    /// The end of the message has not arrived.
    Partial {
        /// Bytes that the next search can leave out.
        searched: usize,
    },
    /// The message is longer than allowed, or will be.
    TooLong,
}

impl Until {
    /// Looks for the end of the message at the beginning of `input`. The first `searched` bytes are
    /// known not to begin a terminator. The outcome does not depend on how the input was cut into
    /// reads: a message of `longest` bytes is found, and a longer one is [`Found::TooLong`].
    pub fn find(self, input: &[u8], searched: usize, longest: usize) -> Found {
        let arrived = input.len();
        let counted = |count: usize| match count {
            count if count > longest => Found::TooLong,
            count if count > arrived => Found::Partial { searched: 0 },
            count => Found::Message { body: 0..count, end: count },
        };
        let chunk = |most: usize| match arrived.min(most) {
            0 if most > 0 => Found::Partial { searched: 0 },
            length => Found::Message { body: 0..length, end: length },
        };
        match self {
            Until::Any | Until::Bytes(b"") => chunk(usize::MAX),
            Until::AtMost(most) => chunk(most),
            Until::Count(count) => counted(count),
            Until::Prefixed => {
                let Some((prefix, _)) = input.split_first_chunk::<PREFIX_BYTES>() else {
                    return Found::Partial { searched: 0 };
                };
                // A length beyond the address space is too long in any case.
                let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
                match length {
                    length if length > longest => Found::TooLong,
                    length if length > arrived - PREFIX_BYTES => Found::Partial { searched: 0 },
                    length => {
                        let end = PREFIX_BYTES + length;
                        Found::Message { body: PREFIX_BYTES..end, end }
                    }
                }
            }
            Until::Bytes(terminator) => {
                let from = searched.min(arrived);
                // The terminator's first bytes may be the input's last.
                let searched = arrived.saturating_sub(terminator.len() - 1);
                match memmem::find(&input[from..], terminator).map(|at| from + at) {
                    Some(at) if at > longest => Found::TooLong,
                    Some(at) => Found::Message { body: 0..at, end: at + terminator.len() },
                    None if searched > longest => Found::TooLong,
                    None => Found::Partial { searched },
                }
            }
        }
    }

    /// What ends the message after this one, unless the protocol sets something else.
    pub(crate) fn after_message(self) -> Until {
        match self {
            Until::Count(_) | Until::AtMost(_) => Until::Any,
            until => until,
        }
    }
}
