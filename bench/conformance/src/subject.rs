//! What is being checked: a server of ours, anyone's command, or an address.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use server_process::address::{Address, Transport};
use server_process::catalogue::{Concurrency, Server, Traits};

use crate::pattern::Pattern;

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
    /// What carries the bytes: that of the address, or what a server that we start is told.
    pub transport: Transport,
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

impl Subject {
    /// A server about which nothing is known but how to get at it.
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
            patience: PATIENCE,
            transport,
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
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether its process is ours to signal.
    pub(crate) fn is_process(&self) -> bool {
        !matches!(self.access, Access::Address(_))
    }

    /// Whether it takes the contract's options.
    pub(crate) fn keeps_contract(&self) -> bool {
        matches!(self.access, Access::Contract(_))
    }

    /// `count`, or the number of clients it serves at the same time if that is less.
    pub(crate) fn at_most(&self, count: usize) -> usize {
        match self.traits.concurrency {
            Concurrency::AtMost(limit) => limit.min(count),
            Concurrency::Unbounded => count,
        }
    }

    /// What to tell a server that keeps the contract and may listen anywhere.
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

    /// The command line of a server that keeps the contract, with `options` behind its own words.
    pub(crate) fn contract_command(&self, options: &[String]) -> Option<Command> {
        let Access::Contract(words) = &self.access else { return None };
        let (program, words) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(words).args(options);
        Some(command)
    }
}
