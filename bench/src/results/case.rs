//! One server at one point: what the clients did, what was measured, what it cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cost::Reading;
use crate::statistics::{Estimate, Verdict};

use super::metric::Metric;

/// Why a server is skipped that the filter leaves out.
pub(crate) const NOT_ASKED_FOR: &str = "not asked for";

/// One server at one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// [`ServerInfo::name`](super::ServerInfo::name).
    pub server: String,
    /// What the clients did.
    pub load: LoadInfo,
    /// Whether there is anything to read below.
    pub outcome: Outcome,
    /// The scenario's metric in each block, in the order of the blocks, so that index `i` of two
    /// servers was measured in the same round; `None` where a block failed or was not finished.
    pub blocks: Vec<Option<f64>>,
    /// The median of the scenario's metric over the blocks, with its 95 % interval.
    pub value: Option<Estimate>,
    /// Messages echoed per second, whatever the scenario's metric is: median over the blocks.
    pub messages_per_s: Option<f64>,
    /// Against the reference: first on the scenario's metric, then on
    /// [`Metric::MessagesPerCpuSecond`] where the server's CPU time is known. Empty for the
    /// reference.
    pub comparisons: Vec<Comparison>,
    /// Latency, all blocks taken together.
    pub latency: Vec<Latency>,
    /// What it cost; `None` when nothing was measured.
    pub cost: Option<CaseCost>,
    /// What makes this case less trustworthy, e.g. "the generator was the limit". One phrase each.
    pub flags: Vec<String>,
}

/// What the clients did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadInfo {
    /// Connections that exchanged messages.
    pub connections: usize,
    /// Connections held open that said nothing.
    pub idle: usize,
    /// Connections that sent without reading.
    pub slow_readers: usize,
    /// Bytes per message.
    pub size_bytes: usize,
    /// Messages under way at once on each connection.
    pub depth: usize,
    /// Offered messages per second over all connections (open loop); `None`: a closed loop, in
    /// which the next message waits for the one before.
    pub offered_per_s: Option<f64>,
    /// Whether each message had a new connection.
    pub churn: bool,
    /// CPU time the server burnt for each read (`--work`), in nanoseconds.
    pub work_ns: u64,
}

/// Whether a case was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was.
    Measured,
    /// It was not tried, on purpose: e.g. more connections than the model can hold.
    Skipped(String),
    /// It was tried and failed; what the first error was.
    Failed(String),
    /// It was measured, and the figures do not answer the question: e.g. the offered rate was not
    /// achieved, for a reason that is not the server's.
    Invalid(String),
    /// Open loop: the server could not keep up with the offered rate, so latency has no steady
    /// value.
    Saturated,
}

/// A server against the reference, on one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// On what.
    pub metric: Metric,
    /// The server's value divided by the reference's, block by block: the median ratio and its 95 %
    /// interval. Above 1 means *more* of the metric, which is not always better.
    pub ratio: Estimate,
    /// What may be said: better ("faster"), worse ("slower") or neither.
    pub verdict: Verdict,
    /// Why it was not ranked although it was measured; e.g. "the generator was the limit".
    pub unranked: Option<String>,
}

/// A latency distribution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// From when to when.
    pub kind: LatencyKind,
    /// Number of messages (or connects) measured.
    pub samples: u64,
    /// Arithmetic mean, in nanoseconds.
    pub mean_ns: f64,
    /// The largest, in nanoseconds.
    pub max_ns: u64,
    /// The curve, in ascending order; always with 0.5, 0.9, 0.99 and 0.999, as far as the number of
    /// samples supports them.
    pub percentiles: Vec<Percentile>,
}

/// From when to when a latency is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyKind {
    /// From the moment the message was really sent.
    Service,
    /// From the moment the schedule wanted it sent: what a user would have waited (open loop only).
    Response,
    /// From connect(2) to the connection's being usable.
    Connect,
    /// From the moment the schedule wanted a message sent to its being sent: the generator's own
    /// delay.
    Lateness,
}

/// A point of a latency curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// The share of samples that are at most `ns`, 0 to 1: 0.99 is the 99th percentile.
    pub quantile: f64,
    /// In nanoseconds.
    pub ns: u64,
}

