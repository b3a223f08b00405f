//! One connection's two streams: how far it has sent, and how far what came back is right.

use std::io::{self, ErrorKind, Read};

use nix::libc::MSG_NOSIGNAL;
use socket2::Socket;

use crate::content::Content;
use crate::verifier::StreamVerifier;
use crate::{Fault, Plan};

/// Bytes that one send(2) or recv(2) is given at most.
pub(crate) const BUFFER: usize = 64 * 1024;

/// The memory that all connections of a thread send from and receive into.
pub(crate) struct Buffers {
    outbox: Box<[u8]>,
    inbox: Box<[u8]>,
}

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers { outbox: vec![0; BUFFER].into(), inbox: vec![0; BUFFER].into() }
    }
}

/// What all connections have in common.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) size: u64,
    /// Most bytes that one send(2) is given.
    pub(crate) fragment: usize,
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

/// A connection that sends the stream of its [`Content`] and expects it back.
///
/// It holds offsets only, no bytes: what could not be sent is made again from the offset.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) id: u64,
    stream: StreamVerifier,
    /// Bytes that may be sent by now.
    offered: u64,
}

/// What one [`Connection::receive`] took in; all of it was right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// As much as was asked for: there may be more.
    Full,
    /// Less: the socket is empty, unless the end of the stream follows.
    Short,
    /// Nothing: the socket is empty.
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

    /// Whether bytes are left that could not be sent yet.
    pub(crate) fn wants_to_send(&self) -> bool {
        self.stream.sent() < self.offered
    }

    /// Allows whole messages to be sent until `bytes` more than came back are.
    pub(crate) fn offer_ahead(&mut self, bytes: u64, manner: &Manner) {
        self.offered =
            self.offered.max((self.stream.received() + bytes).next_multiple_of(manner.size));
    }

    /// Sends what is offered until it is gone or the socket would block.
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
                    // The server's window and our send buffer are full.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    // A signal came first: nothing was sent.
                    Err(error) if error.kind() == ErrorKind::Interrupted => break,
                    Err(error) => return Err(Fault::of(&error)),
                }
            }
        }
        Ok(())
    }

    /// One recv(2) of at most `limit` bytes, and the check of what it brought.
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
            // A signal came first: nothing was received.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Received::Full),
            Err(error) => return Err(Fault::of(&error)),
        };
        self.stream.take(&buffers.inbox[..received], manner.verify)?;
        Ok(if received < limit { Received::Short } else { Received::Full })
    }

    /// Whether the oldest message is back; says so once for each message.
    pub(crate) fn next_answered(&mut self) -> bool {
        self.stream.next_answered()
    }

    /// Shuts down the sending half, as shutdown(2) with SHUT_WR.
    pub(crate) fn half_close(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Where the connection stands, in words.
    pub(crate) fn place(&self) -> String {
        format!("connection {}, {}", self.id, self.stream.place())
    }
}
