//! The command line of `cargo bench --bench compare`.

use std::path::PathBuf;

use clap::Parser;
use regex::Regex;

use crate::entrant::{self, Entrant};
use crate::layout::Layout;

/// Compare echo servers: measure every server in every scenario, in turns. The report has paired
/// ratios, percentiles and costs. Server and client are separate processes on loopback.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --", version)]
pub struct Args {
    /// Measure only the cases that match: a regular expression on "scenario/server/point", e.g.
    /// 'idle_herd.*select'. The reference server always takes part
    pub filter: Option<Regex>,

    /// Measure fewer points and blocks, at most 2 minutes. The intervals are wide
    #[arg(long)]
    pub quick: bool,

    /// Run every case once, as briefly as possible, to check that every server works
    #[arg(long)]
    pub test: bool,

    /// Print the cases that would be compared, and exit
    #[arg(long)]
    pub list: bool,

    /// Blocks of every scenario, or rounds where servers take turns in slices. Long slices and
    /// thousands of connections reduce the number. Fewer than 6 give no verdicts [default: 72
    /// rounds of 20 ms, 8 blocks]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub blocks: Option<u16>,

    /// Seed of the random orders and the bootstrap [default: a new seed, printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// CPUs of server and client: "none", "split" (0/1), or lists, e.g. 0,2/1. A thread pool or a
    /// spinning loop behaves differently on one CPU than on two. With "none", only ping_pong is
    /// pinned
    #[arg(long, value_name = "LAYOUT", default_value = "none")]
    pub pin: Layout,

    /// Add a server of your own, in any language. The server must listen on {addr}, or on {host}
    /// and {port}. Repeatable
    #[arg(long, value_name = "NAME='COMMAND {addr}'", value_parser = entrant::given)]
    pub server: Vec<Entrant>,

    /// Measure every variant of every server, not only its plain form
    #[arg(long)]
    pub all: bool,

    /// Add the echo servers that a reader would write with an asynchronous runtime
    #[arg(long)]
    pub yardsticks: bool,

    /// The server in the denominator of all ratios. A second copy of this server is the A/A control
    #[arg(long, value_name = "NAME", default_value = "epoll-selector")]
    pub reference: String,

    /// Compare with the report.json of an earlier run. The exit status is 1 on a regression beyond
    /// the noise floors of both runs
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Directory of the reports [default: target/compare]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Cargo passes this flag to every benchmark; `compare` ignores the flag
    #[arg(long, hide = true)]
    pub bench: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
        let args = Args::parse_from(["compare", "--bench", "--server", "x=cat {addr}", "idle"]);
        assert!(args.filter.unwrap().is_match("idle_herd/x/900"));
    }
}
