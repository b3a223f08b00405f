//! The handlers that make the server: [`Client`] and [`Datagrams`]. The library has the acceptor.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use echo::{Connection, DatagramSocket, Scratch, Tally, Wants};
use epoll_selector::{Context, End, Event, Handler, Interest, Next, Trigger};
use socket2::Socket;

/// Bytes that a client may have echoed before the others get their turn.
const TURN_BYTES: usize = 4 * echo::SCRATCH_BYTES;

/// Datagrams echoed before the others get their turn.
const TURN_DATAGRAMS: usize = 64;

/// What the handlers of one loop share.
pub(crate) struct Shared {
    pub(crate) scratch: Scratch,
    pub(crate) tally: Tally,
    /// Time between two ticks of a client's idle clock, if there is one.
    pub(crate) idle_tick: Option<Duration>,
}

/// One client's handler.
pub(crate) struct Client(Connection<Socket>);

impl Client {
    /// What the acceptor makes of a stream.
    pub(crate) fn new(stream: Socket, context: &mut Context<'_, Shared>) -> Option<Client> {
        context.shared.tally.opened(&stream);
        Some(Client(Connection::new(stream)))
    }

    /// Bytes first go out, then come in.
    fn wait(&self) -> Next {
        Next::Wait(if self.0.wants_to_write() { Interest::WRITE } else { Interest::READ })
    }
}

impl Handler<Shared> for Client {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.stream().as_fd())
    }

    fn added(&mut self, context: &mut Context<'_, Shared>) -> io::Result<Next> {
        if let Some(tick) = context.shared.idle_tick {
            context.timer(Some(Instant::now() + tick));
        }
        Ok(self.wait())
    }

    fn ready(&mut self, event: Event, context: &mut Context<'_, Shared>) -> io::Result<Next> {
        let edge = context.trigger() == Trigger::Edge;
        let Shared { scratch, tally, .. } = &mut *context.shared;
        let mut received = 0;
        loop {
            let step = tally.step(self.0.step(scratch), self.0.stream());
            if step.wants == Wants::Close {
                return Ok(Next::Close);
            }
            // Level and oneshot report again what is left. Edge does not, so go on until all is
            // done.
            if !edge || step.would_block {
                return Ok(self.wait());
            }
            // A short read has emptied the socket, unless the end of stream is behind it.
            let emptied = (1..scratch.size()).contains(&step.received) && !event.read_closed;
            if emptied && step.wants == Wants::Read {
                return Ok(self.wait());
            }
            received += step.received;
            if received >= TURN_BYTES {
                return Ok(Next::Again);
            }
        }
    }

    fn timeout(&mut self, context: &mut Context<'_, Shared>) -> io::Result<Next> {
        if self.0.tick() {
            context.shared.tally.idle(self.0.stream());
            let _ = self.0.stream().shutdown(Shutdown::Both);
            return Ok(Next::Again);
        }
        self.added(context)
    }

    fn stop(&mut self, _: &mut Context<'_, Shared>) -> io::Result<Next> {
        // The client has sent all it will: what has arrived is echoed, then end of stream is found.
        let _ = self.0.stream().shutdown(Shutdown::Read);
        Ok(Next::Again)
    }

    fn closed(&mut self, why: End, context: &mut Context<'_, Shared>) {
        let Shared { tally, .. } = &mut *context.shared;
        match why {
            End::Done => {} // The step that found the end has counted it.
            End::CutOff => tally.cut_off(self.0.stream()),
            why => tally.closed(self.0.stream(), &why.into_result()),
        }
    }
}

/// The handler of a UDP socket, and of all its clients.
pub(crate) struct Datagrams(pub(crate) DatagramSocket);

impl Handler<Shared> for Datagrams {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> io::Result<Next> {
        let Shared { scratch, tally, .. } = &mut *context.shared;
        for _ in 0..TURN_DATAGRAMS {
            match echo::echo_datagram(&self.0, scratch, tally) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Next::Wait(Interest::READ));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    context.fail(error);
                    return Ok(Next::Close);
                }
            }
        }
        Ok(Next::Again)
    }

    fn stop(&mut self, context: &mut Context<'_, Shared>) -> io::Result<Next> {
        // What had arrived before is echoed, up to the bound of one turn: more comes all the time.
        let token = context.token();
        let event = Event { token, readable: true, writable: true, read_closed: false };
        self.ready(event, context)?;
        Ok(Next::Close)
    }
}
