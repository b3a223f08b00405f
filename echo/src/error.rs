//! Why a server cannot start or cannot go on.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::Address;

/// The result of a server's `serve`, and of what can end it.
pub type Result<T> = std::result::Result<T, Error>;

/// What ends a server. A client's error is never one: it ends that client's connection.
///
/// [`finish`](crate::finish) prints the error and derives the exit status from the variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// clap accepts each option, but the options together make no sense. The text says what to do.
    /// Exit status 2.
    #[error("{0}")]
    BadArguments(String),
    /// The address cannot be bound. Exit status 1, as for all that follow.
    #[error("cannot listen on {address}: {source}{hint}")]
    Listen {
        /// What `--addr` asks for.
        address: Address,
        /// The system's answer.
        source: io::Error,
        /// What to do next; empty where the answer says enough.
        hint: &'static str,
    },
    /// The line `listening on ADDR` cannot be written.
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    /// A system call that the whole server depends on has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The error of options that make no sense together; `message` says what to do.
    pub fn bad_arguments(message: impl fmt::Display) -> Error {
        Error::BadArguments(message.to_string())
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::Io(errno.into())
    }
}
