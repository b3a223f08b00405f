//! Why a server cannot be run, or a file cannot be written.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;

use crate::address::Address;
use crate::process::START_TIMEOUT;

/// The result of everything in this package that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What can fail: each variant names the operation and its object, and keeps its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be started. Most often there is no such program.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program, as the command names it.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The server ended before it listened.
    #[error("{program} ended before it listened ({status}): {stderr}")]
    EndedEarly {
        /// The program, as the command names it.
        program: String,
        /// How the server ended.
        status: ExitStatus,
        /// What the server wrote to stderr, without the line end.
        stderr: String,
    },
    /// The server's first line does not say where it listens.
    #[error("{program} printed {line:?}, not \"listening on ADDR\"")]
    FirstLine {
        /// The program, as the command names it.
        program: String,
        /// The line that it printed.
        line: String,
    },
    /// The server printed no line for [`START_TIMEOUT`].
    #[error("{program} did not print \"listening on ADDR\" within {START_TIMEOUT:?}")]
    Silent {
        /// The program, as the command names it.
        program: String,
    },
    /// Nothing listens at the address that the server was told, [`START_TIMEOUT`] after its start.
    #[error("{program} did not listen on {addr} within {START_TIMEOUT:?}: {source}")]
    NotListening {
        /// The program, as the command names it.
        program: String,
        /// Where the server was told to listen.
        addr: Address,
        /// Why the last attempt to reach it failed.
        source: io::Error,
    },
    /// A program that should end by itself has not.
    #[error("{program} was still running after {limit:?}")]
    StillRunning {
        /// The program, as the command names it.
        program: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The shell of a [`Guard`](crate::guard::Guard) cannot be started.
    #[error("cannot start sh, which cleans up when this process is killed: {0}")]
    Guard(#[source] io::Error),
    /// None of many random ports could be bound.
    #[error("no free port found on 127.0.0.1")]
    NoFreePort,
    /// A file or a directory cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or the directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A system call that does not usually fail has failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::System(errno.into())
    }
}

impl From<Error> for io::Error {
    /// For callers whose own results are those of `std::io`.
    fn from(error: Error) -> io::Error {
        match error {
            Error::System(error) => error,
            error => io::Error::other(error),
        }
    }
}
