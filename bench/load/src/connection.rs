//! One connection: how far it has sent, and how far the returned bytes are right.

use std::io::{self, ErrorKind, Read};

use nix::libc::MSG_NOSIGNAL;
use socket2::Socket;

use crate::content::Content;
use crate::verifier::StreamVerifier;
use crate::{Fault, Plan};

/// Most bytes for one send(2) or recv(2).
pub(crate) const BUFFER: usize = 64 * 1024;

/// The send buffer and the receive buffer that all connections of a thread share.
pub(crate) struct Buffers {
    outbox: Box<[u8]>,
    inbox: Box<[u8]>,
}

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers { outbox: vec![0; BUFFER].into(), inbox: vec![0; BUFFER].into() }
    }
}

/// The options that all connections share.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Size of a message in bytes.
    pub(crate) size: u64,
    /// Most bytes for one send(2).
    pub(crate) fragment: usize,
    /// Check every byte that comes back.
    pub(crate) verify: bool,
}

impl Manner {
    pub(crate) fn of(plan: &Plan) -> Manner {
        Manner {
            size: plan.size as u64,
            fragment: plan.fragment.unwrap_or(BUFFER),
            verify: plan.verify,
        }
    }
}

/// A connection that sends the stream of its [`Content`] and expects the same bytes back.
///
/// The connection keeps offsets and no bytes: it makes unsent bytes again from their offset.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) id: u64,
    stream: StreamVerifier,
    /// Offset in the stream up to which the connection may send.
    offered: u64,
}

/// The result of one [`Connection::receive`] whose bytes were all right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// As many bytes as asked for: more may wait in the socket.
    Full,
    /// Fewer bytes: the socket is empty, but the end of the stream may follow.
    Short,
    /// No bytes: the socket is empty.
    Nothing,
    /// The server has closed its side.
    End,
}

impl Connection {
    /// Connection number `id` of a plan. The socket may block or not.
    pub(crate) fn new(socket: Socket, plan: &Plan, id: u64) -> Connection {
        Connection {
            socket,
            id,
            stream: StreamVerifier::new(Content::new(plan.seed, id), plan.size as u64),
            offered: 0,
        }
    }

    /// Allows `messages` more messages to be sent.
    pub(crate) fn offer(&mut self, messages: usize, manner: &Manner) {
        self.offered += messages as u64 * manner.size;
    }

    /// Whether no message has been offered yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.offered == 0
    }

    /// Whether offered bytes are still unsent.
    pub(crate) fn wants_to_send(&self) -> bool {
        self.stream.sent() < self.offered
    }

    /// Allows whole messages up to at least `bytes` bytes beyond the last returned byte.
    pub(crate) fn offer_ahead(&mut self, bytes: u64, manner: &Manner) {
        self.offered =
            self.offered.max((self.stream.received() + bytes).next_multiple_of(manner.size));
    }

    /// Sends the offered bytes until none is left or the socket would block.
    pub(crate) fn send(&mut self, buffers: &mut Buffers, manner: &Manner) -> Result<(), Fault> {
        while self.stream.sent() < self.offered {
            let left =
                usize::try_from(self.offered - self.stream.sent()).unwrap_or(BUFFER).min(BUFFER);
            let bytes = &mut buffers.outbox[..left];
            if manner.verify {
                self.stream.fill(bytes);
            }
            for fragment in bytes.chunks(manner.fragment) {
                match self.socket.send_with_flags(fragment, MSG_NOSIGNAL) {
                    Ok(taken) => {
                        self.stream.add_sent(taken as u64);
                        if taken < fragment.len() {
                            break;
                        }
                    }
                    // The server's window and the send buffer are full.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    // A signal came before the first byte: nothing was sent.
                    Err(error) if error.kind() == ErrorKind::Interrupted => break,
                    Err(error) => return Err(Fault::of(&error)),
                }
            }
        }
        Ok(())
    }

    /// Makes one recv(2) of at most `limit` bytes, and checks the received bytes.
    pub(crate) fn receive(
        &mut self,
        limit: usize,
        buffers: &mut Buffers,
        manner: &Manner,
    ) -> Result<Received, Fault> {
        let received = match (&self.socket).read(&mut buffers.inbox[..limit]) {
            Ok(0) => return Ok(Received::End),
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
            // A signal came before the first byte: nothing was received.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Received::Full),
            Err(error) => return Err(Fault::of(&error)),
        };
        self.stream.take(&buffers.inbox[..received], manner.verify)?;
        Ok(if received < limit { Received::Short } else { Received::Full })
    }

    /// Whether the oldest message is back. Returns true once for each message.
    pub(crate) fn next_answered(&mut self) -> bool {
        self.stream.next_answered()
    }

    /// Shuts down the sending half: shutdown(2) with SHUT_WR.
    pub(crate) fn half_close(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// The connection's number and its place in the stream, in words.
    pub(crate) fn place(&self) -> String {
        format!("connection {}, {}", self.id, self.stream.place())
    }
}
