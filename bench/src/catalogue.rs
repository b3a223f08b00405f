//! The servers of this workspace, and what is true of each.

use std::fmt;
use std::process::Command;

use crate::process::Process;

/// One way to run a server: an entry of the conformance suite and a line of every comparison.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name in reports and filters: the package, and the variant where there are several.
    pub name: &'static str,
    /// The package, and the binary.
    pub package: &'static str,
    /// What makes it this variant; the contract's options come on top.
    pub args: &'static [&'static str],
    /// What the conformance suite is to expect of it.
    pub traits: Traits,
    /// Whether it is another form of a model, and not the model's usual one.
    pub variant: bool,
}

/// Where a server differs from the others on purpose. The suite asserts the limit itself: a server that
/// claims to serve one client at a time must let the second one wait.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// How many clients it serves at the same time; others wait, and are served after.
    pub concurrency: Concurrency,
    /// It burns CPU while it has nothing to do.
    pub spins: bool,
    /// The cost of a message grows with the number of idle connections.
    pub scans: bool,
    /// Descriptors numbered from here on cannot be served (FD_SETSIZE of select(2)).
    pub descriptor_ceiling: Option<usize>,
    /// What serves one client, and so what a client costs in memory.
    pub per_client: PerClient,
    /// A part of the kernel that it needs, and that may be missing or forbidden. The server then says that
    /// this `is not available`, and ends before it listens; suites and benches leave it out, and say why.
    pub needs: Option<&'static str>,
}

/// How many clients are served at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as `--max-connections` allows.
    Unbounded,
    /// This many.
    AtMost(usize),
}

impl Concurrency {
    /// Whether `count` clients can be served at the same time.
    pub fn allows(self, count: usize) -> bool {
        match self {
            Concurrency::Unbounded => true,
            Concurrency::AtMost(limit) => count <= limit,
        }
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concurrency::Unbounded => f.write_str("any number of clients"),
            Concurrency::AtMost(1) => f.write_str("1 client"),
            Concurrency::AtMost(limit) => write!(f, "{limit} clients"),
        }
    }
}

/// What a connected client occupies in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerClient {
    /// An entry in a table: some hundred bytes.
    Entry,
    /// A thread of its own.
    Thread,
    /// A process of its own.
    Process,
}

/// A server without limits of its own: a loop over readiness.
const READINESS: Traits = Traits {
    concurrency: Concurrency::Unbounded,
    spins: false,
    scans: false,
    descriptor_ceiling: None,
    per_client: PerClient::Entry,
    needs: None,
};

/// A server that asks about every client on every turn.
const SCANNING: Traits = Traits { scans: true, ..READINESS };

/// A server that asks even when there is nothing to do.
const SPINNING: Traits = Traits { spins: true, ..SCANNING };

/// A server whose four workers serve one client each.
const FOUR_WORKERS: Traits = Traits { concurrency: Concurrency::AtMost(4), ..READINESS };

/// A model's usual form: in every comparison.
const fn model(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, variant: false }
}

/// Another form of a model: in every conformance suite, and in comparisons that name it.
const fn variant(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, variant: true }
}

/// Every server, in the order of the reports: from the simplest model to the most elaborate.
#[rustfmt::skip] // One line for each, to be read as the table that it is.
pub const SERVERS: &[Server] = &[
    model("blocking-none", "blocking", &["--per-client", "none"],
        Traits { concurrency: Concurrency::AtMost(1), ..READINESS }),
    model("blocking", "blocking", &["--per-client", "thread"],
        Traits { per_client: PerClient::Thread, ..READINESS }),
    variant("blocking-process", "blocking", &["--per-client", "process"],
        Traits { per_client: PerClient::Process, ..READINESS }),
    variant("blocking-prefork", "blocking", &["--per-client", "process", "--prefork", "4"],
        FOUR_WORKERS),
    model("nonblocking", "nonblocking", &["--wait", "spin"], SPINNING),
    variant("nonblocking-yield", "nonblocking", &["--wait", "yield"], SPINNING),
    variant("nonblocking-sleep", "nonblocking", &["--wait", "sleep:50us"], SPINNING),
    model("select", "select", &["--call", "select"],
        Traits { descriptor_ceiling: Some(1024), ..SCANNING }),
    variant("select-poll", "select", &["--call", "poll"], SCANNING),
    model("epoll-selector", "epoll-selector", &[], READINESS),
    variant("epoll-selector-level", "epoll-selector",
        &["--selector", "polling", "--trigger", "level"], READINESS),
    variant("epoll-selector-edge", "epoll-selector",
        &["--selector", "polling", "--trigger", "edge"], READINESS),
    variant("epoll-selector-oneshot", "epoll-selector",
        &["--selector", "polling", "--trigger", "oneshot"], READINESS),
    variant("epoll-selector-loops", "epoll-selector",
        &["--loops", "2", "--accept", "shared"], READINESS),
    variant("epoll-selector-exclusive", "epoll-selector",
        &["--loops", "2", "--accept", "exclusive"], READINESS),
    variant("epoll-selector-reuseport", "epoll-selector",
        &["--loops", "2", "--accept", "reuseport"], READINESS),
    model("threadpool", "threadpool", &["--workers", "4"], FOUR_WORKERS),
    variant("threadpool-readiness", "threadpool",
        &["--workers", "4", "--hand-off", "readiness"], READINESS),
    model("uring-completion", "uring-completion", &[],
        Traits { needs: Some("io_uring"), ..READINESS }),
];

impl Traits {
    /// Why a server with these traits cannot run on this machine, in its own words; `None` if it can, as
    /// far as `command`, which starts it and is tried out once, can tell.
    pub fn unavailable(&self, command: &mut Command) -> Option<String> {
        let needs = self.needs?;
        let complaint = Process::start(command).err()?.to_string();
        let reason = complaint.find(&format!("{needs} is not available"))?;
        Some(complaint[reason..].trim_end().to_owned())
    }
}

/// The servers of every comparison: one for each model.
pub fn models() -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(|server| !server.variant)
}

/// The entries of one package.
pub fn of_package(package: &str) -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(move |server| server.package == package)
}
