//! Is what came back what was sent? Decided without any socket, for a stream and for datagrams.

use std::collections::VecDeque;

use crate::Fault;
use crate::content::Content;

/// Messages, answered or given up, whose answers are still recognised when they come once more or
/// late. What is older counts as wrong.
const REMEMBERED: usize = 64;

/// One stream: how far it was sent, and how far what came back is right.
#[derive(Clone, Debug)]
pub struct StreamVerifier {
    content: Content,
    size: u64,
    sent: u64,
    received: u64,
    /// Bytes received when the oldest message that is on its way will be back.
    next_answer: u64,
}

impl StreamVerifier {
    /// Nothing is sent yet; messages will have `size` bytes, at least 1.
    pub fn new(content: Content, size: u64) -> StreamVerifier {
        StreamVerifier { content, size, sent: 0, received: 0, next_answer: size }
    }

    /// Writes the bytes that are to be sent next.
    pub fn fill(&self, out: &mut [u8]) {
        self.content.fill(self.sent, out);
    }

    /// The next `bytes` bytes have been sent.
    pub fn add_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that have come back, and were right.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes have come back. Unless they are to be looked at (`verify`), only their number counts.
    ///
    /// # Errors
    ///
    /// `Mismatch`, or `Surplus` or `SpokeFirst` for more than was sent. The stream is of no use then.
    pub fn take(&mut self, bytes: &[u8], verify: bool) -> Result<(), Fault> {
        let awaited = usize::try_from(self.sent - self.received).unwrap_or(usize::MAX);
        let echoed = &bytes[..bytes.len().min(awaited)];
        if verify && let Err(index) = self.content.check(self.received, echoed) {
            self.received += index as u64;
            return Err(Fault::Mismatch);
        }
        self.received += echoed.len() as u64;
        if echoed.len() == bytes.len() {
            Ok(())
        } else if self.sent == 0 {
            Err(Fault::SpokeFirst)
        } else {
            Err(Fault::Surplus)
        }
    }

    /// Whether the oldest message is back; says so once for each message.
    pub fn next_answered(&mut self) -> bool {
        let answered = self.next_answer <= self.received;
        if answered {
            self.next_answer += self.size;
        }
        answered
    }

    /// Where the stream stands, in words.
    pub fn place(&self) -> String {
        format!(
            "message {}, byte {} of {} ({} B sent, {} B right so far)",
            self.received / self.size,
            self.received % self.size,
            self.size,
            self.sent,
            self.received
        )
    }
}

/// One client's datagrams: a message each, one on its way at a time.
///
/// A message is known by its content. Those of a few bytes may by chance equal another message of
/// the client; from 8 bytes on that does not happen.
#[derive(Clone, Debug)]
pub struct DatagramVerifier {
    content: Content,
    size: u64,
    /// Messages sent. The newest may be awaited.
    sent: u64,
    awaited: bool,
    /// Numbers of the messages given up whose answers may still come.
    given_up: VecDeque<u64>,
}

/// What a datagram that came back is, if there is nothing wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The awaited message.
    Answer,
    /// A message that was given up. UDP allows it, and the message has been counted as lost.
    Late,
}

impl DatagramVerifier {
    /// Nothing is sent yet; messages will have `size` bytes, at least 1.
    pub fn new(content: Content, size: u64) -> DatagramVerifier {
        let given_up = VecDeque::with_capacity(REMEMBERED);
        DatagramVerifier { content, size, sent: 0, awaited: false, given_up }
    }

    /// Writes the next message into `out`, which has its size, and awaits it.
    pub fn send(&mut self, out: &mut [u8]) {
        self.give_up();
        self.content.fill(self.sent * self.size, out);
        self.sent += 1;
        self.awaited = true;
    }

    /// Whether a message is on its way.
    pub fn awaits(&self) -> bool {
        self.awaited
    }

    /// Awaits the message on its way no longer.
    pub fn give_up(&mut self) {
        if self.awaited {
            if self.given_up.len() == REMEMBERED {
                self.given_up.pop_front();
            }
            self.given_up.push_back(self.sent - 1);
            self.awaited = false;
        }
    }

    /// A datagram has come back. Unless it is to be looked at (`verify`), any is the answer.
    ///
    /// # Errors
    ///
    /// `Surplus` for a message that had come back already, `SpokeFirst` before any was sent, else
    /// `Mismatch`. What follows can be right all the same: a datagram stands for itself.
    pub fn take(&mut self, datagram: &[u8], verify: bool) -> Result<Arrival, Fault> {
        if self.sent == 0 {
            return Err(Fault::SpokeFirst);
        }
        let newest = self.sent - 1;
        if self.awaited && (!verify || self.is_message(newest, datagram)) {
            self.awaited = false;
            return Ok(Arrival::Answer);
        }
        if !verify {
            return Ok(Arrival::Late);
        }
        let late = self.given_up.iter().position(|&number| self.is_message(number, datagram));
        if let Some(late) = late {
            self.given_up.remove(late);
            return Ok(Arrival::Late);
        }
        let mut recent = (0..self.sent).rev().take(REMEMBERED);
        let again = recent.any(|number| self.is_message(number, datagram));
        Err(if again { Fault::Surplus } else { Fault::Mismatch })
    }

    /// Where the client stands, in words.
    pub fn place(&self) -> String {
        format!("message {} of {} B", self.sent.saturating_sub(1), self.size)
    }

    fn is_message(&self, number: u64, datagram: &[u8]) -> bool {
        datagram.len() as u64 == self.size
            && self.content.check(number * self.size, datagram).is_ok()
    }
}
