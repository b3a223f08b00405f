//! The handlers that make the server: [`Acceptor`], [`Client`], [`Datagrams`] and [`Stopper`].

use std::io::{self, ErrorKind};
use std::net::{Shutdown, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use echo::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN, Accepted, Connection, Listener, Scratch, Stop, Tally, Wants,
};
use epoll_selector::{Context, Event, Handler, Interest, Next, Token, Trigger};
use socket2::Socket;

/// Bytes that a client may have echoed before the others get their turn.
const TURN_BYTES: usize = 4 * echo::SCRATCH_BYTES;

/// Datagrams echoed before the others get their turn.
const TURN_DATAGRAMS: usize = 64;

/// What the handlers of one loop share.
pub(crate) struct Shared {
    pub(crate) scratch: Scratch,
    pub(crate) tally: Tally,
    /// Clients connected, to all loops together.
    pub(crate) active: Arc<AtomicUsize>,
    /// Whether other loops accept too: a place may become free that this loop does not hear of.
    pub(crate) other_loops: bool,
    /// The acceptor, while it does not accept: to be woken when a client leaves.
    pub(crate) waits_for_a_place: Option<Token>,
    /// Time between two ticks of a client's idle clock, if there is one.
    pub(crate) idle_tick: Option<Duration>,
}

/// The listener's handler: makes a [`Client`] of each stream.
pub(crate) struct Acceptor {
    pub(crate) listener: Listener,
    /// [`Interest::READ`], or [`Interest::EXCLUSIVE`] where several loops watch one listener.
    pub(crate) interest: Interest,
    /// When it tries again by itself, while it does not accept: one timer at a time.
    next_try: Option<Instant>,
}

impl Acceptor {
    pub(crate) fn new(listener: Listener, interest: Interest) -> Acceptor {
        Acceptor { listener, interest, next_try: None }
    }

    fn accept(&mut self, context: &mut Context<'_, Shared>) -> Next {
        for _ in 0..ACCEPTS_PER_TURN {
            // A place is taken first and given back if nobody comes: other loops take them, too.
            let active = context.shared.active.fetch_add(1, Ordering::Relaxed);
            let accepted = self.listener.accept(active);
            if !matches!(accepted, Ok(Accepted::Client(_))) {
                context.shared.active.fetch_sub(1, Ordering::Relaxed);
            }
            match accepted {
                Ok(Accepted::Client(stream)) => {
                    context.shared.tally.opened(&stream);
                    let connection = Connection::new(stream);
                    context.add(Client { connection, ended: false }, Interest::READ);
                }
                Ok(Accepted::Nobody) => return Next::Wait(self.interest),
                Ok(Accepted::Full) => return self.pause(context),
                Err(error) => {
                    context.fail(error);
                    return Next::Close;
                }
            }
        }
        Next::Again
    }

    /// Full, or out of descriptors. The listener is ready and must not be watched: under level triggering
    /// it would spin, and under edge triggering never be reported again.
    fn pause(&mut self, context: &mut Context<'_, Shared>) -> Next {
        context.shared.waits_for_a_place = Some(context.token());
        let pause =
            self.listener.pause_left().or(context.shared.other_loops.then_some(ACCEPT_PAUSE));
        if let Some(pause) = pause
            && self.next_try.is_none()
        {
            let time = Instant::now() + pause;
            self.next_try = Some(time);
            context.wake_at(time);
        }
        Next::Wait(Interest::NONE)
    }
}

impl Handler<Shared> for Acceptor {
    fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> Next {
        self.accept(context)
    }

    fn timeout(&mut self, context: &mut Context<'_, Shared>) -> Next {
        self.next_try = None;
        self.accept(context)
    }

    fn refused(&mut self, error: io::Error, context: &mut Context<'_, Shared>) -> io::Result<()> {
        self.listener.pause_after(error, context.shared.active.load(Ordering::Relaxed))?;
        self.pause(context);
        Ok(())
    }
}

/// One client's handler.
pub(crate) struct Client {
    connection: Connection<Socket>,
    /// Its end has been counted.
    ended: bool,
}

impl Handler<Shared> for Client {
    fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    fn added(&mut self, context: &mut Context<'_, Shared>) {
        if let Some(tick) = context.shared.idle_tick {
            context.wake_at(Instant::now() + tick);
        }
    }

    fn ready(&mut self, event: Event, context: &mut Context<'_, Shared>) -> Next {
        let edge = context.trigger() == Trigger::Edge;
        let Shared { scratch, tally, .. } = &mut *context.shared;
        let mut received = 0;
        loop {
            let step = tally.step(self.connection.step(scratch), self.connection.stream());
            if step.wants == Wants::Close {
                self.ended = true;
                return Next::Close;
            }
            // Level and oneshot report again what is left; edge does not, so go on until it is done.
            if !edge || step.would_block {
                return self.wait();
            }
            // A short read has emptied the socket, unless the end of stream is behind it.
            let emptied = (1..scratch.size()).contains(&step.received) && !event.read_closed;
            if emptied && step.wants == Wants::Read {
                return self.wait();
            }
            received += step.received;
            if received >= TURN_BYTES {
                return Next::Again;
            }
        }
    }

    fn timeout(&mut self, context: &mut Context<'_, Shared>) -> Next {
        if self.connection.tick() {
            context.shared.tally.idle(self.connection.stream());
            let _ = self.connection.stream().shutdown(Shutdown::Both);
            return Next::Again;
        }
        self.added(context);
        self.wait()
    }

    fn stop(&mut self, _: &mut Context<'_, Shared>) -> Next {
        // The client has sent all it will: what has arrived is echoed, then end of stream is found.
        let _ = self.connection.stream().shutdown(Shutdown::Read);
        Next::Again
    }

    fn closed(&mut self, context: &mut Context<'_, Shared>) {
        if !self.ended {
            context.shared.tally.cut_off(self.connection.stream());
        }
        context.shared.active.fetch_sub(1, Ordering::Relaxed);
        if let Some(acceptor) = context.shared.waits_for_a_place.take() {
            context.wake(acceptor);
        }
    }
}

impl Client {
    /// Bytes first go out, then come in.
    fn wait(&self) -> Next {
        let to_write = self.connection.wants_to_write();
        Next::Wait(if to_write { Interest::WRITE } else { Interest::READ })
    }
}

/// The handler of a UDP socket, and of all its clients.
pub(crate) struct Datagrams {
    pub(crate) socket: UdpSocket,
}

impl Handler<Shared> for Datagrams {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> Next {
        let Shared { scratch, tally, .. } = &mut *context.shared;
        for _ in 0..TURN_DATAGRAMS {
            match echo::echo_datagram(&self.socket, scratch, tally) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Next::Wait(Interest::READ);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    context.fail(error);
                    return Next::Close;
                }
            }
        }
        Next::Again
    }

    fn stop(&mut self, context: &mut Context<'_, Shared>) -> Next {
        // What had arrived before is echoed, as far as one turn reaches: more comes all the time.
        let token = context.token();
        let event = Event { token, readable: true, writable: true, read_closed: false };
        self.ready(event, context);
        Next::Close
    }
}

/// The handler of the signals that ask us to stop.
pub(crate) struct Stopper {
    pub(crate) stop: Arc<Stop>,
    pub(crate) drain: Duration,
}

impl Handler<Shared> for Stopper {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Shared>) -> Next {
        context.stop(self.drain);
        Next::Close
    }
}