/// What a case cost, the whole process tree of the server taken together. Medians over the blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseCost {
    /// The server's CPU time per message, user and system together, in nanoseconds.
    pub server_cpu_ns_per_message: Reading<f64>,
    /// The part of it in user mode.
    pub server_user_ns_per_message: Reading<f64>,
    /// The part of it in the kernel.
    pub server_system_ns_per_message: Reading<f64>,
    /// Times per message that a thread of the server went to sleep.
    pub voluntary_switches_per_message: Reading<f64>,
    /// Times per message that a thread of the server was taken off its processor.
    pub involuntary_switches_per_message: Reading<f64>,
    /// System calls per message by name, the most frequent first: from a run of its own, untimed,
    /// of a fixed number of messages.
    pub syscalls_per_message: Reading<Vec<SyscallRate>>,
    /// Processors the server kept busy on average: 1.0 is one core.
    pub server_cores: Reading<f64>,
    /// Processors the load generator kept busy on average.
    pub client_cores: Reading<f64>,
    /// The load generator's CPU time per message, in nanoseconds.
    pub client_cpu_ns_per_message: Reading<f64>,
    /// Processors the machine spent in soft interrupts on average, whoever was charged.
    pub softirq_cores: Reading<f64>,
    /// Processors the hypervisor kept from this machine on average.
    pub steal_cores: Reading<f64>,
    /// Resident memory at the end of a run, in bytes.
    pub rss_bytes: Reading<f64>,
    /// The most resident memory ever, in bytes.
    pub peak_rss_bytes: Reading<f64>,
    /// Memory of its own that each connection added, in bytes; the kernel's socket buffers are not
    /// in it.
    pub bytes_per_connection: Reading<f64>,
    /// Threads at the end of a run.
    pub threads: Reading<f64>,
    /// Processes at the end of a run.
    pub processes: Reading<f64>,
}

/// How often a system call was made per message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyscallRate {
    /// Its name, e.g. "epoll_wait".
    pub name: String,
    /// Calls per message.
    pub per_message: f64,
}

impl Case {
    /// The value of the scenario's metric, if it is a number.
    pub(crate) fn finite_value(&self) -> Option<Estimate> {
        self.value.filter(|value| value.median.is_finite())
    }

    /// The comparison with the reference on `metric`, if its ratio is a number.
    pub(crate) fn comparison(&self, metric: Metric) -> Option<&Comparison> {
        let mut all = self.comparisons.iter();
        all.find(|comparison| comparison.metric == metric && comparison.ratio.median.is_finite())
    }

    /// The latency that a user sees: from the intended send where there was a schedule.
    pub(crate) fn user_latency(&self) -> Option<&Latency> {
        let of_kind = |kind| {
            let mut all = self.latency.iter();
            all.find(|latency| latency.kind == kind && !latency.percentiles.is_empty())
        };
        [LatencyKind::Response, LatencyKind::Service, LatencyKind::Connect]
            .into_iter()
            .find_map(of_kind)
    }

    /// Why the case is not to be trusted as it stands, or is not there.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let outcome = Some(&self.outcome).filter(|outcome| **outcome != Outcome::Measured);
        outcome.map(Outcome::to_string).into_iter().chain(self.flags.iter().cloned()).collect()
    }
}

impl LoadInfo {
    /// All connections that exist at the same time.
    pub(crate) fn total_connections(&self) -> usize {
        self.connections + self.idle + self.slow_readers
    }
}

impl Outcome {
    /// Whether the filter leaves the server out.
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
    /// The verdict in a word, or that there is none.
    pub(crate) fn label(&self) -> &'static str {
        if self.unranked.is_some() { "unranked" } else { self.verdict.label() }
    }
}

impl Latency {
    /// The latency at a quantile of the curve, if it is one of its points.
    pub(crate) fn at(&self, quantile: f64) -> Option<u64> {
        self.percentiles.iter().find(|point| point.quantile == quantile).map(|point| point.ns)
    }
}

impl CaseCost {
    /// System calls per message, all names together.
    pub(crate) fn syscalls_total(&self) -> Option<f64> {
        let rates = self.syscalls_per_message.value()?;
        Some(rates.iter().map(|rate| rate.per_message).sum())
    }
}
