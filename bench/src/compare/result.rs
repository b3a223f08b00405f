//! What a comparison found: the model behind `report.json`, the report page and the terminal's
//! tables.
//!
//! ```text
//! Results ─┬─ Environment
//!          ├─ ServerInfo …            every server, in the order of every table, the A/A control included
//!          └─ Scenario … ─┬─ Point …  one value on the scenario's axis, e.g. "900 idle"
//!                         │   └─ Case …   one server there: its estimate, comparison, latency and cost
//!                         └─ Fit …    the law that a server's cost follows along the axis
//! ```
//!
//! Every number is finite. What was not measured is absent (`null`), and what could not be measured
//! says why ([`Reading::Unavailable`]); neither is ever written as 0. Times are in nanoseconds
//! where a field's name ends in `_ns` and in seconds where it ends in `_s`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cost::Reading;
use crate::statistics::{Estimate, Verdict};

/// Version of the schema of `report.json`: raised when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 2;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When the run began: seconds since 1970-01-01 UTC.
    pub started_unix_s: u64,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// Whether everything that was asked for was finished. False after Ctrl-C: what is here is
    /// valid, but some scenarios, points or blocks are missing.
    pub complete: bool,
    /// Whether this was a `--quick` or `--test` run, whose intervals are wide.
    pub quick: bool,
    /// The command line, program name first.
    pub command: Vec<String>,
    /// The seed of every random order and every bootstrap: `--seed` with it repeats the order of
    /// the run.
    pub seed: u64,
    /// The machine and its state.
    pub environment: Environment,
    /// Every server that took part, in the order of the tables. The position is the server's
    /// identity for colours and markers.
    pub servers: Vec<ServerInfo>,
    /// The scenarios, in the order they were run.
    pub scenarios: Vec<Scenario>,
}

/// The machine, and what could have disturbed the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Kernel name, release and machine, as uname(2) has them, e.g. "Linux 6.18.44 x86_64".
    pub kernel: String,
    /// The processor's name.
    pub cpu_model: Reading<String>,
    /// Number of processors this process may run on.
    pub cpus: usize,
    /// Main memory, in bytes.
    pub memory_bytes: Reading<u64>,
    /// Soft limit of open descriptors for a process (RLIMIT_NOFILE).
    pub descriptor_limit: u64,
    /// `net.core.somaxconn`: the longest accept queue.
    pub somaxconn: Reading<u64>,
    /// `net.ipv4.tcp_congestion_control`, e.g. "cubic": some pace what they send.
    pub congestion_control: Reading<String>,
    /// Where client and server ran, e.g. "unpinned" or "server on CPU 0, client on CPU 1".
    pub layout: String,
    /// One-minute load average before the run: more than a few tenths means that something else
    /// ran.
    pub load_before: Reading<f64>,
    /// One-minute load average after the run, which includes the run itself.
    pub load_after: Reading<f64>,
    /// Share of all processor time over the whole run that the hypervisor kept for others, 0 to 1.
    pub steal_share: Reading<f64>,
    /// Share of all processor time over the whole run spent in soft interrupts, 0 to 1.
    pub softirq_share: Reading<f64>,
    /// The compiler, as `rustc --version` has it.
    pub rustc: Reading<String>,
    /// Version of this package.
    pub version: String,
    /// The commit measured, with "+changes" when the tree was not clean.
    pub commit: Reading<String>,
}

/// One server of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Its name in every table, e.g. "epoll-selector", or "epoll-selector (again)" for the control.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Program and arguments as they were run, the address as `{addr}`.
    pub command: Vec<String>,
    /// Whether ratios are taken to this server (a scenario it cannot serve names another).
    pub reference: bool,
    /// It burns CPU while it has nothing to do.
    pub spins: bool,
    /// The cost of a message grows with the number of idle connections.
    pub scans: bool,
    /// The most clients it serves at the same time; `None`: as many as descriptors allow.
    pub concurrency: Option<usize>,
}

/// Where a server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// This workspace.
    Workspace,
    /// The reference server a second time, under another name: it shows what difference pure chance
    /// makes.
    Control,
    /// `--yardsticks`: what a reader would write with an asynchronous runtime.
    Yardstick,
    /// `--server name='command {addr}'`.
    Given,
}

/// One question, and what was measured to answer it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in filters, e.g. "idle_herd".
    pub name: String,
    /// The question it answers, in one sentence.
    pub question: String,
    /// How it was measured.
    pub method: Method,
    /// What varies from point to point.
    pub axis: Axis,
    /// What is compared.
    pub metric: Metric,
    /// The server that ratios are taken to.
    pub reference: String,
    /// The points, in ascending order of [`Point::x`].
    pub points: Vec<Point>,
    /// How the cost of each server grows along the axis, where the scenario asks that.
    pub fits: Vec<Fit>,
    /// What to know when reading the figures, e.g. a contaminated run. One sentence each.
    pub notes: Vec<String>,
}

/// How a scenario was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    /// The method in a sentence or two, with its durations.
    pub text: String,
    /// Passes over all scenarios that the blocks were divided among.
    pub passes: usize,
    /// Wall-clock time the scenario took, in seconds.
    pub elapsed_s: f64,
}

