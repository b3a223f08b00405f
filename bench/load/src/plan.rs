//! What to do: the connections of a session, and the slices that run on them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use server_process::address::Address;

use crate::{Rate, series};

/// Largest message that is sent and received by blocking calls, in bytes. The socket buffers of
/// both sides hold it, so that the server can always take all of it before the client reads.
pub(crate) const BLOCKING_SIZE: usize = 16 * 1024;

/// Largest payload of a UDP datagram over IPv4, in bytes (udp(7)).
pub(crate) const DATAGRAM_SIZE: usize = 65_507;

/// Largest message, in bytes: one that takes a second or more is no message any more.
const SIZE_MAX: usize = 1 << 30;

/// Most messages on their way at the same time. Each has a stamp of its own in memory.
const IN_FLIGHT_MAX: usize = 1 << 24;

/// Longest wait, a year: nobody waits longer, and arithmetic with it cannot overflow.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The connections of a [`Session`](crate::Session), and what goes over them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: Address,
    /// Connections that send, all threads together.
    pub connections: usize,
    /// Connections that are held open and silent. They are opened before the others.
    pub idle: usize,
    /// Connections that send all the time and read next to nothing.
    pub slow_readers: usize,
    /// Threads that drive the connections, at most one for each.
    pub threads: usize,
    /// Size of a message in bytes.
    pub size: usize,
    /// Messages on their way at the same time, per connection.
    pub depth: usize,
    /// A new connection for each message. `connections` is then how many exist at a time.
    pub churn: bool,
    /// End each connection by shutting down the sending half at once after the last message, and
    /// expect everything back, and then the end of the stream.
    pub half_close: bool,
    /// Most bytes that one send(2) is given.
    pub fragment: Option<usize>,
    /// Check every byte that comes back.
    pub verify: bool,
    /// Longest time to wait for a connection, a message, or the end of a stream.
    pub timeout: Duration,
    /// New connections per second while a session is opened; unlimited if `None`.
    pub connect_rate: Option<f64>,
    /// Addresses of this machine to connect from, in turn; the system's choice if empty.
    pub sources: Vec<IpAddr>,
    /// CPUs that the threads are pinned to, in turn; not pinned if empty. With one thread, this is
    /// the thread that calls [`Session::open`](crate::Session::open).
    pub pin: Vec<usize>,
    /// What the content of the messages, and random arrival times, are derived from.
    pub seed: u64,
    /// Length of the intervals of the time series; none is kept if `None`.
    pub interval: Option<Duration>,
    /// Shared with whoever watches the runs.
    pub control: Arc<Control>,
}

impl Plan {
    /// One connection that sends messages of 64 bytes one at a time, all of it verified.
    pub fn new(address: impl Into<Address>) -> Plan {
        Plan {
            address: address.into(),
            connections: 1,
            idle: 0,
            slow_readers: 0,
            threads: 1,
            size: 64,
            depth: 1,
            churn: false,
            half_close: false,
            fragment: None,
            verify: true,
            timeout: Duration::from_secs(5),
            connect_rate: None,
            sources: Vec::new(),
            pin: Vec::new(),
            seed: 1,
            interval: None,
            control: Arc::default(),
        }
    }

    /// Connections that exist at the same time.
    pub fn total_connections(&self) -> usize {
        self.connections.saturating_add(self.idle).saturating_add(self.slow_readers)
    }

    /// Whether every thread has one connection and can block in it: then nothing but a write and a
    /// read is done for a message.
    pub(crate) fn is_ping_pong(&self) -> bool {
        self.connections == self.threads
            && self.depth == 1
            && self.size <= BLOCKING_SIZE
            && self.slow_readers == 0
            && self.fragment.is_none()
            && !self.churn
            && !self.is_udp()
    }

