//! The server under test: a server of the catalogue, any command, or an address.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use server_process::address::{Address, Transport};
use server_process::catalogue::{Concurrency, Server, Traits};

use crate::pattern::Pattern;

/// The default timeout of one answer. An answer over loopback takes less than a ten-thousandth
/// of this time, so a busy machine fails no server.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A server under test, and what is true of it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name in reports.
    pub name: String,
    /// How the suite reaches the server.
    pub access: Access,
    /// How the server differs from others on purpose.
    pub traits: Traits,
    /// The seed of what the clients send, and of every random choice.
    pub seed: u64,
    /// The timeout of one answer.
    pub timeout: Duration,
    /// The transport of the address, or the transport that a server is told to use.
    pub transport: Transport,
    pattern: Pattern,
}

/// How the suite reaches a server.
#[derive(Clone, Debug)]
pub enum Access {
    /// A command that keeps the contract: it takes the contract's options after these words, and prints
    /// the address on which it listens.
    Contract(Vec<String>),
    /// Any command. The suite replaces `{addr}`, or `{host}` and `{port}`, by the address to listen on.
    Command(Vec<String>),
    /// A server that runs already, at this address.
    Address(Address),
}

impl Subject {
    /// A server with no declared limits.
    pub fn new(name: impl Into<String>, access: Access, seed: u64) -> Subject {
        let transport = match &access {
            Access::Address(address) => address.transport(),
            Access::Contract(_) | Access::Command(_) => Transport::Tcp,
        };
        let pattern = Pattern::new(seed);
        Subject {
            name: name.into(),
            access,
            traits: Traits::UNLIMITED,
            seed,
            timeout: TIMEOUT,
            transport,
            pattern,
        }
    }

    /// A server of the catalogue, whose program is `executable`.
    pub fn of_catalogue(server: &Server, executable: &Path, seed: u64) -> Subject {
        let mut words = vec![executable.display().to_string()];
        words.extend(server.args.iter().map(|&word| word.to_owned()));
        let access = Access::Contract(words);
        Subject { traits: server.traits, ..Subject::new(server.name, access, seed) }
    }

    /// The bytes that its clients send.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether the suite starts its process.
    pub(crate) fn is_process(&self) -> bool {
        !matches!(self.access, Access::Address(_))
    }

    /// Whether it takes the options of the contract.
    pub(crate) fn keeps_contract(&self) -> bool {
        matches!(self.access, Access::Contract(_))
    }

    /// `count`, or the number of clients that it serves at the same time if this is less.
    pub(crate) fn at_most(&self, count: usize) -> usize {
        match self.traits.concurrency {
            Concurrency::AtMost(limit) => limit.min(count),
            Concurrency::Unbounded => count,
        }
    }

    /// A free address, as the option `--addr` of the contract takes it.
    pub(crate) fn free_address(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        match self.transport {
            Transport::Tcp | Transport::Udp => "127.0.0.1:0".to_owned(),
            Transport::Unix => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("check-{}-{number}.sock", std::process::id());
                format!("unix:{}", std::env::temp_dir().join(name).display())
            }
        }
    }

    /// The command of a server that keeps the contract, with `options` after its own words.
    pub(crate) fn contract_command(&self, options: &[String]) -> Option<Command> {
        let Access::Contract(words) = &self.access else { return None };
        let (program, words) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(words).args(options);
        Some(command)
    }
}
