//! The contract that every server keeps, case by case.
//!
//! A [`Case`] is one promise: a name, what the contract says, a test, and the usual mistake of a server
//! that fails. A [`Subject`] is the server under test: a server of the catalogue, any command, or an
//! address. Some cases do not apply to some subjects. For example, the suite cannot send signals to an
//! address. Such a case is not applicable, and says why.
//!
//! | module | the promises |
//! | --- | --- |
//! | `bytes` | bytes come back in order, exactly once |
//! | `closing` | half-close, reset, and nothing left behind |
//! | `fairness` | no client slows down another |
//! | `limits` | more clients than the server has room for |
//! | `signals` | signals that stop the server, and signals that it must survive |
//! | `startup` | command line, output, exit status, idling |
//! | `datagrams` | the echo over UDP; the other modules are about connections |
//!
//! The `tests/conformance.rs` of each server calls the macro [`suite!`]. The binary `check` runs the same
//! cases on any server. Each wait has an end ([`TIMEOUT`]), and every byte that comes back is compared.
//! A failure names its [`Cause`] where the suite can find it.

mod bytes;
mod case;
mod cause;
mod client;
mod closing;
mod connection;
mod datagrams;
mod error;
mod fairness;
mod harness;
mod limits;
mod observe;
mod pattern;
mod pinned;
mod server;
mod signals;
mod soak;
mod stage;
mod startup;
mod subject;
mod tcp;
mod verdict;
mod watch;
pub mod words;

pub use case::{Case, Outcome};
pub use cause::Cause;
pub use error::Error;
pub use harness::main;
pub use observe::Holds;
pub use soak::{ClientTotals, Disturbances, SoakReport, soak};
pub use stage::probe;
pub use subject::{Access, Subject, TIMEOUT};
pub use verdict::Failure;

use server_process::address::Transport;

/// All cases, with their topics. Within a topic, simple cases come first.
pub fn cases(transport: Transport) -> impl Iterator<Item = (&'static str, &'static Case)> {
    let topics: &[(&str, &[Case])] = match transport {
        Transport::Udp => &[("datagrams", datagrams::CASES)],
        Transport::Tcp | Transport::Unix => &[
            ("bytes", bytes::CASES),
            ("closing", closing::CASES),
            ("fairness", fairness::CASES),
            ("limits", limits::CASES),
            ("signals", signals::CASES),
            ("startup", startup::CASES),
        ],
    };
    topics.iter().flat_map(|(topic, cases)| cases.iter().map(move |case| (*topic, case)))
}

/// The case without which no other case makes sense: one byte comes back.
pub fn basic_case(transport: Transport) -> &'static Case {
    match transport {
        Transport::Udp => &datagrams::CASES[0],
        Transport::Tcp | Transport::Unix => &bytes::CASES[0],
    }
}

/// The case that finds out whether the server serves more than one client at a time. `None` over UDP.
pub fn concurrency_case(transport: Transport) -> Option<&'static Case> {
    match transport {
        Transport::Udp => None,
        Transport::Tcp | Transport::Unix => Some(&bytes::CASES[1]),
    }
}
