//! What goes to stderr, and the end of `main`.

use std::fmt;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use socket2::Socket;

use crate::{Error, Options, Result, Step, Wants};

/// What a server has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub connections: u64,
    /// Bytes sent back.
    pub bytes: u64,
    /// Connections that ended in an error, most often a peer's reset.
    pub errors: u64,
    /// With several accepting loops or processes: the connections of each, which may be uneven.
    pub shares: Vec<u64>,
    /// Overflows of the queue of signals, for the model that has one.
    pub overflows: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { connections, bytes, errors, shares, overflows } = self;
        write!(f, "connections {connections}, bytes echoed {bytes}, errors {errors}")?;
        if !shares.is_empty() {
            write!(f, ", connections of each acceptor {shares:?}")?;
        }
        if *overflows > 0 {
            write!(f, ", overflows of the signal queue {overflows}")?;
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
        self.overflows += other.overflows;
    }
}

/// Keeps the totals. With `--verbose` reports every connection on stderr, named by its descriptor.
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
            match stream.peer_addr().ok().and_then(|peer| peer.as_socket()) {
                Some(peer) => self.say(stream, format_args!("{peer} connected")),
                None => self.say(stream, "connected"),
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

    /// A client's connection has ended. `WouldBlock` means that a blocking stream was idle for the whole
    /// of `--idle-timeout`; that is no error.
    pub fn closed(&mut self, stream: &Socket, result: &io::Result<()>) {
        match result {
            Ok(()) => self.say(stream, "closed"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.idle(stream),
            Err(error) => {
                self.totals.errors += 1;
                self.say(stream, error);
            }
        }
    }

    /// A client is closed because no byte has moved for the whole of `--idle-timeout`.
    pub fn idle(&mut self, stream: &Socket) {
        self.say(stream, "idle for --idle-timeout, so it is closed");
    }

    /// A client is cut off: the time of the drain is over.
    pub fn cut_off(&mut self, stream: &Socket) {
        self.totals.errors += 1;
        self.say(stream, "not finished within --drain, so it is cut off");
    }

    fn say(&self, stream: &Socket, what: impl fmt::Display) {
        if self.verbose {
            report(format_args!("fd {}: {what}", stream.as_raw_fd()));
        }
    }

    /// Counts one step of a connection. A peer's error ends this connection and nothing else, so the error
    /// becomes [`Wants::Close`].
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

    /// What was done so far.
    pub fn totals(&self) -> Totals {
        self.totals.clone()
    }
}

/// Writes one line to stderr in one piece: other processes may write there too. A closed stderr is
/// ignored (`eprintln!` would panic).
pub fn report(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The end of `main`: one line of totals and exit status 0, or one line of error. The exit status of an
/// error is 2 for [`Error::BadArguments`], as clap's own, and 1 for every other variant.
pub fn finish(result: Result<Totals>) -> ExitCode {
    match result {
        Ok(totals) => {
            report(totals);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(format_args!("error: {error}"));
            ExitCode::from(if matches!(error, Error::BadArguments(_)) { 2 } else { 1 })
        }
    }
}
