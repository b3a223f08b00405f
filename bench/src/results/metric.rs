//! What is compared.

use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Messages echoed per second; more is better.
    MessagesPerSecond,
    /// Payload bytes echoed per second, counted once; more is better.
    BytesPerSecond,
    /// Median time from sending a message (in an open loop: from when it was to be sent) to having it
    /// back, in nanoseconds; less is better. The tail is in `Case::latency`: on a machine that is
    /// interrupted now and then, a block's 99th percentile tells whether it was.
    LatencyP50,
    /// Messages echoed per second of the server's own CPU time; more is better. It stays meaningful
    /// when the generator is the limit.
    MessagesPerCpuSecond,
    /// CPU time the server used per second, in nanoseconds; less is better.
    CpuPerSecond,
    /// Clients that had an answer while all of them stayed connected; more is better.
    ClientsServed,
}

impl Metric {
    /// Whether a larger value is the better one.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Metric::LatencyP50 | Metric::CpuPerSecond)
    }

    /// What it is, for a table's head or a chart's axis, unit included.
    pub fn label(self) -> &'static str {
        match self {
            Metric::MessagesPerSecond => "messages/s",
            Metric::BytesPerSecond => "bytes/s",
            Metric::LatencyP50 => "latency p50 (ns)",
            Metric::MessagesPerCpuSecond => "messages per server CPU second",
            Metric::CpuPerSecond => "server CPU per second (ns)",
            Metric::ClientsServed => "clients served at the same time",
        }
    }
}
