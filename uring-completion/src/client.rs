//! The echo service over completions: what `echo::Connection` is for the servers that are told of
//! readiness.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;

use echo::{IDLE_TICKS, Scratch};
use nix::errno::Errno;
use socket2::Socket;
use uring_completion::{Buffer, Operation, Outgoing, Ring};

/// One client's connection: a state machine that takes note of what has completed, and at the end
/// of the turn ([`go_on`](Client::go_on)) starts what is to be done next.
///
/// Who sends little at a time is received from without being asked again (multishot); who sends in
/// bulk, one large buffer at a time. For a multishot receive has no measure: a burst may fill every
/// buffer there is before we hear of it, and so the buffers for it are small.
///
/// Bytes are kept only while the peer does not take what it is sent. Receiving ends then, and
/// begins again when all are gone. So a peer that never reads costs what is received in two turns:
/// two large buffers, or at worst, once, the stock of small ones.
pub(crate) struct Client {
    stream: Rc<Socket>,
    receiving: Receiving,
    /// The last piece received filled a buffer: more may have been behind it.
    bulk: bool,
    /// To be sent: received in this turn, while a send was in flight, or not taken by the peer.
    pending: Option<Outgoing>,
    /// Bytes were received that the handler has not seen.
    unseen: bool,
    /// A send is in flight: one at a time, or the bytes would not stay in order.
    sending: bool,
    /// The peer did not take all it was sent, and has not yet.
    stalled: bool,
    /// The peer has sent all it will, or the connection has failed.
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

    pub(crate) fn stream(&self) -> &Socket {
        &self.stream
    }

    /// Takes note of what was received; `last` says that nothing more will be, unless asked for. A
    /// piece of `bulk_from` bytes is taken for bulk.
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
                // We asked for it: the peer sends in bulk, or does not take what it is sent.
                Some(Errno::ECANCELED) => {}
                // All buffers were in use in this turn. Its sends give them back, before we ask
                // again.
                Some(Errno::ENOBUFS) => {}
                Some(Errno::EINTR) => {}
                _ => self.fail(error),
            },
        }
    }

    /// Takes note of how a send has ended.
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
            // It may take its time, and must not keep a buffer from the others so long.
            let mut rest = outgoing.into_own();
            if let Some(later) = &self.pending {
                rest.append(later.rest());
            }
            self.pending = Some(rest);
        }
        self.stalled = self.pending.is_some();
    }

    /// Starts what is to be done next. Returns how the connection has ended, when that is nothing.
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
            scratch.work(); // Once, in however many pieces they came: the others wait meanwhile.
        }
        if !self.sending
            && let Some(pending) = self.pending.take()
        {
            self.sending = true;
            // Nothing depends on the end of a send while there is more to be received. Mostly.
            if self.stalled || matches!(self.receiving, Receiving::Nothing) {
                ring.send(&self.stream, pending.into_own(), key);
            } else {
                ring.try_send(&self.stream, pending, key);
            }
        }
        let is_idle = !self.sending && matches!(self.receiving, Receiving::Nothing);
        if is_idle { self.end.take() } else { None }
    }

    /// Takes note of a tick of the idle clock. Returns whether no byte has moved for the whole of
    /// `--idle-timeout`: shut it down then.
    pub(crate) fn tick(&mut self) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet >= IDLE_TICKS
    }

    /// Keeps what was received until it can be sent: in the buffer it came in, if that is at once.
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

    /// Ends the connection: what is in flight completes soon, and then it is over.
    fn fail(&mut self, error: io::Error) {
        self.end = Some(Err(error));
        self.pending = None;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn has_failed(&self) -> bool {
        matches!(self.end, Some(Err(_)))
    }
}
