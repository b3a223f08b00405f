//! A case: one promise of the contract, and how to test whether a server keeps it.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit};
use server_process::address::Transport;
use server_process::catalogue::Concurrency;

use crate::stage::{NO_LOCAL_PORT, Stage};
use crate::subject::Subject;
use crate::verdict::{Failure, Trouble, Verdict};

/// Descriptors of this process that a case may use, besides the sockets of its clients.
const DESCRIPTOR_RESERVE: u64 = 256;

/// One promise of the contract, as a test.
#[derive(Clone, Copy)]
pub struct Case {
    /// The behaviour that the case protects. It is the name of the test, and does not change.
    pub name: &'static str,
    /// What the contract says, in one line.
    pub says: &'static str,
    /// The usual mistake of a server that fails.
    pub mistake: &'static str,
    /// What the author of such a server can do.
    pub hint: &'static str,
    /// What the case needs to make sense.
    pub(crate) needs: &'static [Need],
    /// The test.
    pub(crate) run: fn(&Stage) -> Verdict,
}

/// What a case needs of a server or of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A process that the suite has started: it can signal it, limit it and read its /proc.
    Process,
    /// The command line, the output and the exit status of the contract.
    Contract,
    /// This number of clients served at the same time.
    Clients(usize),
    /// A limit of the clients served at the same time.
    ConcurrencyLimit,
    /// A first descriptor number that the server cannot serve.
    DescriptorCeiling,
    /// A server that sleeps while it has nothing to do.
    Sleeps,
    /// A cost of a message that does not grow with the number of idle clients.
    ScansNothing,
    /// This number of descriptors for the clients.
    Descriptors(u64),
    /// TCP: a Unix-domain socket has no port and no reset.
    Tcp,
}

impl Need {
    /// Why the need is not met. `None` when it is met.
    pub(crate) fn unmet(self, subject: &Subject) -> Option<String> {
        let traits = &subject.traits;
        let (met, why) = match self {
            Need::Process => (
                subject.is_process() && cfg!(target_os = "linux"),
                "the suite must have started the server, on Linux: check -- COMMAND".to_owned(),
            ),
            Need::Contract => (
                subject.keeps_contract(),
                "the server must take the options of the contract: check --contract".to_owned(),
            ),
            Need::Clients(count) => (
                traits.concurrency.allows(count),
                format!("the server serves {} at a time, too few", traits.concurrency),
            ),
            Need::ConcurrencyLimit => (
                traits.concurrency != Concurrency::Unbounded,
                "the server declares no limit of clients at a time".to_owned(),
            ),
            Need::DescriptorCeiling => (
                traits.descriptor_ceiling.is_some(),
                "the server declares no limit of descriptor numbers".to_owned(),
            ),
            Need::Sleeps => (!traits.spins, "the server declares that it spins".to_owned()),
            Need::ScansNothing => (
                !traits.scans,
                "the server declares that it asks about every client for each message".to_owned(),
            ),
            Need::Descriptors(count) => (
                descriptors_allowed() >= count + DESCRIPTOR_RESERVE,
                format!(
                    "the suite needs more descriptors than the {} that `ulimit -n` allows",
                    descriptors_allowed()
                ),
            ),
            Need::Tcp => {
                (subject.transport == Transport::Tcp, "a Unix-domain socket has no port".to_owned())
            }
        };
        (!met).then_some(why)
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server keeps the promise.
    Pass,
    /// The server breaks the promise.
    Fail(Failure),
    /// The case does not apply to this server or this machine, and why.
    NotApplicable(String),
}

impl Case {
    /// Runs the case. Starts servers for it, unless the subject is an address.
    pub fn run(&self, subject: &Subject) -> Outcome {
        if let Some(why) = self.needs.iter().find_map(|need| need.unmet(subject)) {
            return Outcome::NotApplicable(why);
        }
        let stage = Stage::new(subject);
        match (self.run)(&stage) {
            Ok(()) => Outcome::Pass,
            Err(Trouble::NotApplicable(why)) => Outcome::NotApplicable(why),
            Err(Trouble::NoLocalPort) => Outcome::NotApplicable(NO_LOCAL_PORT.to_owned()),
            Err(Trouble::Fails(failure)) => Outcome::Fail(failure),
        }
    }

    /// A failure as pairs of a title and a text, for the person who looks for the mistake. A text may
    /// have several lines.
    pub fn explain(&self, failure: &Failure) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("contract", self.says.to_owned()),
            ("expected", failure.expected.clone()),
            ("seen", failure.seen.clone()),
        ];
        match &failure.cause {
            Some(cause) => {
                rows.push(("cause", cause.headline()));
                rows.extend(cause.last_words().map(|words| ("", words)));
                rows.push(("hint", cause.advice().unwrap_or_else(|| self.hint.to_owned())));
            }
            None => {
                rows.push(("likely", self.mistake.to_owned()));
                rows.push(("hint", self.hint.to_owned()));
            }
        }
        rows
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The number of descriptors that this process may open. Each client needs one.
fn descriptors_allowed() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}
