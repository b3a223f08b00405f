//! From the start of a loop to the end of its drain: what no I/O model changes.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::{Connection, IdleClock, Listener, Options, Stop, Tally, Totals};

/// Whether a loop that serves many clients goes on, drains, or is over; and how long it may wait.
///
/// The loop calls this value; the value never calls the loop. A loop asks once a turn whether it
/// [is over](Lifecycle::is_over), before each client whether to [hurry](Lifecycle::must_hurry), and
/// before it sleeps for the [longest wait](Lifecycle::longest_wait).
///
/// A stop is end of stream for every client: its reading half is shut down, what has arrived is echoed,
/// and the connection closes on the ordinary path. Clients that are left after `--drain` are cut off.
#[derive(Debug)]
pub struct Lifecycle {
    stop: Stop,
    drain: Duration,
    /// When the drain that has begun must end.
    deadline: Option<Instant>,
    idle: IdleClock,
    /// What was done.
    pub tally: Tally,
}

/// A client as the [`Lifecycle`] sees it.
pub trait Served {
    /// The client's stream.
    fn stream(&self) -> &Socket;

    /// Counts a tick of the idle clock. Returns whether the whole of `--idle-timeout` has passed without
    /// a byte moved.
    fn tick(&mut self) -> bool;
}

impl Served for Connection<Socket> {
    fn stream(&self) -> &Socket {
        Connection::stream(self)
    }

    fn tick(&mut self) -> bool {
        Connection::tick(self)
    }
}

impl Lifecycle {
    /// Begins. From here on SIGINT and SIGTERM are requests to stop: see [`Stop::new`].
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn new(options: &Options) -> io::Result<Lifecycle> {
        Ok(Lifecycle {
            stop: Stop::new()?,
            drain: options.drain,
            deadline: None,
            idle: IdleClock::new(options),
            tally: Tally::new(options),
        })
    }

    /// Whether the loop must end now. Call it once a turn, with all clients.
    ///
    /// Begins the drain when a stop was requested, and shuts down the clients that were idle for too
    /// long: the next step of such a client finds its end of stream.
    pub fn is_over<'a, C: Served + 'a>(
        &mut self,
        clients: impl ExactSizeIterator<Item = &'a mut C>,
    ) -> bool {
        self.is_over_for(clients.len(), |_, tell| clients.for_each(tell))
    }

    /// As [`is_over`](Lifecycle::is_over), for `active` clients that cannot be borrowed all at once, such
    /// as clients behind locks. `tell_each` is called when there is something to tell. It learns whether
    /// this is a drain, and passes every client to the function that it is given.
    pub fn is_over_for<C: Served>(
        &mut self,
        active: usize,
        tell_each: impl FnOnce(bool, &mut dyn FnMut(&mut C)),
    ) -> bool {
        let drain_begins = !self.is_draining() && self.stop.requested();
        if drain_begins {
            self.deadline = Some(Instant::now() + self.drain);
        }
        let over = self.deadline.is_some_and(|at| active == 0 || at <= Instant::now());
        let idle_ticks = self.idle.ticked();
        if drain_begins || over || idle_ticks {
            tell_each(self.is_draining(), &mut |client| {
                if over {
                    return self.tally.cut_off(client.stream());
                }
                if drain_begins {
                    let _ = client.stream().shutdown(Shutdown::Read);
                }
                if idle_ticks && client.tick() {
                    self.tally.idle(client.stream());
                    let _ = client.stream().shutdown(Shutdown::Both);
                }
            });
        }
        over
    }

    /// Whether to skip the rest of a turn: a stop was requested, or the time of its drain is over. Then
    /// the next client does not get its step, which may burn `--work`.
    pub fn must_hurry(&self) -> bool {
        match self.deadline {
            None => self.stop.requested(),
            Some(deadline) => deadline <= Instant::now(),
        }
    }

    /// Whether to accept, or to watch for clients to accept, while `active` clients are connected. Not
    /// during a drain.
    pub fn accepts(&self, listener: &mut Listener, active: usize) -> bool {
        !self.is_draining() && listener.is_open(active)
    }

    /// Whether a stop has begun: clients finish, and no one is accepted.
    pub fn is_draining(&self) -> bool {
        self.deadline.is_some()
    }

    /// The descriptor that becomes readable at a request to stop; `None` from the drain on, since it
    /// stays readable.
    pub fn stop_fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_draining()).then_some(self.stop.as_fd())
    }

    /// The longest time to wait: until the drain, a pause of `listener` or the idle clock needs the loop,
    /// or without limit.
    pub fn longest_wait(&self, listener: &Listener) -> Option<Duration> {
        let until = match self.deadline {
            Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            None => listener.pause_left(),
        };
        [until, self.idle.until_next()].into_iter().flatten().min()
    }

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }
}
