//! What goes to stderr, and the end of `main`.

use std::fmt;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use socket2::Socket;

use crate::{Options, Step, Wants};

/// What a server has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub connections: u64,
    /// Bytes sent back.
    pub bytes: u64,
    /// Connections that ended in an error, most often a peer's reset.
    pub errors: u64,
    /// Where several loops or processes accept: the connections of each, which may be far from even.
    pub shares: Vec<u64>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { connections, bytes, errors, shares } = self;
        write!(f, "connections {connections}, bytes echoed {bytes}, errors {errors}")?;
        if !shares.is_empty() {
            write!(f, ", connections of each acceptor {shares:?}")?;
        }
        Ok(())
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.shares.extend(other.shares);
    }
}

/// Keeps the totals, and with `--verbose` reports every connection on stderr, named by its descriptor.
#[derive(Clone, Debug)]
pub struct Tally {
    totals: Totals,
    verbose: bool,
}

impl Tally {
    /// Nothing done yet.
    pub fn new(options: &Options) -> Tally {
        Tally { totals: Totals::default(), verbose: options.verbose }
    }

    /// A client was accepted.
    pub fn opened(&mut self, stream: &Socket) {
        self.totals.connections += 1;
        if self.verbose {
            let fd = stream.as_raw_fd();
            match stream.peer_addr().ok().and_then(|peer| peer.as_socket()) {
                Some(peer) => report(format_args!("fd {fd}: {peer} connected")),
                None => report(format_args!("fd {fd}: connected")),
            }
        }
    }

    /// Bytes were sent back.
    pub fn sent(&mut self, bytes: u64) {
        self.totals.bytes += bytes;
    }

    /// A datagram could not be sent back.
    pub fn lost(&mut self, error: &io::Error) {
        self.totals.errors += 1;
        if self.verbose {
            report(format_args!("datagram lost: {error}"));
        }
    }

    /// A client's connection has ended.
    pub fn closed(&mut self, stream: &Socket, result: &io::Result<()>) {
        self.totals.errors += u64::from(result.is_err());
        if self.verbose {
            let fd = stream.as_raw_fd();
            match result {
                Ok(()) => report(format_args!("fd {fd}: closed")),
                Err(error) => report(format_args!("fd {fd}: {error}")),
            }
        }
    }

    /// The drain is over: these clients are cut off.
    pub fn cut_off<'a>(&mut self, streams: impl Iterator<Item = &'a Socket>) {
        for stream in streams {
            self.closed(stream, &Err(io::ErrorKind::TimedOut.into()));
        }
    }

    /// Takes one step of a connection into account. A peer's error ends its connection and nothing
    /// else, so it comes back as [`Wants::Close`].
    pub fn step(&mut self, step: io::Result<Step>, stream: &Socket) -> Step {
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                self.closed(stream, &Err(error));
                return Step { received: 0, sent: 0, wants: Wants::Close, would_block: false };
            }
        };
        self.sent(step.sent as u64);
        if step.wants == Wants::Close {
            self.closed(stream, &Ok(()));
        }
        step
    }

    /// What has been done so far.
    pub fn totals(&self) -> Totals {
        self.totals.clone()
    }
}

/// Writes one line to stderr, in one piece: other processes may write there, too. A closed stderr is no
/// reason to die (`eprintln!` would panic).
pub fn report(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The end of `main`: one line of totals and exit status 0, or one line of error and exit status 1; or 2
/// when it is about [`bad_arguments`](crate::bad_arguments).
pub fn finish(result: io::Result<Totals>) -> ExitCode {
    match result.map_err(io::Error::downcast::<clap::Error>) {
        Ok(totals) => {
            report(totals);
            ExitCode::SUCCESS
        }
        Err(Ok(bad_arguments)) => bad_arguments.exit(),
        Err(Err(error)) => {
            report(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
