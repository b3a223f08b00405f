//! One server at one point: the load, the measured values and the cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cost::Reading;
use crate::statistics::{Estimate, Verdict};

use super::metric::Metric;

/// The reason for skipping a server that the filter excludes.
pub(crate) const NOT_ASKED_FOR: &str = "not asked for";

/// One server at one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// [`ServerInfo::name`](super::ServerInfo::name).
    pub server: String,
    /// The load that the clients applied.
    pub load: LoadInfo,
    /// Whether the case was measured. The fields below depend on the outcome.
    pub outcome: Outcome,
    /// The scenario's metric in each block, in the order of the blocks. Index `i` of two servers
    /// was measured in the same round. `None` where a block failed or was not finished.
    pub blocks: Vec<Option<f64>>,
    /// The median of the scenario's metric over the blocks, with its 95 % interval.
    pub value: Option<Estimate>,
    /// Messages echoed per second, for every metric: the median over the blocks.
    pub messages_per_s: Option<f64>,
    /// The comparisons with the reference. The first comparison uses the scenario's metric. The
    /// second uses [`Metric::MessagesPerCpuSecond`] where the server's CPU time is known. Empty for
    /// the reference.
    pub comparisons: Vec<Comparison>,
    /// The latency over all blocks together.
    pub latency: Vec<Latency>,
    /// The cost; `None` when nothing was measured.
    pub cost: Option<CaseCost>,
    /// Reasons to trust this case less, e.g. "the generator was the limit". Each entry is a phrase.
    pub flags: Vec<String>,
}

/// The load that the clients applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadInfo {
    /// Connections that exchanged messages.
    pub connections: usize,
    /// Open connections that sent nothing.
    pub idle: usize,
    /// Connections that sent without reading.
    pub slow_readers: usize,
    /// Bytes per message.
    pub size_bytes: usize,
    /// Messages in flight at the same time on each connection.
    pub depth: usize,
    /// Offered messages per second over all connections (open loop). `None` means a closed loop: a
    /// client sends the next message after the reply to the previous message.
    pub offered_per_s: Option<f64>,
    /// Whether each message had a new connection.
    pub churn: bool,
    /// CPU time that the server spent on each read (`--work`), in nanoseconds.
    pub work_ns: u64,
}

/// Whether a case was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The case was measured.
    Measured,
    /// The case was skipped on purpose, e.g. for more connections than the model can hold. The text
    /// is the reason.
    Skipped(String),
    /// The case failed. The text is the first error.
    Failed(String),
    /// The case was measured, but its values do not answer the question. For example, the offered
    /// rate was not reached, and the cause was not the server. The text is the reason.
    Invalid(String),
    /// Open loop: the server did not reach the offered rate, so the latency has no steady value.
    Saturated,
}

/// The comparison of a server with the reference on one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The compared metric.
    pub metric: Metric,
    /// The server's value divided by the reference's value, block by block: the median ratio and
    /// its 95 % interval. A ratio above 1 means *more* of the metric, which is not always better.
    pub ratio: Estimate,
    /// The verdict: better ("faster"), worse ("slower") or neither.
    pub verdict: Verdict,
    /// Why a measured server is not ranked, e.g. "the generator was the limit".
    pub unranked: Option<String>,
}

/// A latency distribution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The start and the end of the measured time.
    pub kind: LatencyKind,
    /// Number of messages (or connects) measured.
    pub samples: u64,
    /// Arithmetic mean, in nanoseconds.
    pub mean_ns: f64,
    /// The largest latency, in nanoseconds.
    pub max_ns: u64,
    /// The points of the curve, in ascending order. The quantiles 0.5, 0.9, 0.99 and 0.999 are
    /// present where the number of samples supports them.
    pub percentiles: Vec<Percentile>,
}

/// The start and the end of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyKind {
    /// From the actual send of a message to its reply.
    Service,
    /// From the scheduled send of a message to its reply: the time that a user would have waited
    /// (open loop only).
    Response,
    /// From connect(2) until the connection is usable.
    Connect,
    /// From the scheduled send of a message to its actual send: the generator's own delay.
    Lateness,
}

/// A point of a latency curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// The share of samples that are at most `ns`, 0 to 1: 0.99 is the 99th percentile.
    pub quantile: f64,
    /// The latency, in nanoseconds.
    pub ns: u64,
}

