//! The servers of this workspace, and what is true of each.

use std::fmt;

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

/// A server without limits of its own: a loop over readiness.
const READINESS: Traits = Traits {
    concurrency: Concurrency::Unbounded,
    spins: false,
    scans: false,
    descriptor_ceiling: None,
    per_client: PerClient::Entry,
};

/// Workers of the `threadpool` entry.
const POOL_WORKERS: usize = 4;

/// Every server, in the order of the reports: from the simplest model to the most elaborate.
pub const SERVERS: &[Server] = &[
    Server {
        name: "blocking-none",
        package: "blocking",
        args: &["--per-client", "none"],
        traits: Traits { concurrency: Concurrency::AtMost(1), ..READINESS },
    },
    Server {
        name: "blocking",
        package: "blocking",
        args: &["--per-client", "thread"],
        traits: Traits { per_client: PerClient::Thread, ..READINESS },
    },
    Server {
        name: "nonblocking",
        package: "nonblocking",
        args: &["--wait", "spin"],
        traits: Traits { spins: true, scans: true, ..READINESS },
    },
    Server {
        name: "select",
        package: "select",
        args: &[],
        traits: Traits { scans: true, descriptor_ceiling: Some(1024), ..READINESS },
    },
    Server { name: "epoll-selector", package: "epoll-selector", args: &[], traits: READINESS },
    Server {
        name: "threadpool",
        package: "threadpool",
        args: &["--workers", "4"],
        traits: Traits { concurrency: Concurrency::AtMost(POOL_WORKERS), ..READINESS },
    },
];

/// The entries of one package.
pub fn of_package(package: &str) -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(move |server| server.package == package)
}
