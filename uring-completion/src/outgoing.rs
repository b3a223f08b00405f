//! Bytes on their way to a peer.

use crate::Buffer;

/// Bytes on their way to a peer, and how many of them are sent.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Bytes,
    sent: usize,
}

#[derive(Debug)]
enum Bytes {
    /// In the buffer that they were received into.
    Received(Buffer),
    /// Copied.
    Own(Vec<u8>),
}

impl Outgoing {
    /// The bytes that are not sent yet.
    pub fn rest(&self) -> &[u8] {
        let bytes: &[u8] = match &self.bytes {
            Bytes::Received(buffer) => buffer,
            Bytes::Own(bytes) => bytes,
        };
        bytes.get(self.sent..).unwrap_or_default()
    }

    /// Copies the bytes out of the kernel's buffer, which goes back to the kernel: for a slow peer.
    pub fn into_own(self) -> Outgoing {
        match &self.bytes {
            Bytes::Received(_) => Outgoing::from(self.rest().to_vec()),
            Bytes::Own(_) => self,
        }
    }

    /// Adds bytes that came later. The bytes become a copy.
    pub fn append(&mut self, later: &[u8]) {
        if let Bytes::Received(buffer) = &self.bytes {
            self.bytes = Bytes::Own(buffer.to_vec());
        }
        if let Bytes::Own(bytes) = &mut self.bytes {
            bytes.extend_from_slice(later);
        }
    }

    /// Counts `count` more bytes as sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
    }
}

impl From<Buffer> for Outgoing {
    fn from(buffer: Buffer) -> Outgoing {
        Outgoing { bytes: Bytes::Received(buffer), sent: 0 }
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Outgoing {
        Outgoing { bytes: Bytes::Own(bytes), sent: 0 }
    }
}
