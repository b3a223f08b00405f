//! The command line of `cargo bench --bench compare`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use regex::Regex;

use crate::entrant::{self, Entrant};
use crate::statistics::BLOCKS_MIN;

use super::scenario::SLICED_CONNECTIONS_MAX;

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

/// On which CPUs the server and the client run; empty: wherever the kernel puts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The server's.
    pub server: Vec<usize>,
    /// The client's.
    pub client: Vec<usize>,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Layout, String> {
        let (server, client) = match text {
            "none" => return Ok(Layout::default()),
            "split" => ("0", "1"),
            _ => text.split_once('/').ok_or("give none, split, or SERVER/CLIENT, e.g. 0/1")?,
        };
        let list = |text: &str| -> Result<Vec<usize>, String> {
            let cpus = text.split(',').map(|cpu| cpu.parse());
            cpus.collect::<Result<_, _>>().map_err(|_| format!("{text:?} is no list of CPUs"))
        };
        Ok(Layout { server: list(server)?, client: list(client)? })
    }
}

impl Layout {
    /// Server and client together on the first processor that we may use, or each on one of its own;
    /// `None` if we may not use so many.
    pub(super) fn on(processors: usize) -> Option<Layout> {
        let ours = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let cpus = (0..CpuSet::count()).filter(|cpu| ours.is_set(*cpu) == Ok(true));
        let cpus: Vec<usize> = cpus.take(processors).collect();
        let (first, last) = (*cpus.first()?, *cpus.last()?);
        (cpus.len() == processors).then(|| Layout { server: vec![first], client: vec![last] })
    }

    /// In words.
    pub fn describe(&self) -> String {
        if *self == Layout::default() {
            return "unpinned".to_owned();
        }
        let list = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        format!("server on CPU {}, client on CPU {}", list(&self.server), list(&self.client))
    }
}

/// How much time each part takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Rounds of slices.
    pub(super) rounds: usize,
    /// Randomised complete blocks.
    pub(super) blocks: usize,
    /// Passes over all scenarios that the rounds and blocks are divided among. A machine like these
    /// has bad minutes, in which everything is slower and even ratios shift: passes that lie minutes
    /// apart do not all fall into one.
    pub(super) passes: usize,
    /// Measured part of a run in a block.
    pub(super) run: Duration,
    /// Warm-up before it.
    pub(super) warm_up: Duration,
    /// The uninterrupted run in which switches and memory are counted, where servers run in slices.
    pub(super) cost_run: Duration,
    /// Messages of the run in which system calls are counted.
    pub(super) traced_messages: u64,
    /// The few points instead of all.
    pub(super) few_points: bool,
}

impl Effort {
    /// Randomised complete blocks under a load with so many connections: opening thousands takes
    /// longer than anything else.
    pub(super) fn blocks_with(&self, connections: usize) -> usize {
        if connections > SLICED_CONNECTIONS_MAX { self.blocks.min(BLOCKS_MIN) } else { self.blocks }
    }

    pub(super) fn of(args: &Args) -> Effort {
        let ms = Duration::from_millis;
        let (rounds, blocks, passes, run, warm_up, cost_run, traced_messages) = if args.test {
            // The first slice may be spent on what slow readers have sent.
            (4, 1, 1, ms(10), ms(5), ms(10), 20)
        } else if args.quick {
            (12, 6, 2, ms(100), ms(30), ms(60), 200)
        } else {
            (72, 8, 4, ms(350), ms(100), ms(120), 1000)
        };
        let (rounds, blocks) = match args.blocks.map(usize::from) {
            Some(given) => (given, given),
            None => (rounds, blocks),
        };
        Effort {
            rounds,
            blocks,
            passes: passes.min(rounds).min(blocks),
            run,
            warm_up,
            cost_run,
            traced_messages,
            few_points: args.quick || args.test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_processor_is_shared_and_two_are_not() {
        let one = Layout::on(1).unwrap();
        assert_eq!(one.server, one.client);
        assert!(Layout::on(2).is_none_or(|two| two.server != two.client));
        assert_eq!(Layout::on(CpuSet::count() + 1), None);
    }

    #[test]
    fn a_layout_names_the_cpus_of_both_sides() {
        let lists = Layout { server: vec![0, 2], client: vec![1] };
        assert_eq!("0,2/1".parse(), Ok(lists.clone()));
        assert_eq!(lists.describe(), "server on CPU 0,2, client on CPU 1");
        assert_eq!("split".parse::<Layout>().unwrap().client, [1]);
        assert_eq!("none".parse::<Layout>().unwrap().describe(), "unpinned");
        assert!("0".parse::<Layout>().is_err() && "a/1".parse::<Layout>().is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
        let args = Args::parse_from(["compare", "--bench", "--server", "x=cat {addr}", "idle"]);
        assert!(args.filter.unwrap().is_match("idle_herd/x/900"));
    }
}