    /// Whether messages are datagrams.
    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.address, Address::Udp(_))
    }

    /// Whether the plan asks for what only a stream has.
    fn needs_a_stream(&self) -> bool {
        self.churn
            || self.half_close
            || self.depth > 1
            || self.fragment.is_some()
            || self.idle + self.slow_readers > 0
    }

    /// Whether `source` is an address of the server's family.
    fn is_reachable_from(&self, source: &IpAddr) -> bool {
        let server = self.address.socket_addr();
        server.is_ok_and(|address| address.is_ipv4() == source.is_ipv4())
    }

    /// Checks that the plan makes sense.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do about it.
    pub fn check(&self) -> io::Result<()> {
        let wrong = if self.connections == 0 {
            "0 connections measure nothing: give at least 1"
        } else if self.size == 0 {
            "a message of 0 bytes cannot be echoed: give a size of at least 1"
        } else if self.depth == 0 {
            "a depth of 0 never sends: give at least 1"
        } else if self.size > SIZE_MAX {
            "a message holds 1 GiB at most: give a smaller size"
        } else if self.depth > 1 && self.connections.saturating_mul(self.depth) > IN_FLIGHT_MAX {
            "at most 16777216 messages can be on their way at once: give fewer connections or depth"
        } else if self.threads == 0 || self.threads > self.connections {
            "each thread needs a connection: give 1 thread, and at most as many as connections"
        } else if self.timeout.is_zero() {
            "a timeout of 0 ends every wait before it begins: give for example 5s"
        } else if self.timeout > WAIT_MAX {
            "a timeout is a year at most: give for example 5s"
        } else if self.fragment == Some(0) {
            "a fragment of 0 bytes never sends: give at least 1"
        } else if self.connect_rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            "a connect rate of 0 never connects: give more than 0"
        } else if self.connect_rate.is_some_and(|rate| rate * WAIT_MAX.as_secs_f64() < 1.0) {
            "a connect rate of less than one in a year never connects: give more"
        } else if self.interval.is_some_and(|interval| interval < series::SHORTEST) {
            "an interval shorter than 10ms holds too few messages: give 10ms or more"
        } else if self.churn && self.depth > 1 {
            "churn sends one message per connection: it goes with a depth of 1"
        } else if self.is_udp() && self.needs_a_stream() {
            "UDP has no connections: it goes with a depth of 1 and neither churn, half-close, \
             fragments, idle connections nor slow readers"
        } else if self.is_udp() && self.size > DATAGRAM_SIZE {
            "a datagram holds 65507 bytes at most: give a smaller size"
        } else if self.sources.iter().any(|source| !self.is_reachable_from(source)) {
            "a source address cannot reach the server: give sources of the server's IP version"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
    }
}

/// One run on the connections of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// When it is over.
    pub until: Until,
    /// How long to run before that without counting.
    pub warmup: Duration,
    /// Open loop: when messages are due. Closed loop if `None`: a message is sent when one has come
    /// back.
    pub rate: Option<Rate>,
}

/// When a [`Slice`] is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When this time has passed, not counting the warm-up and the drain.
    Elapsed(Duration),
    /// When this many messages have come back, not counting those of the warm-up.
    Messages(u64),
}

impl Slice {
    /// A closed loop for `duration`, counted from the start.
    pub fn lasting(duration: Duration) -> Slice {
        Slice { until: Until::Elapsed(duration), warmup: Duration::ZERO, rate: None }
    }

    /// A closed loop of `count` messages.
    pub fn of_messages(count: u64) -> Slice {
        Slice { until: Until::Messages(count), warmup: Duration::ZERO, rate: None }
    }

    /// Checks that the slice makes sense.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do about it.
    pub fn check(&self) -> io::Result<()> {
        if matches!(self.until, Until::Elapsed(Duration::ZERO) | Until::Messages(0)) {
            let text = "0 messages, or no time for any, measure nothing: give more";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let longest = match self.until {
            Until::Elapsed(duration) => duration.max(self.warmup),
            Until::Messages(_) => self.warmup,
        };
        if longest > WAIT_MAX {
            let text = "a duration or a warm-up is a year at most: give for example 10s";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.rate.as_ref().map_or(Ok(()), Rate::check)
    }

    /// The same, but counted only after `warmup`.
    pub fn after(self, warmup: Duration) -> Slice {
        Slice { warmup, ..self }
    }

    /// The same, but as an open loop.
    pub fn at_rate(self, rate: Rate) -> Slice {
        Slice { rate: Some(rate), ..self }
    }
}

/// The line between a run and whoever watches it from another thread.
#[derive(Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    answered: AtomicU64,
}

impl Control {
    /// Set it, from a signal handler for example, to end a run early: it drains, and reports what
    /// it has.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Messages that have come back so far, warm-up included.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn add_answered(&self, count: u64) {
        self.answered.fetch_add(count, Ordering::Relaxed);
    }
}
