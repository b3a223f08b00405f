//! The command line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use loadgen::{Address, Arrivals, Error, Objective, Plan, Rate, Result, ServerSide, Slice, Until};

use crate::{start, units};

/// Puts a load on an echo server, here or on another machine, and reports the result.
///
/// Every byte that comes back is checked. The exit status is 0 if nothing went wrong; 1 if a
/// connection failed or the figures are invalid; 2 if the command line makes no sense; 130 or 143 if
/// SIGINT or SIGTERM ended the run early and nothing else was wrong.
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
    /// Adds up the distributions and the rates, and lists the parts first. Refuses a log that is given
    /// twice, and an open loop beside a closed loop.
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

    /// Connections that send and read, on all threads together
    #[arg(short, long, value_name = "COUNT", default_value = "1", value_parser = units::length)]
    connections: usize,

    /// Threads that drive the connections. With one connection for each thread, the threads use
    /// blocking calls instead of epoll
    #[arg(short, long, value_name = "COUNT", default_value = "1", value_parser = units::length)]
    threads: usize,

    /// How long to measure, after the warm-up [default: 10s; each step of --find-max 2s]
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration,
          conflicts_with = "messages")]
    duration: Option<Duration>,

    /// Stop after this number of messages, on all connections together, instead of after a time
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = units::count)]
    messages: Option<u64>,

    /// Size of a message, for example 64, 1k (1000 bytes) or 16KiB (16384 bytes)
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::bytes)]
    size: usize,

    /// Messages in flight on each connection (pipelining)
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::length)]
    depth: usize,

    /// Further connections that stay open and silent; they are opened first
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = units::length)]
    idle: usize,

    /// Use UDP: one datagram for each message, and one message in flight for each client. A message
    /// that is not back within --timeout counts as lost, and the client sends its next message
    #[arg(long, conflicts_with_all = [
        "churn", "connect_rate", "depth", "find_max", "fragment", "half_close", "idle", "rate",
        "slow_readers",
    ])]
    udp: bool,

    /// Open a new connection for each message. --connections is then the number that exist at the
    /// same time
    #[arg(long)]
    churn: bool,

    /// How long to run before measuring [default: a fifth of the duration, at most 1s; 0s with
    /// --messages]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,

    /// Open loop: messages per second, on all connections together, for example 20k. The clock decides when a message
    /// is due, whatever the server does, and response time counts from that moment
    #[arg(short = 'R', long, value_name = "PER_SECOND", conflicts_with = "churn",
          value_parser = units::rate)]
    rate: Option<f64>,

    /// The distribution of the times between two messages of an open loop
    #[arg(long, value_enum, default_value = "poisson", requires = "open_loop")]
    arrivals: Spread,

    /// Open loop: poll instead of sleeping until the next message is due. Messages leave more
    /// punctually, and each thread uses a whole core
    #[arg(long, requires = "open_loop")]
    spin: bool,

    /// Open the connections, and start the load at this time: UTC, as 2026-11-21T17:00:00Z, or seconds
    /// since 1970. Several clients with the same time start together, and "merge" adds up their logs
    #[arg(long, value_name = "TIME", value_parser = start::parse, conflicts_with = "find_max")]
    pub(crate) start_at: Option<SystemTime>,

    /// Search the highest rate at which response times keep a promise, as in 'p99<1ms'. A rate counts
    /// as too high after three runs, and is found when two more runs confirm it
    #[arg(long, value_name = "PROMISE", conflicts_with_all = ["churn", "messages"])]
    pub(crate) find_max: Option<Objective>,

    /// Connections per second while they are opened [default: without a limit]
    #[arg(long, value_name = "PER_SECOND", value_parser = units::rate)]
    connect_rate: Option<f64>,

    /// Further connections that send all the time and hardly read
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = units::length)]
    slow_readers: usize,

    /// Most bytes for one write, so that messages leave in pieces
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    fragment: Option<usize>,

    /// Shut down the sending half of each connection behind its last message. The server must then
    /// return every byte and close its side
    #[arg(long)]
    half_close: bool,

    /// Pin a thread to this CPU; give it once for all threads, or once for each
    #[arg(long, value_name = "CPU")]
    pin: Vec<usize>,

    /// A process of the server on this machine, to report its CPU time with that of its children; give
    /// it several times for several processes [default: the processes that listen at the address]
    #[arg(long = "server-pid", value_name = "PID")]
    server_pids: Vec<i32>,

    /// Longest time to wait for a connection, a message, or the end of a stream
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Local IP address of the connections; give it several times to use several in turn
    #[arg(long = "source", value_name = "IP")]
    sources: Vec<IpAddr>,

    /// Seed of the content of the messages and of random arrivals. The same seed repeats both
    /// [default: a new one for each run, which the report has]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Do not check the bytes that come back
    #[arg(long)]
    no_verify: bool,

    #[command(flatten)]
    pub(crate) percentiles: Percentiles,

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
        let bad_plan = |text: &str| Err(Error::BadPlan(text.to_owned()));
        if self.pin.len() > self.threads {
            return bad_plan("more --pin than threads: give one for all threads, or one for each");
        }
        if self.churn && self.connect_rate.is_some() && self.idle == 0 {
            return bad_plan(
                "--connect-rate has no effect: --churn connects when a message is back",
            );
        }
        let address = self.addr.as_ref().unwrap_or(&self.address).clone();
        let address = if self.udp { address.over_udp() } else { Ok(address) };
        let address = address.map_err(|error| Error::BadPlan(error.to_string()))?;
        Ok(Plan {
            connections: self.connections,
            idle: self.idle,
            threads: self.threads,
            size: self.size,
            depth: self.depth,
            churn: self.churn,
            verify: !self.no_verify,
            timeout: self.timeout,
            sources: self.sources.clone(),
            pin: self.pin.clone(),
            seed: self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            slow_readers: self.slow_readers,
            fragment: self.fragment,
            half_close: self.half_close,
            connect_rate: self.connect_rate,
            interval: self.interval.or(self.has_intervals().then_some(Duration::from_secs(1))),
            ..Plan::new(address)
        })
    }

    /// Whether the run keeps a time series.
    pub(crate) fn has_intervals(&self) -> bool {
        self.interval.is_some() || self.csv.is_some()
    }

    /// The server's processes.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] for a --server-pid that does not exist.
    pub(crate) fn server_side(&self, address: &Address) -> Result<ServerSide> {
        match self.server_pids.is_empty() {
            true => Ok(ServerSide::find(address)),
            false => ServerSide::given(&self.server_pids),
        }
    }

    /// The files to write.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.csv, &self.hgrm, &self.log].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The run on the connections.
    pub(crate) fn slice(&self) -> Slice {
        let (until, warmup) = match self.messages {
            Some(count) => (Until::Messages(count), Duration::ZERO),
            None => {
                let unless_said = if self.find_max.is_some() { 2 } else { 10 };
                let duration = self.duration.unwrap_or(Duration::from_secs(unless_said));
                (Until::Elapsed(duration), (duration / 5).min(Duration::from_secs(1)))
            }
        };
        let rate = self.rate.map(|rate| self.rate_of(rate));
        Slice { until, warmup: self.warmup.unwrap_or(warmup), rate }
    }

    /// The percentiles to report, with the percentile of the promise.
    pub(crate) fn percentiles(&self) -> Vec<f64> {
        let mut list = self.percentiles.list.clone();
        if let Some(Objective { percentile, .. }) = self.find_max
            && !list.contains(&percentile)
        {
            list.push(percentile);
            list.sort_by(f64::total_cmp);
        }
        list
    }

    /// An open loop at this rate, with the requested arrivals.
    pub(crate) fn rate_of(&self, per_second: f64) -> Rate {
        let arrivals = match self.arrivals {
            Spread::Uniform => Arrivals::Uniform,
            Spread::Poisson => Arrivals::Poisson,
        };
        Rate { per_second, arrivals, spin: self.spin }
    }
}

/// [`Arrivals`], as values of an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spread {
    /// Equal times
    Uniform,
    /// Random times with an exponential distribution, as of many independent users
    Poisson,
}

fn percentile(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give numbers from 0 to 100, for example 50,99,99.9".to_owned()),
    }
}
