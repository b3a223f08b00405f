//! What goes to stderr, and the end of `main`.

use std::fmt;
use std::io::{self, Write};
use std::ops::AddAssign;
use std::process::ExitCode;

/// What a server has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub connections: u64,
    /// Bytes sent back.
    pub bytes: u64,
    /// Connections that ended in an error, most often a peer's reset.
    pub errors: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { connections, bytes, errors } = self;
        write!(f, "connections {connections}, bytes echoed {bytes}, errors {errors}")
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.errors += other.errors;
    }
}

/// Writes one line to stderr. A closed stderr is no reason to die (`eprintln!` would panic).
pub fn report(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The end of `main`: one line of totals and exit status 0, or one line of error and exit status 1.
pub fn finish(result: io::Result<Totals>) -> ExitCode {
    match result {
        Ok(totals) => {
            report(totals);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
