//! The command line of `cargo bench --bench compare`.

use std::path::PathBuf;

use clap::Parser;
use regex::Regex;

use crate::entrant::{self, Entrant};
use crate::layout::Layout;

/// Compare echo servers: every server through every scenario, in turns, with paired ratios,
/// percentiles and costs. Server and client are separate processes; everything runs on loopback.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --", version)]
pub struct Args {
    /// Only what matches: a regular expression on "scenario/server/point", e.g.
    /// 'idle_herd.*select'. The reference server always takes part
    pub filter: Option<Regex>,

    /// Fewer points and blocks, at most 2 minutes. The intervals are wide
    #[arg(long)]
    pub quick: bool,

    /// Run everything once, as short as possible: does it work?
    #[arg(long)]
    pub test: bool,

    /// Print what would be compared, and do nothing
    #[arg(long)]
    pub list: bool,

    /// Blocks of every scenario (rounds, where servers take turns in slices); fewer of long slices,
    /// and with thousands of connections. With fewer than 6 there are no verdicts [default: 72
    /// rounds of 20 ms, 8 blocks]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub blocks: Option<u16>,

    /// Seed of the random orders and the bootstrap [default: a new one, printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// CPUs of server and client: "none", "split" (0/1), or lists, e.g. 0,2/1. A pool or a spinning
    /// loop on one CPU is not what it is on two. With "none", only ping_pong is pinned
    #[arg(long, value_name = "LAYOUT", default_value = "none")]
    pub pin: Layout,

    /// Add anyone's server in any language; {addr} is where it must listen, or {host} and {port}.
    /// Repeatable
    #[arg(long, value_name = "NAME='COMMAND {addr}'", value_parser = entrant::given)]
    pub server: Vec<Entrant>,

    /// Every variant of every server, not only the plain form of each
    #[arg(long)]
    pub all: bool,

    /// Add the echo servers that a reader would write with an asynchronous runtime
    #[arg(long)]
    pub yardsticks: bool,

    /// The server that ratios are taken to, and that is entered twice as the A/A control
    #[arg(long, value_name = "NAME", default_value = "epoll-selector")]
    pub reference: String,

    /// Compare with the report.json of an earlier run; exit status 1 on a regression beyond the
    /// noise floors of both
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Where the reports go [default: target/compare]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Cargo says so to every benchmark; nothing depends on it
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
