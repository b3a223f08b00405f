//! The metrics of the comparison.

use serde::{Deserialize, Serialize};

/// A metric on which servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Messages echoed per second; more is better.
    MessagesPerSecond,
    /// Payload bytes echoed per second; each byte counts once; more is better.
    BytesPerSecond,
    /// Median time from the send of a message to its complete reply, in nanoseconds; less is
    /// better. In an open loop the time begins at the scheduled send. `Case::latency` contains the
    /// tail: a high 99th percentile of a block shows that the machine was interrupted during the
    /// block.
    LatencyP50,
    /// Messages echoed per second of the server's own CPU time; more is better. This metric stays
    /// meaningful when the generator is the limit.
    MessagesPerCpuSecond,
    /// CPU time that the server used per second, in nanoseconds; less is better.
    CpuPerSecond,
    /// Clients that received a reply while all clients stayed connected; more is better.
    ClientsServed,
}

impl Metric {
    /// Returns whether a larger value is better.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Metric::LatencyP50 | Metric::CpuPerSecond)
    }

    /// Returns the name with its unit, for the head of a table or the axis of a chart.
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
