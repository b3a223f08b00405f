//! What a case finds: the server keeps the promise, breaks it, or the case does not apply.

use std::fmt;
use std::io;

use crate::cause::Cause;

/// The result of a case, and of each of its steps.
pub(crate) type Verdict<T = ()> = Result<T, Trouble>;

/// Why a case stops before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server breaks the promise.
    Fails(Failure),
    /// The case does not apply to this server or this machine, and why.
    NotApplicable(String),
    /// All local ports to the server's address are in use (EADDRNOTAVAIL of connect(2)). The server is
    /// not to blame.
    NoLocalPort,
}

/// How a server breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What a server that keeps the promise does.
    pub expected: String,
    /// What this server did.
    pub seen: String,
    /// The cause, if the suite has found it.
    pub cause: Option<Cause>,
}

/// The server did something else than a server that keeps the promise. The cause is unknown.
pub(crate) fn fails<T>(expected: impl fmt::Display, seen: impl fmt::Display) -> Verdict<T> {
    fails_because(None, expected, seen)
}

/// The server did something else than a server that keeps the promise.
pub(crate) fn fails_because<T>(
    cause: Option<Cause>,
    expected: impl fmt::Display,
    seen: impl fmt::Display,
) -> Verdict<T> {
    let (expected, seen) = (expected.to_string(), seen.to_string());
    Err(Trouble::Fails(Failure { expected, seen, cause }))
}

/// The case does not apply.
pub(crate) fn not_applicable<T>(why: impl fmt::Display) -> Verdict<T> {
    Err(Trouble::NotApplicable(why.to_string()))
}

impl From<io::Error> for Trouble {
    /// An error of a system call that usually succeeds, such as socket(2).
    fn from(error: io::Error) -> Trouble {
        server_process::Error::System(error).into()
    }
}

impl From<server_process::Error> for Trouble {
    fn from(error: server_process::Error) -> Trouble {
        let seen = error.to_string();
        let expected = "the system calls of the suite succeed".to_owned();
        let cause = None;
        Trouble::Fails(Failure { expected, seen, cause })
    }
}
