//! What came of a run.

use std::fmt;
use std::io;
use std::ops::AddAssign;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use crate::ClientCpu;

/// What can go wrong on one connection. Each is counted under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nobody listens at the address.
    Refused,
    /// The connection did not come to stand within `--timeout`.
    ConnectTimeout,
    /// This machine has no free port left for another connection to the address.
    NoPort,
    /// The server sent bytes before it was sent any.
    SpokeFirst,
    /// Bytes came back that are not those sent: corrupted, lost, duplicated, swapped or another's.
    Mismatch,
    /// More bytes came back than were sent. Over UDP: a message came back twice.
    Surplus,
    /// The server closed its side before it had sent everything back.
    EarlyClose,
    /// The server reset the connection.
    Reset,
    /// A message was not back within `--timeout`.
    Timeout,
    /// UDP: a message was not back within `--timeout`, and was given up.
    Lost,
    /// The server did not close its side after the client had closed its own.
    NotClosed,
    /// Another error of a system call.
    Other,
}

impl Fault {
    /// All of them, in the order of [`Faults::count`].
    pub const ALL: [Fault; 12] = [
        Fault::Refused,
        Fault::ConnectTimeout,
        Fault::NoPort,
        Fault::SpokeFirst,
        Fault::Mismatch,
        Fault::Surplus,
        Fault::EarlyClose,
        Fault::Reset,
        Fault::Timeout,
        Fault::Lost,
        Fault::NotClosed,
        Fault::Other,
    ];

    /// The name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::ConnectTimeout => "connect timeout",
            Fault::NoPort => "no port",
            Fault::SpokeFirst => "spoke first",
            Fault::Mismatch => "mismatch",
            Fault::Surplus => "surplus",
            Fault::EarlyClose => "early close",
            Fault::Reset => "reset",
            Fault::Timeout => "timeout",
            Fault::Lost => "lost",
            Fault::NotClosed => "not closed",
            Fault::Other => "other",
        }
    }

    /// The fault that an error of connect(2), send(2) or recv(2) amounts to.
    pub(crate) fn of(error: &io::Error) -> Fault {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ECONNREFUSED | Errno::ENOENT) => Fault::Refused,
            Some(Errno::ECONNRESET) => Fault::Reset,
            Some(Errno::EPIPE) => Fault::EarlyClose,
            Some(Errno::EADDRNOTAVAIL) => Fault::NoPort,
            Some(Errno::ETIMEDOUT) => Fault::ConnectTimeout,
            None if error.kind() == io::ErrorKind::TimedOut => Fault::ConnectTimeout,
            _ => Fault::Other,
        }
    }
}

/// How many connections ended in each [`Fault`]. A connection ends with its first fault.
///
/// Over UDP, where a datagram stands for itself, how many messages did: the client goes on with the
/// next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    counts: [u64; Fault::ALL.len()],
}

impl Faults {
    /// Connections that ended in this fault.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    /// Connections that ended in any fault.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those that happened, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        let counts = self.counts;
        Fault::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Faults) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("none");
        }
        for (index, (fault, count)) in self.iter().enumerate() {
            write!(f, "{}{} {count}", if index > 0 { ", " } else { "" }, fault.name())?;
        }
        Ok(())
    }
}

/// What one [`Session::run`](crate::Session::run) measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Messages that came back, whole and right, in the measured time.
    pub messages: u64,
    /// Payload of those messages in bytes, counted once (as many went out as came back).
    pub bytes: u64,
    /// The measured time: without warm-up, and without the drain at the end.
    pub elapsed: Duration,
    /// What went wrong, in warm-up and drain too.
    pub faults: Faults,
    /// CPU time of the threads that drove the load, from the first send to the end of the drain.
    pub cpu: ClientCpu,
    /// Open loop: messages that were due in the measured time. In a closed loop nothing is ever
    /// due: 0.
    pub due: u64,
    /// Those of them that were never sent, because every one before them on their connection had to
    /// come back first; for random arrivals the number to be expected.
    pub unsent: u64,
}

/// Largest deviation of what came back from what was due at which an open loop is still valid.
pub const RATE_TOLERANCE: f64 = 0.01;
/// Messages that may be on their way at one end of the measured time and not at the other: a
/// deviation that is no larger means nothing.
const EDGE: f64 = 10.0;

impl Sample {
    /// Messages per second, all connections together.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, self.elapsed)
    }

    /// Open loop: whether as many messages came back as were due, within [`RATE_TOLERANCE`].
    pub fn kept_up(&self) -> bool {
        let due = self.due as f64;
        (self.messages as f64 - due).abs() <= (due * RATE_TOLERANCE).max(EDGE)
    }
}

impl AddAssign for Sample {
    /// Adds what another thread did at the same time.
    fn add_assign(&mut self, other: Sample) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.faults += other.faults;
        self.cpu += other.cpu;
        self.due += other.due;
        self.unsent += other.unsent;
    }
}

pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}
