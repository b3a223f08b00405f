//! What a case has found: the server keeps the promise, breaks it, or nothing can be told.

use std::fmt;
use std::io;

/// What a case has found.
pub(crate) type Verdict<T = ()> = Result<T, Trouble>;

/// Why a case did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server does not do what the contract says.
    Fails {
        /// What a server that keeps the contract does.
        expected: String,
        /// What this one did.
        seen: String,
    },
    /// Nothing can be told of this server, and why.
    NotApplicable(String),
}

/// A server did something else than expected.
pub(crate) fn fails<T>(expected: impl fmt::Display, seen: impl fmt::Display) -> Verdict<T> {
    Err(Trouble::Fails { expected: expected.to_string(), seen: seen.to_string() })
}

impl From<io::Error> for Trouble {
    /// An error where none belongs, such as that of reading the /proc of a process that is gone.
    fn from(error: io::Error) -> Trouble {
        Trouble::Fails { expected: "a server that runs".to_owned(), seen: error.to_string() }
    }
}

impl From<server_process::Error> for Trouble {
    fn from(error: server_process::Error) -> Trouble {
        Trouble::Fails { expected: "a server that runs".to_owned(), seen: error.to_string() }
    }
}
