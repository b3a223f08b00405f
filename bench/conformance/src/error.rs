//! Why nothing can be checked.

use std::io;
use std::path::PathBuf;

/// What ends `check` before its verdict. What a server does wrong is a [`Failure`](crate::Failure).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line names no server.
    #[error("nothing to check: give --addr ADDR, --server NAME or -- COMMAND; see --help")]
    NoSubject,
    /// No case matches a filter.
    #[error("no case has {} in its name or topic; check --list names all cases", filters.join(" or "))]
    NoCase {
        /// The texts of `--filter`.
        filters: Vec<String>,
    },
    /// The catalogue has no server of this name.
    #[error("no server is called {name}; there are {}", known.join(", "))]
    NoSuchServer {
        /// The name that was asked for.
        name: String,
        /// The names in the catalogue.
        known: Vec<&'static str>,
    },
    /// The server of the catalogue is not beside this program.
    #[error("{} does not exist; build it in the same profile: cargo build -p {package}", executable.display())]
    NotBuilt {
        /// Where the server should be.
        executable: PathBuf,
        /// The package of the server.
        package: &'static str,
    },
    /// A command that does not take the contract's options has no place for the address.
    #[error(
        "COMMAND does not say where to listen: put {{port}} or {{addr}} into it, such as \
         `-- python3 server.py {{port}}`; or say --contract"
    )]
    NoPlaceForAddress,
    /// Only a server that takes `--addr unix:PATH` can be told to listen on a Unix-domain socket.
    #[error("--unix needs --server, or COMMAND with --contract")]
    UnixNeedsContract,
    /// UDP was asked for, and the address is a path.
    #[error("UDP has no paths: give --addr HOST:PORT or --addr [IPV6]:PORT")]
    UdpHasNoPath,
    /// The path of this program is unknown, and servers of the catalogue are beside it.
    #[error("cannot find this program's own directory: {0}")]
    OwnPath(#[source] io::Error),
    /// The server does not start, or does not take a connection.
    #[error("{subject}: {why}")]
    Unreachable {
        /// The name of the server.
        subject: String,
        /// What it did instead.
        why: String,
    },
    /// The results cannot be written to stdout.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[source] io::Error),
    /// The reader of stdout has left, as `head` does.
    #[error("the reader of stdout has left")]
    ReaderLeft,
}

impl Error {
    /// The exit status of `check`: 2 for a command line that makes no sense, else 1.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::NoSubject
            | Error::NoCase { .. }
            | Error::NoSuchServer { .. }
            | Error::NotBuilt { .. }
            | Error::NoPlaceForAddress
            | Error::UnixNeedsContract
            | Error::UdpHasNoPath => 2,
            Error::OwnPath(_)
            | Error::Unreachable { .. }
            | Error::Stdout(_)
            | Error::ReaderLeft => 1,
        }
    }
}
