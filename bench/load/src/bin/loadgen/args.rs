//! The command line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Parser, Subcommand};
use loadgen::{Address, Error, Objective, Plan, Rate, Result, ServerSide, Slice, Until};

use crate::{start, units};

/// Puts a load on an echo server, here or on another machine, and reports the result.
///
/// Every byte that comes back is checked. The exit status is 0 if nothing went wrong; 1 if a
/// connection failed or the figures are invalid; 2 if the command line makes no sense; 130 or 143
/// if SIGINT or SIGTERM ended the run early and nothing else was wrong.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) load: Load,
}

/// The other commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add up the logs of several clients that ran at the same time
    ///
    /// Adds up the distributions and the rates, and lists the parts first. Refuses a log that is
    /// given twice, and an open loop beside a closed loop. What was wrong with a client is wrong
    /// with the sum. Clients that did not run at the same time have no common rate. In both cases
    /// the exit status is 1.
    Merge(Merge),
}

/// The options of `merge`.
#[derive(Args, Debug)]
pub(crate) struct Merge {
    /// Logs that --log wrote
    #[arg(value_name = "LOG", required = true)]
    pub(crate) logs: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) percentiles: Percentiles,

    /// Print the sum as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the distribution of response times to this file, as percentile text (HdrHistogram's
    /// .hgrm)
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
}

/// The percentiles of a report.
#[derive(Args, Debug)]
pub(crate) struct Percentiles {
    /// Percentiles to report
    #[arg(long = "percentiles", value_name = "LIST", value_delimiter = ',',
          default_value = "50,90,99,99.9", value_parser = percentile)]
    pub(crate) list: Vec<f64>,
}

/// The options of a load.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("series").args(["csv", "log"]).multiple(true))]
#[command(group = ArgGroup::new("open_loop").args(["rate", "find_max"]))]
pub(crate) struct Load {
    /// The server, on this machine or another: HOST:PORT, [IPV6]:PORT or unix:PATH
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:7000")]
    address: Address,

    /// The server, with the option name of the servers
    #[arg(long = "addr", value_name = "ADDR", conflicts_with = "address")]
    addr: Option<Address>,

    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    messages: Messages,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    schedule: Schedule,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Connections")]
struct Connections {
    /// Connections that send and read, on all threads together
    #[arg(short, long = "connections", value_name = "COUNT", default_value = "1",
          value_parser = units::length)]
    count: usize,

    /// Further connections that stay open and silent; they are opened first
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = units::length)]
    idle: usize,

    /// Further connections that send all the time and hardly read
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = units::length)]
    slow_readers: usize,

    /// Open a new connection for each message. --connections is then the number that exist at the
    /// same time
    #[arg(long)]
    churn: bool,

    /// Shut down the sending half of each connection behind its last message. The server must then
    /// return every byte and close its side
    #[arg(long)]
    half_close: bool,

    /// Connections per second while they are opened [default: without a limit]
    #[arg(long, value_name = "PER_SECOND", value_parser = units::rate)]
    connect_rate: Option<f64>,

    /// Local IP address of the connections; give it several times to use several in turn
    #[arg(long = "source", value_name = "IP")]
    sources: Vec<IpAddr>,

    /// Longest time to wait for a connection, a message, or the end of a stream
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Messages")]
struct Messages {
    /// Size of a message, for example 64, 1k (1000 bytes) or 16KiB (16384 bytes)
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::bytes)]
    size: usize,

    /// Messages in flight on each connection (pipelining)
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::length)]
    depth: usize,

    /// Most bytes for one write, so that messages leave in pieces
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    fragment: Option<usize>,

    /// Use UDP: one datagram for each message, and one message in flight for each client. A message
    /// that is not back within --timeout counts as lost, and the client sends its next message
    #[arg(long, conflicts_with_all = [
        "churn", "connect_rate", "depth", "find_max", "fragment", "half_close", "idle", "rate",
        "slow_readers",
    ])]
    udp: bool,

    /// Do not check the bytes that come back
    #[arg(long)]
    no_verify: bool,

    /// Seed of the content of the messages and of random arrivals. The same seed repeats both
    /// [default: a new one for each run; the report has it]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Time")]
struct Time {
    /// How long to measure, after the warm-up [default: 10s; each run of --find-max 2s]
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration,
          conflicts_with = "messages")]
    duration: Option<Duration>,

    /// Stop after this number of messages, on all connections together, instead of after a time
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = units::count)]
    messages: Option<u64>,

    /// How long to run before measuring [default: a fifth of the duration, at most 1s; 0s with
    /// --messages]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,

    /// Open the connections, and start the load at this time: UTC, as 2026-11-21T17:00:00Z, or
    /// seconds since 1970. Clients with the same time start together, and "merge" adds up their
    /// logs
    #[arg(long, value_name = "TIME", value_parser = start::parse, conflicts_with = "find_max")]
    start_at: Option<SystemTime>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Open loop")]
struct Schedule {
    /// Messages per second, on all connections together, for example 20k. The clock decides when a
    /// message is due, whatever the server does, and response time counts from that moment
    #[arg(short = 'R', long, value_name = "PER_SECOND", conflicts_with = "churn",
          value_parser = units::rate)]
    rate: Option<f64>,

    /// The times between two messages: "poisson" for random times, as of many independent users, or
    /// "uniform" for equal times
    #[arg(long, value_name = "KIND", default_value = "poisson", requires = "open_loop",
          value_parser = ["poisson", "uniform"])]
    arrivals: String,

    /// Poll instead of sleeping until the next message is due. Messages leave more punctually, and
    /// each thread uses a whole core
    #[arg(long, requires = "open_loop")]
    spin: bool,

    /// Search the highest rate at which response times keep a promise, as in 'p99<1ms'. A rate
    /// counts as too high after three runs, and is found when two more runs confirm it
    #[arg(long, value_name = "PROMISE", conflicts_with_all = ["churn", "messages"])]
    find_max: Option<Objective>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "This machine")]
