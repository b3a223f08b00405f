//! The results of a comparison: the model of `report.json`, of the report page and of the tables on
//! the terminal.
//!
//! ```text
//! Results ─┬─ Environment
//!          ├─ ServerInfo …            all servers in the order of the tables, with the A/A control
//!          └─ Scenario … ─┬─ Point …  one value on the scenario's axis, e.g. "900 idle"
//!                         │   └─ Case …   one server: its estimate, comparison, latency and cost
//!                         └─ Fit …    a straight line: how a server's cost grows along the axis
//! ```
//!
//! Every number is finite. A value that was not measured is absent (`null`). A value that could not
//! be measured contains the reason ([`Reading::Unavailable`]). Neither is ever written as 0. A
//! field whose name ends in `_ns` is in nanoseconds. A field whose name ends in `_s` is in seconds.

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

/// Version of the schema of `report.json`. The version rises when a field changes its meaning or is
/// removed.
pub const SCHEMA: u32 = 2;

/// The results of a whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When the run began: seconds since 1970-01-01 UTC.
    pub started_unix_s: u64,
    /// Duration of the run, in seconds.
    pub elapsed_s: f64,
    /// Whether all requested measurements were finished. False after Ctrl-C: the present values are
    /// valid, but some scenarios, points or blocks are missing.
    pub complete: bool,
    /// Whether this was a `--quick` or `--test` run, whose intervals are wide.
    pub quick: bool,
    /// The command line, program name first.
    pub command: Vec<String>,
    /// The seed of every random order and every bootstrap. `--seed` with this value repeats the
    /// order of the run.
    pub seed: u64,
    /// The machine and its state during the run.
    pub environment: Environment,
    /// All servers of the run, in the order of the tables. The position of a server determines its
    /// colour and its marker.
    pub servers: Vec<ServerInfo>,
    /// The scenarios, in the order of their runs.
    pub scenarios: Vec<Scenario>,
}

/// The machine, and possible disturbances of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Kernel name, release and machine from uname(2), e.g. "Linux 6.18.44 x86_64".
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
    /// `net.ipv4.tcp_congestion_control`, e.g. "cubic". Some algorithms pace their segments.
    pub congestion_control: Reading<String>,
    /// The processors of client and server, e.g. "unpinned" or "server on CPU 0, client on CPU 1".
    pub layout: String,
    /// One-minute load average before the run. More than a few tenths means that other programs
    /// ran.
    pub load_before: Reading<f64>,
    /// One-minute load average after the run. This value includes the run itself.
    pub load_after: Reading<f64>,
    /// Share of all processor time of the run that the hypervisor gave to other machines, 0 to 1.
    pub steal_share: Reading<f64>,
    /// Share of all processor time of the run spent in soft interrupts, 0 to 1.
    pub softirq_share: Reading<f64>,
    /// The compiler, as printed by `rustc --version`.
    pub rustc: Reading<String>,
    /// Version of this package.
    pub version: String,
    /// The commit measured, with "+changes" when the tree was not clean.
    pub commit: Reading<String>,
}

/// One server of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The server's name in every table, e.g. "epoll-selector". The control has the name
    /// "epoll-selector (again)".
    pub name: String,
    /// The origin of the server.
    pub origin: Origin,
    /// Program and arguments of the run, with `{addr}` for the address.
    pub command: Vec<String>,
    /// Whether ratios use this server as the reference. A scenario that this server cannot serve
    /// names another reference.
    pub reference: bool,
    /// Whether the server uses CPU time while it has no work.
    pub spins: bool,
    /// Whether the cost of a message grows with the number of idle connections.
    pub scans: bool,
    /// The most clients that the server serves at the same time. `None`: only the descriptor limit
    /// bounds the number.
    pub concurrency: Option<usize>,
}

/// The origin of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// This workspace.
    Workspace,
    /// The reference server a second time, under another name. The control shows the differences
    /// that chance alone causes.
    Control,
    /// `--yardsticks`: bare loops, and typical echo servers on an asynchronous runtime.
    Yardstick,
    /// `--server name='command {addr}'`.
    Given,
}

impl Results {
    /// Returns the server with this name.
    pub(crate) fn server(&self, name: &str) -> Option<&ServerInfo> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Returns all servers except the A/A control.
    pub(crate) fn without_control(&self) -> impl Iterator<Item = &ServerInfo> {
        self.servers.iter().filter(|server| server.origin != Origin::Control)
    }

    /// Returns one line for each failed case.
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
