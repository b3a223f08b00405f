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

mod case;
mod files;
mod metric;
mod scenario;
use serde::{Deserialize, Serialize};

pub use crate::cost::Reading;

pub(crate) use case::NOT_ASKED_FOR;
pub use case::{
    Case, CaseCost, Comparison, Latency, LatencyKind, LoadInfo, Outcome, Percentile, SyscallRate,
};
pub use metric::Metric;
pub use scenario::{Axis, Fit, Interleaving, Method, Point, Scenario};

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
    pub kernel: Reading<String>,
    /// The processor's name.
    pub cpu_model: Reading<String>,
    /// Number of processors this process may run on.
    pub cpus: Reading<usize>,
    /// Main memory, in bytes.
    pub memory_bytes: Reading<u64>,
    /// Soft limit of open descriptors for a process (RLIMIT_NOFILE).
    pub descriptor_limit: Reading<u64>,
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

impl Results {
    /// The server of this name.
    pub(crate) fn server(&self, name: &str) -> Option<&ServerInfo> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Every server but the A/A control.
    pub(crate) fn without_control(&self) -> impl Iterator<Item = &ServerInfo> {
        self.servers.iter().filter(|server| server.origin != Origin::Control)
    }

    /// One line for each case that was tried and failed.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for scenario in &self.scenarios {
            for point in &scenario.points {
                for case in &point.cases {
                    if let Outcome::Failed(reason) = &case.outcome {
                        let (name, server, label) = (&scenario.name, &case.server, &point.label);
                        failures.push(format!("{name}/{server}/{label}: {reason}"));
                    }
                }
            }
        }
        failures
    }
}
