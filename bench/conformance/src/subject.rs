//! What is being checked: a server of ours, anyone's command, or an address.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, SockAddr};

use crate::case::Trouble;
use crate::pattern::Pattern;
use crate::stage::Stage;
use server_process::catalogue::{Concurrency, PerClient, Server, Traits};

/// How long the suite waits for a server to do what it should, unless told otherwise. It is some
/// thousand times what loopback needs, so that a busy machine fails nobody.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A server to be checked, and what is true of it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in reports.
    pub name: String,
    /// How to get at it.
    pub access: Access,
    /// What to expect of it.
    pub traits: Traits,
    /// What the clients send is made from this, and so is every random choice.
    pub seed: u64,
    /// How long to wait for a server to do what it should.
    pub patience: Duration,
    /// What a server that we start is told to listen on.
    pub transport: Transport,
    /// It takes datagrams (UDP) instead of connections.
    pub datagrams: bool,
    pattern: Pattern,
}

/// How to get at a server.
#[derive(Clone, Debug)]
pub enum Access {
    /// A command that keeps the contract: it takes the contract's options behind these words, and says
    /// where it listens.
    Contract(Vec<String>),
    /// Anyone's command; `{addr}`, or `{host}` and `{port}`, stand for where it is to listen.
    Command(Vec<String>),
    /// It runs already, and we know nothing but where.
    Address(Address),
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP on 127.0.0.1.
    #[default]
    Tcp,
    /// A stream socket in the file system (unix(7)), in a directory for temporary files.
    Unix,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// HOST:PORT.
    Tcp(SocketAddr),
    /// A stream socket in the file system: `unix:/path`.
    Unix(PathBuf),
}

impl Subject {
    /// A server about which nothing is known but how to get at it.
    pub fn new(name: impl Into<String>, access: Access, seed: u64) -> Subject {
        let traits = Traits {
            concurrency: Concurrency::Unbounded,
            spins: false,
            scans: false,
            descriptor_ceiling: None,
            per_client: PerClient::Entry,
        };
        let pattern = Pattern::new(seed);
        Subject {
            name: name.into(),
            access,
            traits,
            seed,
            patience: PATIENCE,
            transport: Transport::Tcp,
            datagrams: false,
            pattern,
        }
    }

    /// A server of the catalogue, run from `executable`.
    pub fn of_catalogue(server: &Server, executable: &Path, seed: u64) -> Subject {
        let mut words = vec![executable.display().to_string()];
        words.extend(server.args.iter().map(|&word| word.to_owned()));
        let access = Access::Contract(words);
        Subject { traits: server.traits, ..Subject::new(server.name, access, seed) }
    }

    /// What its clients send.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether its process is ours to signal.
    pub fn is_process(&self) -> bool {
        !matches!(self.access, Access::Address(_))
    }

    /// Whether it takes the contract's options.
    pub fn keeps_contract(&self) -> bool {
        matches!(self.access, Access::Contract(_))
    }

    /// Whether it listens on a socket in the file system.
    pub fn is_unix_socket(&self) -> bool {
        match &self.access {
            Access::Address(addr) => matches!(addr, Address::Unix(_)),
            _ => self.transport == Transport::Unix,
        }
    }

    /// `count`, or the number of clients it serves at the same time if that is less.
    pub fn at_most(&self, count: usize) -> usize {
        match self.traits.concurrency {
            Concurrency::AtMost(limit) => limit.min(count),
            Concurrency::Unbounded => count,
        }
    }

    /// Finds out whether there is a server to be checked at all.
    ///
    /// # Errors
    ///
    /// Why there is none, in a line: it does not start, or does not take a connection.
    pub fn probe(&self) -> Result<(), String> {
        let stage = Stage::new(self);
        // Without connections, whether anybody is there is what the cases find out.
        let takes_a_client = |server: crate::Server| {
            if self.datagrams { Ok(()) } else { server.connect().map(drop) }
        };
        match stage.start().and_then(takes_a_client) {
            Ok(()) => Ok(()),
            Err(Trouble::NotApplicable(why)) => Err(why),
            Err(Trouble::Fails { seen, .. }) => Err(seen),
        }
    }

    /// What to tell a server that keeps the contract and may listen anywhere.
    pub(crate) fn free_address(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        match self.transport {
            Transport::Tcp => "127.0.0.1:0".to_owned(),
            Transport::Unix => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("check-{}-{number}.sock", std::process::id());
                format!("unix:{}", std::env::temp_dir().join(name).display())
            }
        }
    }

    /// The command line of a server that keeps the contract, with `options` behind its own words.
    pub(crate) fn contract_command(&self, options: &[String]) -> Option<Command> {
        let Access::Contract(words) = &self.access else { return None };
        let (program, words) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(words).args(options);
        Some(command)
    }
}

impl Address {
    /// As the kernel wants it.
    ///
    /// # Errors
    ///
    /// When the path is longer than a Unix socket's may be.
    pub fn to_sock_addr(&self) -> std::io::Result<SockAddr> {
        match self {
            Address::Tcp(addr) => Ok(SockAddr::from(*addr)),
            Address::Unix(path) => SockAddr::unix(path),
        }
    }

    /// The family of sockets that can connect to it.
    pub fn domain(&self) -> Domain {
        match self {
            Address::Tcp(addr) => Domain::for_address(*addr),
            Address::Unix(_) => Domain::UNIX,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Address::Unix(PathBuf::from(path))),
            _ => text
                .parse()
                .map(Address::Tcp)
                .map_err(|_| "expected IPV4:PORT, [IPV6]:PORT or unix:/PATH".to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Descriptors that this process may open: our side of every connection takes one.
pub(crate) fn descriptors_allowed() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Raises the soft limit of descriptors to the hard one, as getrlimit(2) allows anyone to. The servers
/// that we start inherit it.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it fails, cases that need many descriptors are not applicable, and say so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
