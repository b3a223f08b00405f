//! The command line that all servers have in common.

use std::fmt;
use std::io;
use std::time::Duration;

use clap::Args;
use clap::error::ErrorKind;
use nix::sys::resource::{Resource, getrlimit};

use crate::Address;

/// Descriptors that `--max-connections` leaves free by default: the standard streams, the listener, the
/// stop pipe, the selector, and room for what the process opens in passing.
pub const DESCRIPTOR_RESERVE: usize = 32;

/// The options of every server. Flatten it into the server's own:
///
/// ```
/// #[derive(clap::Parser)]
/// struct Args {
///     #[command(flatten)]
///     options: echo::Options,
/// }
/// ```
#[derive(Args, Clone, Debug)]
#[command(next_line_help = false)]
pub struct Options {
    /// Address to listen on.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:7000",
        help = "Address to listen on: IPV4:PORT, [IPV6]:PORT (port 0 picks a free one), or unix:PATH"
    )]
    pub addr: Address,

    /// Connections the kernel may queue before they are accepted (capped by net.core.somaxconn)
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(i32).range(1..))]
    pub backlog: i32,

    /// Most clients connected at once; more wait in the backlog
    /// [default: what the descriptor limit allows]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub max_connections: Option<usize>,

    /// Longest time to finish what is pending after SIGINT or SIGTERM, e.g. 500ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "1s",
          value_parser = parse_duration)]
    pub drain: Duration,

    /// CPU time to burn for each read before it is echoed: stands for a handler that computes; a stop
    /// waits for one that has begun
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = parse_duration)]
    pub work: Duration,

    /// Close a connection on which nothing has moved for this long, or up to a quarter longer
    /// [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_idle_timeout)]
    pub idle_timeout: Option<Duration>,

    /// Report every connection on stderr
    #[arg(short, long)]
    pub verbose: bool,
}

impl Options {
    /// `--max-connections`, or by default what RLIMIT_NOFILE (getrlimit(2)) allows less
    /// [`DESCRIPTOR_RESERVE`], and never more than `ceiling`.
    ///
    /// # Errors
    ///
    /// [`bad_arguments`] when `--max-connections` asks for more than `ceiling`, the most that the model
    /// can serve.
    pub fn max_connections(&self, ceiling: usize) -> io::Result<usize> {
        match self.max_connections {
            Some(asked) if asked > ceiling => Err(bad_arguments(format_args!(
                "--max-connections {asked} is more than this model can serve; the most is {ceiling}"
            ))),
            Some(asked) => Ok(asked),
            None => {
                let (soft_limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
                let descriptors = usize::try_from(soft_limit).unwrap_or(usize::MAX);
                Ok(descriptors.saturating_sub(DESCRIPTOR_RESERVE).clamp(1, ceiling))
            }
        }
    }
}

/// The error of arguments that clap took, and that do not go together all the same: `message` says what
/// to do. [`finish`](crate::finish) ends as clap does, with exit status 2.
pub fn bad_arguments(message: impl fmt::Display) -> io::Error {
    io::Error::other(clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")))
}

/// Longest duration an option may ask for: what is longer is a mistake, or would overflow a clock.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration with its unit, such as `50us`, `300ms` or `2s`; at most a day.
///
/// # Errors
///
/// When it is not one; the message says how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err("longer than a day".to_owned()),
        Err(error) => Err(format!("{error}; write a number and a unit, such as 50us, 300ms or 2s")),
    }
}

/// Shortest `--idle-timeout`: a server that looks at its clock more often does little else.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(10);

fn parse_idle_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        timeout if timeout < IDLE_TIMEOUT_MIN => {
            Err("shorter than 10ms; leave the option out for no limit".to_owned())
        }
        timeout => Ok(timeout),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 client must be served".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}
