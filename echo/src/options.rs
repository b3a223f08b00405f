//! The command line that all servers have in common.

use std::time::Duration;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit};

use crate::{Address, Error, Result};

/// Descriptors that `--max-connections` leaves free by default: the standard streams, the listener, the
/// stop pipe, the selector, and those that a library opens for a short time.
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
        help = "Address to listen on: HOST:PORT, [IPV6]:PORT (port 0: a free one), or unix:PATH"
    )]
    pub addr: Address,

    /// Connections the kernel may queue before they are accepted (capped by net.core.somaxconn)
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(i32).range(1..))]
    pub backlog: i32,

    /// Most clients connected at once; the others wait in the backlog
    /// [default: what the descriptor limit allows]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub max_connections: Option<usize>,

    /// Longest time to finish pending echoes after SIGINT or SIGTERM, e.g. 500ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "1s",
          value_parser = parse_duration)]
    pub drain: Duration,

    /// CPU time to burn for each read before it is echoed, for a handler that computes; a stop waits for
    /// the work that has begun
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = parse_duration)]
    pub work: Duration,

    /// Close a connection after this time without a byte moved, or up to a quarter later
    /// [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_idle_timeout)]
    pub idle_timeout: Option<Duration>,

    /// Report on stderr every connection, and when the server is full
    #[arg(short, long)]
    pub verbose: bool,
}

impl Options {
    /// The value of `--max-connections`. The default is what RLIMIT_NOFILE (getrlimit(2)) allows less
    /// [`DESCRIPTOR_RESERVE`], at most `ceiling`.
    ///
    /// # Errors
    ///
    /// [`Error::BadArguments`] when `--max-connections` asks for more than `ceiling`, the most that the
    /// model can serve.
    pub fn max_connections(&self, ceiling: usize) -> Result<usize> {
        match self.max_connections {
            Some(asked) if asked > ceiling => Err(Error::bad_arguments(format_args!(
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

/// Longest duration of an option: a longer one is a mistake, or overflows a clock.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration with its unit, such as `50us`, `300ms` or `2s`; at most a day.
///
/// # Errors
///
/// When the text is no such duration; the message says how to write one.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err("longer than a day".to_owned()),
        Err(error) => Err(format!("{error}; write a number and a unit, such as 50us, 300ms or 2s")),
    }
}

/// Shortest `--idle-timeout`: a shorter one would keep the server busy with its clock.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(10);

fn parse_idle_timeout(text: &str) -> std::result::Result<Duration, String> {
    match parse_duration(text)? {
        timeout if timeout < IDLE_TIMEOUT_MIN => {
            Err("shorter than 10ms; leave the option out for no limit".to_owned())
        }
        timeout => Ok(timeout),
    }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 client must be served".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}
