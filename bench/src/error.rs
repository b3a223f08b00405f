//! Why a benchmark cannot go on.

use std::io;
use std::path::PathBuf;

/// The result of a benchmark's steps.
pub type Result<T> = std::result::Result<T, Error>;

/// What ends a benchmark. The failure of one server in one case is not one: it becomes that case's outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter leaves nothing to measure.
    #[error("nothing matches the filter {filter:?}; there are:\n{points}")]
    NothingMatches {
        /// The regular expression.
        filter: String,
        /// A line for each scenario with its points.
        points: String,
    },
    /// `--reference` names no server that takes part.
    #[error("there is no server {name:?} to take ratios to; there are {known}")]
    UnknownReference {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A report cannot be read, or is none.
    #[error("cannot read the report {}: {source}", file.display())]
    Report {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A server given with `--server` does not start, or does not echo.
    #[error("--server {name}: {source}")]
    Given {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A system call, the file system or the build has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A server process cannot be started or observed.
    #[error(transparent)]
    Server(#[from] server_process::Error),
}

impl Error {
    /// The exit status: 2 for a command line that names what does not exist, 1 for what went wrong.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::NothingMatches { .. }
            | Error::UnknownReference { .. }
            | Error::Report { .. }
            | Error::Given { .. } => 2,
            Error::Io(_) | Error::Server(_) => 1,
        }
    }
}
