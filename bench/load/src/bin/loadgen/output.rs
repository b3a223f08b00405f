//! The standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use loadgen::{Error, Result};
use serde::Serialize;

/// The widest text on a terminal, in columns.
const WIDEST: usize = 100;
/// The narrowest text: the longest line that is not wrapped has about this width.
const NARROWEST: usize = 60;

/// The width at which text is wrapped. Text for a file or a pipe is not wrapped, so that a search
/// for a sentence finds it.
pub(crate) fn width() -> usize {
    match io::stdout().is_terminal() {
        true => textwrap::termwidth().clamp(NARROWEST, WIDEST),
        false => usize::MAX,
    }
}

/// Prints text. Its colours appear on a terminal, unless NO_COLOR is set.
///
/// Returns false if the reader of the output has left, as `head` does.
///
/// # Errors
///
/// [`Error::Stdout`] for any other failure.
pub(crate) fn text(text: &impl Display) -> Result<bool> {
    print(&text.to_string())
}

/// Prints a value as JSON.
///
/// Returns false if the reader of the output has left.
///
/// # Errors
///
/// [`Error::Stdout`] for any other failure.
pub(crate) fn json(value: &impl Serialize) -> Result<bool> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(io::Error::from).map_err(Error::generator("writing JSON"))?;
    print(&(text + "\n"))
}

fn print(text: &str) -> Result<bool> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::Stdout(error)),
    }
}
