//! The connections of a session, and the runs on them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::connection::BUFFER;
use crate::{Address, Error, Rate, Result, series};

/// Largest message for blocking calls, in bytes. The socket buffers of both sides hold such a
/// message, so the server can take all of it before the client reads.
pub(crate) const BLOCKING_SIZE: usize = 16 * 1024;

/// Largest payload of a UDP datagram over IPv4, in bytes (udp(7)).
pub(crate) const DATAGRAM_SIZE: usize = 65_507;

/// Largest message, in bytes. A larger one takes a second or more on loopback.
const SIZE_MAX: usize = 1 << 30;

/// Most messages in flight in all. Each has a stamp of 24 bytes in memory.
const IN_FLIGHT_MAX: usize = 1 << 24;

/// Most threads. Each has histograms of about 1 MiB.
const THREADS_MAX: usize = 1024;

/// Longest duration of any option: one year. Sums of such durations cannot overflow.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The connections of a [`Session`](crate::Session), and the messages on them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The address of the server.
    pub address: Address,
    /// Connections that send and read, on all threads together.
    pub connections: usize,
    /// Connections that stay open and silent. They are opened before the others.
    pub idle: usize,
    /// Connections that send all the time and hardly read.
    pub slow_readers: usize,
    /// Threads that drive the connections; each has at least one connection.
    pub threads: usize,
    /// Size of a message in bytes.
    pub size: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// Open a new connection for each message. `connections` is then the number that exist at the
    /// same time.
    pub churn: bool,
    /// Shut down the sending half of each connection behind its last message. The server must then
    /// return every byte and close its side.
    pub half_close: bool,
    /// Most bytes for one send(2); without a bound if `None`.
    pub fragment: Option<usize>,
    /// Check every byte that comes back.
    pub verify: bool,
    /// Longest time to wait for a connection, a message, or the end of a stream.
    pub timeout: Duration,
    /// New connections per second while a session is opened; without a bound if `None`.
    pub connect_rate: Option<f64>,
    /// Local addresses of the connections, in turn; the system chooses if empty.
    pub sources: Vec<IpAddr>,
    /// CPUs of the threads, in turn; not pinned if empty. A single thread is the caller of
    /// [`Session::open`](crate::Session::open), and stays pinned.
    pub pin: Vec<usize>,
    /// Seed of the content of the messages and of random arrival times.
    pub seed: u64,
    /// Length of the intervals of the time series; no series if `None`.
    pub interval: Option<Duration>,
    /// Stops the runs, and tells their progress.
    pub control: Arc<Control>,
}

impl Plan {
    /// One connection with one message of 64 bytes in flight, and every byte checked.
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
    pub(crate) fn total_connections(&self) -> usize {
        self.connections.saturating_add(self.idle).saturating_add(self.slow_readers)
    }

    /// Whether every thread has one connection and one message in flight. Such a thread blocks in
    /// write and read, and needs no other call.
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

    /// Whether the plan asks for something that UDP does not have.
    fn needs_a_stream(&self) -> bool {
        self.churn
            || self.half_close
            || self.depth > 1
            || self.fragment.is_some()
            || self.idle + self.slow_readers > 0
    }

    /// Whether `source` is an address of the server's IP version.
    fn is_reachable_from(&self, source: &IpAddr) -> bool {
        let server = self.address.socket_addr();
        server.is_ok_and(|address| address.is_ipv4() == source.is_ipv4())
    }

