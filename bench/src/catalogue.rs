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
    /// Cases of the conformance suite that it does not pass on purpose, each with the reason.
    pub except: &'static [(&'static str, &'static str)],
}

impl Server {
    /// Whether it is the plain form of its package, without which no comparison is complete.
    pub fn is_plain(&self) -> bool {
        self.name == self.package
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

/// A server without limits of its own: a loop over readiness.
const READINESS: Traits = Traits {
    concurrency: Concurrency::Unbounded,
    spins: false,
    scans: false,
    descriptor_ceiling: None,
    per_client: PerClient::Entry,
};

/// Workers of the `threadpool` entries, and preforked processes.
const WORKERS: usize = 4;

/// A server that keeps every promise.
const fn server(
    name: &'static str,
    package: &'static str,
    args: &'static [&'static str],
    traits: Traits,
) -> Server {
    Server { name, package, args, traits, except: &[] }
}

/// Every server, in the order of the reports: from the simplest model to the most elaborate. The one
/// that has the package's name is its plain form.
pub const SERVERS: &[Server] = &[
    server(
        "blocking-none",
        "blocking",
        &["--per-client", "none"],
        Traits { concurrency: Concurrency::AtMost(1), ..READINESS },
    ),
    server(
        "blocking",
        "blocking",
        &["--per-client", "thread"],
        Traits { per_client: PerClient::Thread, ..READINESS },
    ),
    server(
        "blocking-process",
        "blocking",
        &["--per-client", "process"],
        Traits { per_client: PerClient::Process, ..READINESS },
    ),
    server(
        "blocking-prefork",
        "blocking",
        &["--per-client", "process", "--prefork", "4"],
        Traits { concurrency: Concurrency::AtMost(WORKERS), ..READINESS },
    ),
    server(
        "nonblocking",
        "nonblocking",
        &["--wait", "spin"],
        Traits { spins: true, scans: true, ..READINESS },
    ),
    server(
        "nonblocking-yield",
        "nonblocking",
        &["--wait", "yield"],
        Traits { spins: true, scans: true, ..READINESS },
    ),
    server(
        "nonblocking-sleep",
        "nonblocking",
        &["--wait", "sleep:50us"],
        Traits { spins: true, scans: true, ..READINESS },
    ),
    server(
        "select",
        "select",
        &["--call", "select"],
        Traits { scans: true, descriptor_ceiling: Some(1024), ..READINESS },
    ),
    server("select-poll", "select", &["--call", "poll"], Traits { scans: true, ..READINESS }),
    server("epoll-selector", "epoll-selector", &[], READINESS),
    server(
        "epoll-selector-level",
        "epoll-selector",
        &["--selector", "polling", "--trigger", "level"],
        READINESS,
    ),
    server(
        "epoll-selector-edge",
        "epoll-selector",
        &["--selector", "polling", "--trigger", "edge"],
        READINESS,
    ),
    server(
        "epoll-selector-oneshot",
        "epoll-selector",
        &["--selector", "polling", "--trigger", "oneshot"],
        READINESS,
    ),
    server("epoll-selector-loops", "epoll-selector", &["--loops", "2"], READINESS),
    server(
        "epoll-selector-exclusive",
        "epoll-selector",
        &["--loops", "2", "--accept", "exclusive"],
        READINESS,
    ),
    Server {
        name: "epoll-selector-reuseport",
        package: "epoll-selector",
        args: &["--loops", "2", "--accept", "reuseport"],
        traits: READINESS,
        except: &[(
            "address_in_use_is_one_clear_line",
            "SO_REUSEPORT lets several servers share an address: that is what it is for",
        )],
    },
    server(
        "threadpool",
        "threadpool",
        &["--workers", "4", "--hand-off", "connection"],
        Traits { concurrency: Concurrency::AtMost(WORKERS), ..READINESS },
    ),
    server(
        "threadpool-readiness",
        "threadpool",
        &["--workers", "4", "--hand-off", "readiness"],
        READINESS,
    ),
];

/// The entries of one package.
pub fn of_package(package: &str) -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(move |server| server.package == package)
}