/// How servers take turns, so that a change of the machine's speed hits all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Interleaving {
    /// All servers live and connected, all but one stopped (SIGSTOP); short slices in shuffled
    /// rounds. A block is one round.
    Slices {
        /// Rounds: each server had one slice in each.
        rounds: usize,
        /// Length of a slice, in nanoseconds, its warm-up included.
        slice_ns: u64,
        /// The part at a slice's start that does not count, in nanoseconds.
        warm_up_ns: u64,
    },
    /// Randomised complete blocks: in each, every server ran once, in a fresh process, in shuffled
    /// order.
    Blocks {
        /// Blocks.
        blocks: usize,
        /// Measured time of one run, in nanoseconds.
        run_ns: u64,
        /// Warm-up before it, in nanoseconds.
        warm_up_ns: u64,
    },
}

impl Interleaving {
    /// Whether turns have the same length and warm-up as those of `other`. The length of a turn changes
    /// the figures by itself, so points with different turns are neither compared nor joined by a line.
    pub fn is_like(self, other: Interleaving) -> bool {
        use Interleaving::{Blocks, Slices};
        match (self, other) {
            (
                Slices { slice_ns, warm_up_ns, .. },
                Slices { slice_ns: length, warm_up_ns: start, .. },
            ) => (slice_ns, warm_up_ns) == (length, start),
            (
                Blocks { run_ns, warm_up_ns, .. },
                Blocks { run_ns: length, warm_up_ns: start, .. },
            ) => (run_ns, warm_up_ns) == (length, start),
            _ => false,
        }
    }
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: &u64| ns / 1_000_000;
        match self {
            Interleaving::Slices { rounds, slice_ns, warm_up_ns } => write!(
                f,
                "all servers live and connected, all but one stopped; {rounds} shuffled rounds of \
                 slices of {} ms, the first {} ms of each not counted",
                ms(slice_ns),
                ms(warm_up_ns)
            ),
            Interleaving::Blocks { blocks, run_ns, warm_up_ns } => {
                let run = ms(run_ns);
                write!(f, "{blocks} randomised complete blocks, a fresh process for each run")?;
                match ms(warm_up_ns) {
                    0 => write!(f, " of at most {run} ms"),
                    warm_up => write!(f, " of {run} ms after {warm_up} ms that do not count"),
                }
            }
        }
    }
}

/// What varies from point to point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Its name for a chart, e.g. "idle connections".
    pub name: String,
    /// Its unit, e.g. "connections", "bytes", "messages/s"; empty when it is a pure number.
    pub unit: String,
    /// Whether a logarithmic axis suits it. Zero can still occur (no idle connections).
    pub log: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Messages echoed per second; more is better.
    MessagesPerSecond,
    /// Payload bytes echoed per second, counted once; more is better.
    BytesPerSecond,
    /// Median time from sending a message (in an open loop: from when it was to be sent) to having it
    /// back, in nanoseconds; less is better. The tail is in [`Case::latency`]: on a machine that is
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

/// One value on a scenario's axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Where it is on the axis.
    pub x: f64,
    /// The same as text, e.g. "900 idle" or "4 KiB".
    pub label: String,
    /// How the servers took turns here.
    pub interleaving: Interleaving,
    /// The A/A control here: the reference server against itself. No difference within `low ..=
    /// high` of 1 is claimed. `None` when the control could not be measured (then nothing is
    /// ranked).
    pub noise_floor: Option<Estimate>,
    /// One entry for each server of the run, in the order of [`Results::servers`].
    pub cases: Vec<Case>,
}

/// One server at one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// [`ServerInfo::name`].
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

/// A straight line through a server's points: `y = intercept + slope · x`, where x is the axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// [`ServerInfo::name`].
    pub server: String,
    /// What grows, e.g. "server CPU per message".
    pub quantity: String,
    /// Unit of the slope, e.g. "ns per message and idle connection".
    pub unit: String,
    /// Growth per unit of the axis.
    pub slope: f64,
    /// Lower end of the slope's 95 % interval; `None` in a report that was written without intervals.
    pub slope_low: Option<f64>,
    /// Upper end of the slope's 95 % interval; `None` in a report that was written without intervals.
    pub slope_high: Option<f64>,
    /// The value at 0.
    pub intercept: f64,
    /// Share of the variation that the line explains, 0 to 1. Meaningless where the slope is about
    /// 0.
    pub r_squared: f64,
    /// Number of points in the line.
    pub points: usize,
    /// x of each point that is not in the line, since it would decide the slope alone or since the
    /// servers took turns there in another way.
    #[serde(default)]
    pub left_out: Vec<f64>,
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

impl Latency {
    /// The latency at a quantile of the curve, if it is one of its points.
    pub fn at(&self, quantile: f64) -> Option<u64> {
        self.percentiles.iter().find(|point| point.quantile == quantile).map(|point| point.ns)
    }
}

impl CaseCost {
    /// System calls per message, all names together.
    pub fn syscalls_total(&self) -> Option<f64> {
        let rates = self.syscalls_per_message.value()?;
        Some(rates.iter().map(|rate| rate.per_message).sum())
    }
}