struct Machine {
    /// Threads that drive the connections. With one connection for each thread, the threads use
    /// blocking calls instead of epoll
    #[arg(short, long, value_name = "COUNT", default_value = "1", value_parser = units::length)]
    threads: usize,

    /// Pin a thread to this CPU; give it once for all threads, or once for each
    #[arg(long, value_name = "CPU")]
    pin: Vec<usize>,

    /// A process of the server on this machine. The report has its CPU time and that of its
    /// children; give it several times for several processes [default: those that listen at the
    /// address]
    #[arg(long = "server-pid", value_name = "PID")]
    server_pids: Vec<i32>,
}

/// What to write, and where.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    #[command(flatten)]
    percentiles: Percentiles,

    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Length of the intervals of --csv and --log [default: 1s for --csv; one interval for --log]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration,
          requires = "series")]
    interval: Option<Duration>,

    /// Write a line for each interval to this file, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Write the distribution of response times to this file, as percentile text (HdrHistogram's
    /// .hgrm)
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Write the distributions of each interval to this file, as a HdrHistogram log (V2). "merge"
    /// reads such a log
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl Load {
    /// The connections.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] for a path with --udp, and for options without an effect.
    pub(crate) fn plan(&self) -> Result<Plan> {
        self.check_effects()?;
        let Load { connections, messages, machine, .. } = self;
        let address = self.addr.as_ref().unwrap_or(&self.address).clone();
        let address = if messages.udp { address.over_udp() } else { Ok(address) };
        let address = address.map_err(|error| Error::BadPlan(error.to_string()))?;
        let interval = self.output.interval;
        Ok(Plan {
            connections: connections.count,
            idle: connections.idle,
            slow_readers: connections.slow_readers,
            threads: machine.threads,
            size: messages.size,
            depth: messages.depth,
            churn: connections.churn,
            half_close: connections.half_close,
            fragment: messages.fragment,
            verify: !messages.no_verify,
            timeout: connections.timeout,
            connect_rate: connections.connect_rate,
            sources: connections.sources.clone(),
            pin: machine.pin.clone(),
            seed: messages.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            interval: interval.or(self.has_intervals().then_some(Duration::from_secs(1))),
            ..Plan::new(address)
        })
    }

    /// Refuses options that would have no effect beside the others.
    fn check_effects(&self) -> Result<()> {
        let Load { connections, messages, machine, .. } = self;
        let random = self.is_open_loop() && self.schedule.arrivals == "poisson";
        let wrong = if machine.pin.len() > machine.threads {
            "more --pin than threads: give one for all threads, or one for each"
        } else if connections.churn && connections.connect_rate.is_some() && connections.idle == 0 {
            "--connect-rate has no effect: --churn connects when a message is back"
        } else if messages.seed.is_some() && messages.no_verify && !random {
            "--seed has no effect: with --no-verify, only random arrivals need one"
        } else {
            return Ok(());
        };
        Err(Error::BadPlan(wrong.to_owned()))
    }

    fn is_open_loop(&self) -> bool {
        self.schedule.rate.is_some() || self.find_max().is_some()
    }

    /// The promise of a search.
    pub(crate) fn find_max(&self) -> Option<Objective> {
        self.schedule.find_max
    }

    /// When to start; at once if `None`.
    pub(crate) fn start_at(&self) -> Option<SystemTime> {
        self.time.start_at
    }

    /// Whether the run keeps a time series.
    pub(crate) fn has_intervals(&self) -> bool {
        self.output.interval.is_some() || self.output.csv.is_some()
    }

    /// The server's processes.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] for a --server-pid that does not exist.
    pub(crate) fn server_side(&self, address: &Address) -> Result<ServerSide> {
        match &self.machine.server_pids[..] {
            [] => Ok(ServerSide::find(address)),
            pids => ServerSide::given(pids),
        }
    }

    /// The files to write.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let Output { csv, hgrm, log, .. } = &self.output;
        [csv, hgrm, log].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The run on the connections.
    pub(crate) fn slice(&self) -> Slice {
        let (until, warmup) = match self.time.messages {
            Some(count) => (Until::Messages(count), Duration::ZERO),
            None => {
                let default = Duration::from_secs(if self.find_max().is_some() { 2 } else { 10 });
                let duration = self.time.duration.unwrap_or(default);
                (Until::Elapsed(duration), (duration / 5).min(Duration::from_secs(1)))
            }
        };
        let rate = self.schedule.rate.map(|rate| self.rate_of(rate));
        Slice { until, warmup: self.time.warmup.unwrap_or(warmup), rate }
    }

    /// The percentiles to report, with the percentile of the promise.
    pub(crate) fn percentiles(&self) -> Vec<f64> {
        let mut list = self.output.percentiles.list.clone();
        if let Some(Objective { percentile, .. }) = self.find_max()
            && !list.contains(&percentile)
        {
            list.push(percentile);
            list.sort_by(f64::total_cmp);
        }
        list
    }

    /// An open loop at this rate, with the requested arrivals.
    pub(crate) fn rate_of(&self, per_second: f64) -> Rate {
        let rate = match self.schedule.arrivals.as_str() {
            "uniform" => Rate::uniform(per_second),
            _ => Rate::poisson(per_second),
        };
        Rate { spin: self.schedule.spin, ..rate }
    }
}

fn percentile(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give numbers from 0 to 100, for example 50,99,99.9".to_owned()),
    }
}
