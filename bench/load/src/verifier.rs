//! Whether the returned bytes are the sent bytes: for a stream and for datagrams, without a socket.

use std::collections::VecDeque;

use crate::Fault;
use crate::content::Content;

/// Old messages that the verifier still recognises when they come late or twice. An older message
/// counts as wrong bytes.
const REMEMBERED: usize = 64;

/// One stream: how far it is sent, and how far the returned bytes are right.
#[derive(Clone, Debug)]
pub struct StreamVerifier {
    content: Content,
    size: u64,
    sent: u64,
    received: u64,
    /// The number of received bytes at which the oldest message in flight is back.
    next_answer: u64,
}

impl StreamVerifier {
    /// The start of a stream. A message has `size` bytes, at least 1.
    pub fn new(content: Content, size: u64) -> StreamVerifier {
        StreamVerifier { content, size, sent: 0, received: 0, next_answer: size }
    }

    /// Fills `out` with the next bytes to send.
    pub fn fill(&self, out: &mut [u8]) {
        self.content.fill(self.sent, out);
    }

    /// Notes that the next `bytes` bytes are sent.
    pub fn add_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that have come back right.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes returned bytes. Without `verify`, only their number counts.
    ///
    /// # Errors
    ///
    /// `Mismatch` for wrong bytes; `Surplus` or `SpokeFirst` for more bytes than were sent. After an
    /// error the stream cannot be used any more.
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

    /// Whether the oldest message is back. Returns true once for each message.
    pub fn next_answered(&mut self) -> bool {
        let answered = self.next_answer <= self.received;
        if answered {
            self.next_answer += self.size;
        }
        answered
    }

    /// The place in the stream, in words.
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

/// The datagrams of one client: one message in each, and one message in flight.
///
/// The verifier recognises a message by its content. A message of fewer than 8 bytes can equal
/// another message of the client by chance.
#[derive(Clone, Debug)]
pub struct DatagramVerifier {
    content: Content,
    size: u64,
    /// Messages sent.
    sent: u64,
    /// Whether the newest message is in flight.
    awaited: bool,
    /// Numbers of messages that the client has given up and that may still come back.
    given_up: VecDeque<u64>,
}

/// A returned datagram without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The awaited message.
    Answer,
    /// A message that the client had given up, and that is counted as lost.
    Late,
}

impl DatagramVerifier {
    /// The start of a client. A message has `size` bytes, at least 1.
    pub fn new(content: Content, size: u64) -> DatagramVerifier {
        let given_up = VecDeque::with_capacity(REMEMBERED);
        DatagramVerifier { content, size, sent: 0, awaited: false, given_up }
    }

    /// Fills `out`, which has the size of a message, with the next message. That message is then in
    /// flight.
    pub fn send(&mut self, out: &mut [u8]) {
        self.give_up();
        self.content.fill(self.sent * self.size, out);
        self.sent += 1;
        self.awaited = true;
    }

    /// Whether a message is in flight.
    pub fn awaits(&self) -> bool {
        self.awaited
    }

    /// Gives up the message in flight.
    pub fn give_up(&mut self) {
        if self.awaited {
            if self.given_up.len() == REMEMBERED {
                self.given_up.pop_front();
            }
            self.given_up.push_back(self.sent - 1);
            self.awaited = false;
        }
    }

    /// Takes a returned datagram. Without `verify`, any datagram is the answer.
    ///
    /// # Errors
    ///
    /// `Surplus` for a message that has come back before, `SpokeFirst` for a datagram before the
    /// first message, `Mismatch` for everything else. The verifier can be used after an error.
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

    /// The newest message, in words.
    pub fn place(&self) -> String {
        format!("message {} of {} B", self.sent.saturating_sub(1), self.size)
    }

    fn is_message(&self, number: u64, datagram: &[u8]) -> bool {
        datagram.len() as u64 == self.size
            && self.content.check(number * self.size, datagram).is_ok()
    }
}
