//! Why a load cannot start or cannot go on.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::Address;

/// The result of everything that opens, drives or reads a load.
pub type Result<T> = std::result::Result<T, Error>;

/// What ends a load, or a sum of logs. A fault of one connection is never one: it is counted.
///
/// The exit status of `loadgen` follows from the variant: see [`Error::exit_status`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan, the slice or the options make no sense. The text says what to change.
    #[error("{0}")]
    BadPlan(String),
    /// The plan needs more than this machine allows. The text says which limit, and what to do.
    #[error("{0}")]
    TooMany(String),
    /// A thread cannot run on the CPU that the plan gives to it.
    #[error("cannot pin a thread to CPU {cpu}: {source}; `nproc` says how many there are")]
    Pin {
        /// The CPU of the plan.
        cpu: usize,
        /// The answer of sched_setaffinity(2).
        source: Errno,
    },
    /// A log cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not a log that `loadgen --log` wrote, or only the beginning of one.
    #[error("cannot use {}: it is not a whole log that `loadgen --log` wrote: {reason}", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong in the file.
        reason: String,
    },
    /// The logs are of loads that cannot be added up. The text names the logs.
    #[error("{0}")]
    BadSum(String),
    /// A connection cannot be opened.
    #[error("cannot open connection {number} to {address}: {source}; {hint}")]
    Connect {
        /// Number of the connection, from 1.
        number: usize,
        /// The server.
        address: Address,
        /// The system's answer.
        source: io::Error,
        /// On which side the reason is likely to be, and what to do next.
        hint: String,
    },
    /// A look at the server found that no load can be put on the server.
    #[error("the server at {address} {finding}")]
    Unfit {
        /// The server.
        address: Address,
        /// What the server does, and what to do next.
        finding: String,
    },
    /// The connections were open only after the requested start.
    #[error("the connections were open {0:.1?} after --start-at: give a later time")]
    Late(Duration),
    /// A result cannot be written. The source names the file.
    #[error(transparent)]
    Write(server_process::Error),
    /// The report cannot be printed.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[source] io::Error),
    /// An operation of the generator itself has failed.
    #[error("the load generator failed in {operation}: {source}")]
    Generator {
        /// A system call, or what was done with the results.
        operation: &'static str,
        /// The answer of the system or of a library.
        source: io::Error,
    },
}

impl Error {
    /// 2 for a command line that cannot work whatever the server does, 1 for everything else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::BadPlan(_)
            | Error::TooMany(_)
            | Error::Pin { .. }
            | Error::Read { .. }
            | Error::NotALog { .. }
            | Error::BadSum(_) => 2,
            Error::Connect { .. }
            | Error::Unfit { .. }
            | Error::Late(_)
            | Error::Write(_)
            | Error::Stdout(_)
            | Error::Generator { .. } => 1,
        }
    }

    /// For `map_err`: [`Error::Generator`] with this operation.
    pub fn generator<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Generator { operation, source: source.into() }
    }
}

/// For callers whose own errors are those of the system. The whole text is kept.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::other(error)
    }
}
