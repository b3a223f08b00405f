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
    /// Whether it needs something that the kernel may not have, or may not give.
    pub optional: bool,
}

impl Server {
    /// Whether it is the plain form of its package, without which no comparison is complete.
    pub fn is_plain(&self) -> bool {
        self.name == self.package
    }

    /// Why it cannot run here, if it is one that may not be able to: its own words when `command`, which
    /// says no address, has started it.
    pub fn unavailable(&self, command: &mut Command) -> Option<String> {
        if !self.optional {
            return None;
        }
        let started = Process::start(command.args(["--addr", "127.0.0.1:0"]));
        started.err().map(|error| error.to_string())
    }
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

impl Traits {
    /// A server without limits of its own. What is assumed of a server that is not in the catalogue.
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
    Server { name, package, args, traits, variant: false, optional: false }
}

/// Another form of a model: in every conformance suite, and in comparisons that name it.
const fn variant(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, variant: true, optional: false }
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
    model("threadpool-readiness", "threadpool",
        &["--workers", "4", "--hand-off", "readiness"], READINESS),
    Server {
        optional: true, // io_uring.
        ..model("uring-completion", "uring-completion", &[], READINESS)
    },
];

/// The servers that echo datagrams: in the suite's cases about those, and in no comparison.
#[rustfmt::skip] // One line for each, to be read as the table that it is.
pub const DATAGRAM_SERVERS: &[Server] = &[
    variant("blocking-udp", "blocking", &["--udp"], READINESS),
    variant("epoll-selector-udp", "epoll-selector", &["--udp"], READINESS),
    variant("epoll-selector-oneshot-udp", "epoll-selector",
        &["--udp", "--selector", "polling", "--trigger", "oneshot"], READINESS),
];

/// The entries of one package.
pub fn of_package(package: &str) -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(move |server| server.package == package)
}
