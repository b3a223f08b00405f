//! The result of a run: counts and faults.

use std::fmt;
use std::io;
use std::ops::AddAssign;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use crate::ClientCpu;

/// A fault of one connection. Each kind is counted under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No server listens at the address.
    Refused,
    /// The connection was not established within the timeout.
    ConnectTimeout,
    /// This machine has no free port for another connection to the address.
    NoPort,
    /// The server sent bytes before the client did.
    SpokeFirst,
    /// Wrong bytes came back: corrupted, lost, duplicated, swapped, or those of another connection.
    Mismatch,
    /// More bytes came back than were sent. Over UDP: a message came back twice.
    Surplus,
    /// The server closed its side before it had returned every byte.
    EarlyClose,
    /// The server reset the connection.
    Reset,
    /// A message was not back within the timeout.
    Timeout,
    /// UDP: a message was not back within the timeout, and the client gave it up.
    Lost,
    /// The server did not close its side after the client had shut down its own.
    NotClosed,
    /// Another error of a system call.
    Other,
}

impl Fault {
    /// All kinds, in the order of their declaration.
    const ALL: [Fault; 12] = [
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

    /// The name in text.
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

    /// The fault behind an error of connect(2), send(2) or recv(2).
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

/// The number of connections that ended in each [`Fault`]. A connection ends with its first fault.
///
/// Over UDP it is the number of messages: after a fault the client sends its next message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    counts: [u64; Fault::ALL.len()],
}

impl Faults {
    /// The number of connections that ended in this fault.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    /// The number of connections that ended in any fault.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The faults that happened, with their counts.
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

/// The counters of one [`Session::run`](crate::Session::run).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Messages that came back, whole and right, in the measured time.
    pub messages: u64,
    /// Payload of those messages in bytes, in one direction.
    pub bytes: u64,
    /// The measured time, without warm-up and drain.
    pub elapsed: Duration,
    /// The faults, warm-up and drain included.
    pub faults: Faults,
    /// CPU time of the generator's threads, warm-up and drain included.
    pub cpu: ClientCpu,
    /// Messages that came back in that time.
    pub answered: u64,
    /// Open loop: messages that were due in the measured time. Closed loop: 0.
    pub due: u64,
    /// Due messages that were never sent, because their connection was still waiting for earlier
    /// messages. Their response times count as the time from when they were due until the end.
    pub unsent: u64,
}

/// Largest valid deviation of an open loop: the difference between returned and due messages, as a
/// share of the due messages.
pub const RATE_TOLERANCE: f64 = 0.01;
/// A smaller deviation, in messages, is always valid. More messages can be in flight at one end of
/// the measured time than at the other.
const EDGE: f64 = 10.0;

impl Sample {
    /// Messages per second, all connections together.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, self.elapsed)
    }

    /// Open loop: the messages that came back, as a share of those that were due. `None` if none was
    /// due.
    pub fn achieved(&self) -> Option<f64> {
        (self.due > 0).then(|| self.messages as f64 / self.due as f64)
    }

    /// Open loop: whether the due messages came back, within [`RATE_TOLERANCE`].
    pub fn kept_up(&self) -> bool {
        let due = self.due as f64;
        (self.messages as f64 - due).abs() <= (due * RATE_TOLERANCE).max(EDGE)
    }
}

impl AddAssign for Sample {
    /// Adds the counters of another thread of the same run.
    fn add_assign(&mut self, other: Sample) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.faults += other.faults;
        self.cpu += other.cpu;
        self.answered += other.answered;
        self.due += other.due;
        self.unsent += other.unsent;
    }
}

pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}
