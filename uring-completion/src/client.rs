//! The echo service over completions. It corresponds to `echo::Connection`, which serves the models that
//! are told of readiness.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;

use echo::{IDLE_TICKS, Scratch, Served};
use nix::errno::Errno;
use socket2::Socket;
use uring_completion::{Buffer, Operation, Outgoing, Ring};

/// One client's connection: a state machine that records what has completed. At the end of the turn,
/// [`go_on`](Client::go_on) starts what is to be done next.
///
/// A client that sends small pieces is received from by one multishot request. A client that sends in
/// bulk is received from with one request for each large buffer. The reason: a multishot receive has no
/// limit. A burst may fill every buffer of its pool before we hear of it, so that pool's buffers are
/// small.
///
/// Bytes are kept only while the peer does not take what it is sent. Then receiving ends, and begins again
/// when all bytes are gone. So a peer that never reads costs the bytes of two turns: two large buffers,
/// or once, at worst, the pool of small ones.
pub(crate) struct Client {
    stream: Rc<Socket>,
    receiving: Receiving,
    /// The last piece received filled a buffer: more may have been behind it.
    bulk: bool,
    /// Bytes to send: received in this turn, while a send was in flight, or not taken by the peer.
    pending: Option<Outgoing>,
    /// Bytes were received for which `--work` was not done yet.
    unseen: bool,
    /// A send is in flight. There is at most one, or the bytes would lose their order.
    sending: bool,
    /// The peer has not yet taken all that it was sent.
    stalled: bool,
    /// The peer has ended its stream, or the connection has failed.
    end: Option<io::Result<()>>,
    /// Ticks since a byte moved.
    quiet: u8,
}

/// What the kernel was asked to receive.
enum Receiving {
    Nothing,
    /// One large piece.
    Bulk,
    /// Small pieces, as many as come (multishot).
    Pieces(Operation),
}

impl Served for Client {
    fn stream(&self) -> &Socket {
        &self.stream
    }

    fn tick(&mut self) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet >= IDLE_TICKS
    }
}

impl Client {
    pub(crate) fn new(stream: Socket) -> Client {
        Client {
            stream: Rc::new(stream),
            receiving: Receiving::Nothing,
            bulk: false,
            pending: None,
            unseen: false,
            sending: false,
            stalled: false,
            end: None,
            quiet: 0,
        }
    }

    /// Records what was received. `last` says that the request has ended. A piece of at least `bulk_from`
    /// bytes means that the client sends in bulk.
    pub(crate) fn received(
        &mut self,
        bytes: io::Result<Option<Buffer>>,
        last: bool,
        bulk_from: usize,
    ) {
        if last {
            self.receiving = Receiving::Nothing;
        }
        match bytes {
            Ok(Some(buffer)) => {
                self.quiet = 0;
                self.bulk = buffer.len() >= bulk_from;
                self.keep(buffer);
            }
            Ok(None) => self.end = self.end.take().or(Some(Ok(()))),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                // `go_on` has cancelled it: the peer sends in bulk, or does not take what it is sent.
                Some(Errno::ECANCELED) => {}
                // All buffers were in use in this turn. Its sends give them back before the next request.
                Some(Errno::ENOBUFS) => {}
                Some(Errno::EINTR) => {}
                _ => self.fail(error),
            },
        }
    }

    /// Records how a send has ended.
    pub(crate) fn sent(&mut self, result: io::Result<usize>, outgoing: Outgoing) {
        self.sending = false;
        match result {
            Ok(0) => self.fail(ErrorKind::WriteZero.into()),
            Ok(_) => self.quiet = 0,
            // The peer's window and our send buffer are full.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.fail(error),
        }
        if !outgoing.rest().is_empty() && !self.has_failed() {
            // The peer may be slow: it must not keep a buffer of the pool from the others.
            let mut rest = outgoing.into_own();
            if let Some(later) = &self.pending {
                rest.append(later.rest());
            }
            self.pending = Some(rest);
        }
        self.stalled = self.pending.is_some();
    }

    /// Starts what is to be done next. Returns how the connection has ended, if nothing is left to do.
    pub(crate) fn go_on(
        &mut self,
        key: usize,
        ring: &mut Ring,
        scratch: &Scratch,
    ) -> Option<io::Result<()>> {
        match self.receiving {
            Receiving::Nothing if self.end.is_some() || self.stalled => {}
            Receiving::Nothing if self.bulk => {
                ring.receive_bulk(&self.stream, key);
                self.receiving = Receiving::Bulk;
            }
            Receiving::Nothing => {
                self.receiving = Receiving::Pieces(ring.receive(&self.stream, key));
            }
            Receiving::Pieces(receive) if self.bulk || self.stalled => ring.cancel(receive),
            Receiving::Pieces(_) | Receiving::Bulk => {}
        }
        if self.unseen {
            self.unseen = false;
            scratch.work(); // Once for all pieces of this turn.
        }
        if !self.sending
            && let Some(pending) = self.pending.take()
        {
            self.sending = true;
            // The end of a send is urgent only if it decides what happens next.
            if self.stalled || matches!(self.receiving, Receiving::Nothing) {
                ring.send(&self.stream, pending.into_own(), key);
            } else {
                ring.try_send(&self.stream, pending, key);
            }
        }
        let is_idle = !self.sending && matches!(self.receiving, Receiving::Nothing);
        if is_idle { self.end.take() } else { None }
    }

    /// Keeps what was received until it can be sent. Bytes that can be sent at once stay in the buffer that
    /// they came in.
    fn keep(&mut self, buffer: Buffer) {
        if self.has_failed() {
            return;
        }
        self.unseen = true;
        match &mut self.pending {
            Some(pending) => pending.append(&buffer),
            None if self.sending => self.pending = Some(Outgoing::from(buffer).into_own()),
            None => self.pending = Some(buffer.into()),
        }
    }

    /// Ends the connection. What is in flight completes soon, because the stream is shut down.
    fn fail(&mut self, error: io::Error) {
        self.end = Some(Err(error));
        self.pending = None;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn has_failed(&self) -> bool {
        matches!(self.end, Some(Err(_)))
    }
}
