//! The contract every server keeps, case by case.
//!
//! A [`Case`] is one promise: a name, what the contract says, a function that talks to a server, and
//! what a server that fails usually does wrong. A [`Subject`] is who has to keep it: a server of the
//! catalogue, anyone's command, or an address. A case that means nothing for a subject, such as one that
//! sends signals to an address, is not applicable and says why.
//!
//! | module | which promises |
//! | --- | --- |
//! | `bytes` | they come back in order, exactly once |
//! | `closing` | half-close, reset, and nothing left behind |
//! | `fairness` | what one client does is no other's business |
//! | `limits` | more clients than there is room for |
//! | `signals` | those that ask to stop, those that must not matter |
//! | `startup` | command line, output, exit status, idling |
//! | `datagrams` | the echo over UDP, which the others are not about |
//!
//! Each server's `tests/conformance.rs` hands itself over to [`main`]; the binary `check` runs the same
//! cases on anything. Every wait has an end ([`PATIENCE`]), and every byte that comes back is compared.

mod bytes;
mod case;
mod client;
mod closing;
mod datagrams;
mod fairness;
mod harness;
mod limits;
mod observe;
mod pattern;
mod signals;
mod soak;
mod stage;
mod startup;
mod subject;
mod verdict;

pub use case::{Case, Failure, Outcome};
pub use harness::main;
pub use observe::Holds;
pub use soak::{Deeds, SoakReport, WeatherDeeds, soak};
pub use stage::probe;
pub use subject::{Access, PATIENCE, Subject};

/// Every case, by topic, and in each topic from the simplest on.
pub fn cases() -> impl Iterator<Item = (&'static str, &'static Case)> {
    [
        ("bytes", bytes::CASES),
        ("closing", closing::CASES),
        ("fairness", fairness::CASES),
        ("limits", limits::CASES),
        ("signals", signals::CASES),
        ("startup", startup::CASES),
    ]
    .into_iter()
    .flat_map(|(topic, cases)| cases.iter().map(move |case| (topic, case)))
}

/// Every case for a server of datagrams, with the same topic for all.
pub fn datagram_cases() -> impl Iterator<Item = (&'static str, &'static Case)> {
    datagrams::CASES.iter().map(|case| ("datagrams", case))
}