    /// Checks that the plan makes sense.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`]: what is wrong, and what to change.
    pub fn check(&self) -> Result<()> {
        let wrong = if self.connections == 0 {
            "0 connections measure nothing: give at least 1"
        } else if self.size == 0 {
            "a message of 0 bytes cannot be echoed: give a size of at least 1"
        } else if self.depth == 0 {
            "a depth of 0 never sends: give at least 1"
        } else if self.size > SIZE_MAX {
            "a message holds 1 GiB at most: give a smaller size"
        } else if self.depth > 1 && self.connections.saturating_mul(self.depth) > IN_FLIGHT_MAX {
            "at most 16777216 messages can be in flight: give fewer connections or less depth"
        } else if self.threads == 0 || self.threads > self.connections {
            "each thread needs a connection: give at least 1 thread and at most one for each \
             connection"
        } else if self.threads > THREADS_MAX {
            "a load has 1024 threads at most: give fewer"
        } else if self.timeout.is_zero() {
            "a timeout of 0 ends every wait at once: give for example 5s"
        } else if self.timeout > WAIT_MAX {
            "a timeout is a year at most: give for example 5s"
        } else if self.fragment == Some(0) {
            "a fragment of 0 bytes never sends: give at least 1"
        } else if self.fragment.is_some_and(|most| most >= BUFFER || most / self.depth >= self.size)
        {
            "a fragment cuts nothing unless it is smaller than 65536 bytes and than all messages \
             in flight on a connection: give fewer bytes"
        } else if self.connect_rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            "a connect rate of 0 never connects: give more than 0"
        } else if self.connect_rate.is_some_and(|rate| rate * WAIT_MAX.as_secs_f64() < 1.0) {
            "a connect rate of less than one in a year never connects: give more"
        } else if self.interval.is_some_and(|interval| interval < series::SHORTEST) {
            "an interval shorter than 10ms holds too few messages: give 10ms or more"
        } else if self.churn && self.depth > 1 {
            "churn sends one message on each connection: give a depth of 1"
        } else if self.churn && self.slow_readers > 0 {
            "churn has no slow readers: leave out one of the two"
        } else if self.is_udp() && self.needs_a_stream() {
            "UDP has no connections: give a depth of 1, and neither churn, half-close, fragments, \
             idle connections nor slow readers"
        } else if self.is_udp() && self.size > DATAGRAM_SIZE {
            "a datagram holds 65507 bytes at most: give a smaller size"
        } else if self.sources.iter().any(|source| !self.is_reachable_from(source)) {
            "a source address cannot reach the server: give sources of the server's IP version"
        } else {
            return Ok(());
        };
        Err(Error::BadPlan(wrong.to_owned()))
    }
}

/// One run on the connections of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// When the run ends.
    pub until: Until,
    /// How long the load runs before anything counts.
    pub warmup: Duration,
    /// The schedule of an open loop. `None` is a closed loop: a connection sends its next message
    /// when one has come back.
    pub rate: Option<Rate>,
}

/// When a [`Slice`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time, warm-up and drain not included.
    Elapsed(Duration),
    /// After this number of messages, those of the warm-up not included.
    Messages(u64),
}

impl Slice {
    /// A closed loop of this duration.
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
    /// [`Error::BadPlan`]: what is wrong, and what to change.
    pub fn check(&self) -> Result<()> {
        let longest = match self.until {
            Until::Elapsed(duration) => duration.max(self.warmup),
            Until::Messages(_) => self.warmup,
        };
        let wrong = if matches!(self.until, Until::Elapsed(Duration::ZERO) | Until::Messages(0)) {
            "0 messages, or a duration of 0, measure nothing: give more"
        } else if longest > WAIT_MAX {
            "a duration or a warm-up is a year at most: give for example 10s"
        } else {
            return self.rate.as_ref().map_or(Ok(()), Rate::check);
        };
        Err(Error::BadPlan(wrong.to_owned()))
    }

    /// The same slice with a warm-up.
    pub fn after(self, warmup: Duration) -> Slice {
        Slice { warmup, ..self }
    }

    /// The same slice as an open loop.
    pub fn at_rate(self, rate: Rate) -> Slice {
        Slice { rate: Some(rate), ..self }
    }
}

/// Stops the runs of a session from another thread or a signal handler, and tells their progress.
#[derive(Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    answered: AtomicU64,
}

impl Control {
    /// Set this flag to end a run early. The run drains, and its result covers the time until then.
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Messages that have come back in all runs, warm-up and drain included.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether the stop flag is set.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn add_answered(&self, count: u64) {
        self.answered.fetch_add(count, Ordering::Relaxed);
    }
}
