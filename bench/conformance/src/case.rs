//! What a case is: one promise of the contract, and how to see whether a server keeps it.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit};
use server_process::address::Transport;
use server_process::catalogue::Concurrency;

use crate::stage::Stage;
use crate::subject::Subject;
use crate::verdict::{Trouble, Verdict};

/// Descriptors of our own that a case may use beside those of its clients.
const DESCRIPTOR_RESERVE: u64 = 256;

/// One promise of the contract, as a test.
#[derive(Clone, Copy)]
pub struct Case {
    /// The behaviour it protects, as a test's name.
    pub name: &'static str,
    /// What the contract says, in one line.
    pub says: &'static str,
    /// What a server that fails usually does wrong.
    pub mistake: &'static str,
    /// Where its author might look.
    pub hint: &'static str,
    /// What must be there for the case to mean anything.
    pub(crate) needs: &'static [Need],
    /// Talks to a server on the stage.
    pub(crate) run: fn(&Stage) -> Verdict,
}

/// What a case needs of a server, or of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A process of ours: to be signalled, limited, and looked into by way of /proc.
    Process,
    /// The command line, the output and the exit status of the contract.
    Contract,
    /// This many clients served at the same time.
    Clients(usize),
    /// A limit to the clients served at the same time.
    ConcurrencyLimit,
    /// Descriptors from some number on that it cannot serve.
    DescriptorCeiling,
    /// It sleeps when it has nothing to do.
    Sleeps,
    /// The cost of a message does not grow with the number of idle clients.
    ScansNothing,
    /// This many descriptors for our side of the connections.
    Descriptors(u64),
    /// TCP, for the ports and the resets that it has and a Unix-domain socket has not.
    Tcp,
}

impl Need {
    /// Why the need is not met, if it is not.
    pub(crate) fn unmet(self, subject: &Subject) -> Option<String> {
        let traits = &subject.traits;
        let (met, why) = match self {
            Need::Process => (
                subject.is_process() && cfg!(target_os = "linux"),
                "needs a process of ours on Linux, to signal it and look into its /proc".to_owned(),
            ),
            Need::Contract => (
                subject.keeps_contract(),
                "needs the command line of the contract (--max-connections, --drain, ...)"
                    .to_owned(),
            ),
            Need::Clients(count) => (
                traits.concurrency.allows(count),
                format!("serves {} at a time, the case needs {count}", traits.concurrency),
            ),
            Need::ConcurrencyLimit => (
                traits.concurrency != Concurrency::Unbounded,
                "has no limit of its own to the clients served at the same time".to_owned(),
            ),
            Need::DescriptorCeiling => (
                traits.descriptor_ceiling.is_some(),
                "can serve a descriptor of any number".to_owned(),
            ),
            Need::Sleeps => (!traits.spins, "spins, and says so".to_owned()),
            Need::ScansNothing => {
                (!traits.scans, "asks about every client for each message, and says so".to_owned())
            }
            Need::Descriptors(count) => (
                descriptors_allowed() >= count + DESCRIPTOR_RESERVE,
                format!(
                    "needs {} descriptors on our side, `ulimit -n` allows {}",
                    count + DESCRIPTOR_RESERVE,
                    descriptors_allowed()
                ),
            ),
            Need::Tcp => {
                (subject.transport == Transport::Tcp, "needs TCP, this is a Unix socket".to_owned())
            }
        };
        (!met).then_some(why)
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server keeps this promise.
    Pass,
    /// It does not.
    Fail(Failure),
    /// The case means nothing for this server, and why.
    NotApplicable(String),
}

/// A failure with all that helps to find its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What a server that keeps the contract does.
    pub expected: String,
    /// What this one did.
    pub seen: String,
    /// What became of the server itself, where it ended unasked.
    pub notes: Vec<String>,
}

impl Case {
    /// Why the case means nothing for this server, if so.
    fn not_applicable(&self, subject: &Subject) -> Option<String> {
        self.needs.iter().find_map(|need| need.unmet(subject))
    }

    /// Runs the case, on servers of its own where they can be started.
    pub fn run(&self, subject: &Subject) -> Outcome {
        if let Some(why) = self.not_applicable(subject) {
            return Outcome::NotApplicable(why);
        }
        let stage = Stage::new(subject);
        match (self.run)(&stage) {
            Ok(()) => Outcome::Pass,
            Err(Trouble::NotApplicable(why)) => Outcome::NotApplicable(why),
            Err(Trouble::Fails { expected, seen }) => {
                Outcome::Fail(Failure { expected, seen, notes: stage.notes() })
            }
        }
    }

    /// A failure in words, for whoever has to find the mistake.
    pub fn explain(&self, failure: &Failure) -> String {
        let mut text = format!(
            "contract: {}\nexpected: {}\nseen:     {}\n",
            self.says, failure.expected, failure.seen
        );
        for note in &failure.notes {
            text += &format!("server:   {note}\n");
        }
        text + &format!("likely:   {}\nhint:     {}\n", self.mistake, self.hint)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Descriptors that this process may open: our side of every connection takes one.
fn descriptors_allowed() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}
