//! The servers of this workspace, and the traits of each.

use std::fmt;
use std::process::Command;

use crate::process::Process;

/// One way to run a server: an entry of the conformance suite and a line of every comparison.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name in reports and filters: the package, and the variant where there are several.
    pub name: &'static str,
    /// The name of the package, which is the name of the binary too.
    pub package: &'static str,
    /// The options that select this variant. Options of the contract follow them.
    pub args: &'static [&'static str],
    /// What the conformance suite expects of the server.
    pub traits: Traits,
    /// Whether this is another form of a model, not its usual form.
    pub variant: bool,
    /// Whether the server needs a facility that the kernel may lack or refuse, such as io_uring.
    pub optional: bool,
}

impl Server {
    /// Whether this is the plain form of its package: the form that bears the package's name.
    pub fn is_plain(&self) -> bool {
        self.name == self.package
    }

    /// Why an optional server cannot run here: the error of starting `command`, to which this adds an
    /// address. `None` when the server runs, or is not optional.
    pub fn unavailable(&self, command: &mut Command) -> Option<String> {
        if !self.optional {
            return None;
        }
        let started = Process::start(command.args(["--addr", "127.0.0.1:0"]));
        started.err().map(|error| error.to_string())
    }
}

/// How a server differs from other servers on purpose. The suite tests each limit itself: when a server
/// declares that it serves one client at a time, the second client must wait.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// How many clients the server serves at the same time. More clients wait, and are served later.
    pub concurrency: Concurrency,
    /// The server burns CPU while it has nothing to do.
    pub spins: bool,
    /// The cost of a message grows with the number of idle connections.
    pub scans: bool,
    /// The first descriptor number that the server cannot serve (FD_SETSIZE of select(2)).
    pub descriptor_ceiling: Option<usize>,
    /// What the server keeps for each client. It decides what a client costs in memory.
    pub per_client: PerClient,
}

/// How many clients are served at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as `--max-connections` allows.
    Unbounded,
    /// At most this number.
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

/// What a server keeps for each connected client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerClient {
    /// An entry in a table: some hundred bytes.
    Entry,
    /// A thread.
    Thread,
    /// A process.
    Process,
}

impl Traits {
    /// A server that no limit of its model binds. Assumed for a server that is not in the catalogue.
    pub const UNLIMITED: Traits = Traits {
        concurrency: Concurrency::Unbounded,
        spins: false,
        scans: false,
        descriptor_ceiling: None,
        per_client: PerClient::Entry,
    };
}

/// A loop over readiness.
const READINESS: Traits = Traits::UNLIMITED;

/// A server that asks the kernel about every client on every turn.
const SCANNING: Traits = Traits { scans: true, ..READINESS };

/// A server that asks without a pause, also when there is nothing to do.
const SPINNING: Traits = Traits { spins: true, ..SCANNING };

/// A server whose four workers serve one client each.
const FOUR_WORKERS: Traits = Traits { concurrency: Concurrency::AtMost(4), ..READINESS };

/// The usual form of a model: part of every comparison.
const fn model(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, variant: false, optional: false }
}

/// Another form of a model: part of the conformance suite, and of comparisons that ask for it.
const fn variant(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, variant: true, optional: false }
}

/// Every server, in the order of the reports: from the simplest model to the most elaborate.
#[rustfmt::skip] // A table: one line for each server.
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
    variant("epoll-selector-poll", "epoll-selector", &["--selector", "poll"], SCANNING),
    variant("epoll-selector-loops", "epoll-selector",
        &["--loops", "2", "--accept", "shared"], READINESS),
    variant("epoll-selector-exclusive", "epoll-selector",
        &["--loops", "2", "--accept", "exclusive"], READINESS),
    variant("epoll-selector-reuseport", "epoll-selector",
        &["--loops", "2", "--accept", "reuseport"], READINESS),
    model("threadpool", "threadpool", &["--workers", "4"], FOUR_WORKERS),
    model("threadpool-readiness", "threadpool",
        &["--workers", "4", "--hand-off", "readiness"], READINESS),
    model("signal-driven", "signal-driven", &[], READINESS),
    variant("signal-driven-signalfd", "signal-driven", &["--take", "signalfd"], READINESS),
    model("async-await", "async-await", &[], READINESS),
    variant("async-await-shared", "async-await", &["--buffer", "shared"], READINESS),
    variant("async-await-threads", "async-await", &["--threads", "4"], READINESS),
    variant("async-await-shared-threads", "async-await",
        &["--buffer", "shared", "--threads", "4"], READINESS),
    Server {
        optional: true, // io_uring.
        ..model("uring-completion", "uring-completion", &[], READINESS)
    },
];

/// The servers that echo datagrams: part of the suite's cases about datagrams, and of no comparison.
#[rustfmt::skip] // A table: one line for each server.
pub const DATAGRAM_SERVERS: &[Server] = &[
    variant("blocking-udp", "blocking", &["--udp"], READINESS),
    variant("epoll-selector-udp", "epoll-selector", &["--udp"], READINESS),
    variant("epoll-selector-oneshot-udp", "epoll-selector",
        &["--udp", "--selector", "polling", "--trigger", "oneshot"], READINESS),
];

/// The entries of one package in [`SERVERS`].
pub fn of_package(package: &str) -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(move |server| server.package == package)
}