/// The cost of a case, for the server's whole process tree. Each value is a median over the blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseCost {
    /// The server's CPU time per message, user plus system time, in nanoseconds.
    pub server_cpu_ns_per_message: Reading<f64>,
    /// The part of the server's CPU time per message in user mode, in nanoseconds.
    pub server_user_ns_per_message: Reading<f64>,
    /// The part of the server's CPU time per message in the kernel, in nanoseconds.
    pub server_system_ns_per_message: Reading<f64>,
    /// Voluntary context switches per message: a thread of the server went to sleep.
    pub voluntary_switches_per_message: Reading<f64>,
    /// Involuntary context switches per message: the kernel took a thread of the server off its
    /// processor.
    pub involuntary_switches_per_message: Reading<f64>,
    /// System calls per message by name, the most frequent first. A separate untimed run of a fixed
    /// number of messages counts them.
    pub syscalls_per_message: Reading<Vec<SyscallRate>>,
    /// Processors that the server kept busy on average: 1.0 is one core.
    pub server_cores: Reading<f64>,
    /// Processors that the load generator kept busy on average.
    pub client_cores: Reading<f64>,
    /// The load generator's CPU time per message, in nanoseconds.
    pub client_cpu_ns_per_message: Reading<f64>,
    /// Processors that the machine spent in soft interrupts on average, whichever process the
    /// kernel charged.
    pub softirq_cores: Reading<f64>,
    /// Processors that the hypervisor gave to other machines on average (steal).
    pub steal_cores: Reading<f64>,
    /// Resident memory at the end of a run, in bytes.
    pub rss_bytes: Reading<f64>,
    /// Peak resident memory, in bytes.
    pub peak_rss_bytes: Reading<f64>,
    /// Anonymous memory of the server that each connection added, in bytes, without the kernel's
    /// socket buffers.
    pub bytes_per_connection: Reading<f64>,
    /// Threads at the end of a run.
    pub threads: Reading<f64>,
    /// Processes at the end of a run.
    pub processes: Reading<f64>,
}

/// The frequency of one system call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyscallRate {
    /// The name of the system call, e.g. "epoll_wait".
    pub name: String,
    /// Calls per message.
    pub per_message: f64,
}

impl Case {
    /// Returns the value of the scenario's metric, or `None` if its median is not finite.
    pub(crate) fn finite_value(&self) -> Option<Estimate> {
        self.value.filter(|value| value.median.is_finite())
    }

    /// Returns the comparison with the reference on `metric`, or `None` if its ratio is not finite.
    pub(crate) fn comparison(&self, metric: Metric) -> Option<&Comparison> {
        let mut all = self.comparisons.iter();
        all.find(|comparison| comparison.metric == metric && comparison.ratio.median.is_finite())
    }

    /// Returns the latency that a user sees: in an open loop, the latency from the scheduled send.
    pub(crate) fn user_latency(&self) -> Option<&Latency> {
        let of_kind = |kind| {
            let mut all = self.latency.iter();
            all.find(|latency| latency.kind == kind && !latency.percentiles.is_empty())
        };
        [LatencyKind::Response, LatencyKind::Service, LatencyKind::Connect]
            .into_iter()
            .find_map(of_kind)
    }

    /// Returns the reasons why the case is missing or less trustworthy.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let outcome = Some(&self.outcome).filter(|outcome| **outcome != Outcome::Measured);
        outcome.map(Outcome::to_string).into_iter().chain(self.flags.iter().cloned()).collect()
    }
}

impl LoadInfo {
    /// Returns the number of connections that are open at the same time.
    pub(crate) fn total_connections(&self) -> usize {
        self.connections + self.idle + self.slow_readers
    }
}

impl Outcome {
    /// Returns whether the filter excludes the server.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(self, Outcome::Skipped(reason) if reason == NOT_ASKED_FOR)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Measured => write!(f, "measured"),
            Outcome::Skipped(reason) => write!(f, "skipped: {reason}"),
            Outcome::Failed(reason) => write!(f, "failed: {reason}"),
            Outcome::Invalid(reason) => write!(f, "invalid: {reason}"),
            Outcome::Saturated => write!(f, "saturated"),
        }
    }
}

impl Comparison {
    /// Returns the verdict in words, or "unranked".
    pub(crate) fn label(&self) -> &'static str {
        if self.unranked.is_some() { "unranked" } else { self.verdict.label() }
    }
}

impl Latency {
    /// Returns the latency at `quantile`, or `None` if the curve has no point there.
    pub(crate) fn at(&self, quantile: f64) -> Option<u64> {
        self.percentiles.iter().find(|point| point.quantile == quantile).map(|point| point.ns)
    }
}

impl CaseCost {
    /// Returns the sum of all system calls per message.
    pub(crate) fn syscalls_total(&self) -> Option<f64> {
        let rates = self.syscalls_per_message.value()?;
        Some(rates.iter().map(|rate| rate.per_message).sum())
    }
}
