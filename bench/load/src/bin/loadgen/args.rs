//! The command line.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use loadgen::{Address, Arrivals, Objective, Plan, Rate, Slice, Until};

/// Loads an echo server and says what it did: here or on another machine, in whatever language.
///
/// Every byte that comes back is checked. The exit status is 0 if nothing went wrong, 1 if a
/// connection failed or the figures are invalid, 2 for a command line that makes no sense.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) load: Load,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add up the logs of several clients that ran at the same time
    ///
    /// The distributions are added up, and the rates. What is added up is listed first. A log that is
    /// given twice is refused, and so is an open loop beside a closed one.
    Merge(Merge),
}

/// Logs to add up.
#[derive(Args, Debug)]
pub(crate) struct Merge {
    /// Logs that --log wrote
    #[arg(value_name = "LOG", required = true)]
    pub(crate) logs: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) percentiles: Percentiles,

    /// Write the sum as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the distribution of response times as percentile text (HdrHistogram's .hgrm) to this
    /// file
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
}

/// Which percentiles.
#[derive(Args, Debug)]
pub(crate) struct Percentiles {
    /// Percentiles to report
    #[arg(long = "percentiles", value_name = "LIST", value_delimiter = ',',
          default_value = "50,90,99,99.9", value_parser = percentile)]
    pub(crate) list: Vec<f64>,
}

/// What to do, and how to report it.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// The server, on this machine or another: HOST:PORT, or unix:PATH
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:7000")]
    address: Address,

    /// The same, as the servers have it
    #[arg(long = "addr", value_name = "ADDR", conflicts_with = "address")]
    addr: Option<Address>,

    /// Connections that send, all threads together
    #[arg(short, long, value_name = "COUNT", default_value_t = 1)]
    connections: usize,

    /// Threads that drive them; with as many as connections, each blocks in its own
    #[arg(short, long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,

    /// How long to measure, after the warm-up [default: 10s; each step of --find-max 2s]
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration,
          conflicts_with = "messages")]
    duration: Option<Duration>,

    /// Stop after so many messages, all connections together, instead of after a time
    #[arg(short = 'n', long, value_name = "COUNT")]
    messages: Option<u64>,

    /// Size of a message in bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    size: usize,

    /// Messages on their way at the same time, per connection (pipelining)
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    depth: usize,

    /// Connections held open and silent beside them, opened first
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    idle: usize,

    /// Over UDP: a message is a datagram, one at a time per client. One that is not back within
    /// --timeout is counted as lost, and the client goes on with the next
    #[arg(long, conflicts_with_all = [
        "churn", "connect_rate", "depth", "find_max", "fragment", "half_close", "idle", "rate",
        "slow_readers",
    ])]
    udp: bool,

    /// A new connection for each message; --connections is then how many exist at a time
    #[arg(long)]
    churn: bool,

    /// How long to run before measuring [default: a fifth of the duration, at most 1s; 0s with
    /// --messages]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,

    /// Open loop: messages per second, all connections together, sent by the clock whatever the
    /// server does. Response time then counts from the intended send
    #[arg(short = 'R', long, value_name = "PER_SECOND", conflicts_with_all = ["churn", "find_max"])]
    rate: Option<f64>,

    /// How the messages of an open loop are spread over time
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    arrivals: Spread,

    /// Open loop: spend a whole core to send punctually
    #[arg(long)]
    spin: bool,

    /// Search the highest rate at which response times keep a promise, as in 'p99<1ms'
    #[arg(long, value_name = "PROMISE", conflicts_with_all = ["churn", "messages"])]
    pub(crate) find_max: Option<Objective>,

    /// Connections per second while they are opened [default: as fast as they can be]
    #[arg(long, value_name = "PER_SECOND")]
    connect_rate: Option<f64>,

    /// Connections beside them that send all the time and read next to nothing
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    slow_readers: usize,

    /// Most bytes per write: messages leave in pieces
    #[arg(long, value_name = "BYTES")]
    fragment: Option<usize>,

    /// End each connection by shutting down the sending half behind a last message, and expect all
    /// of it back and then the end of the stream
    #[arg(long)]
    half_close: bool,

    /// Pin the threads to this CPU; given several times, in turn
    #[arg(long, value_name = "CPU")]
    pin: Vec<usize>,

    /// Longest wait for a connection, a message, or an end of stream
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Connect from this address of this machine; given several times, in turn
    #[arg(long = "source", value_name = "IP")]
    sources: Vec<IpAddr>,

    /// What the content of the messages and random arrivals are derived from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Do not look at what comes back
    #[arg(long)]
    no_verify: bool,

    #[command(flatten)]
    pub(crate) percentiles: Percentiles,

    /// Write the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Keep a time series: the length of its intervals
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    interval: Option<Duration>,

    /// Write the time series to this file; every second unless --interval says otherwise
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Write the distribution of response times as percentile text (HdrHistogram's .hgrm) to this
    /// file
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Write the distributions as a HdrHistogram log (V2) to this file, a line per interval;
    /// "merge" reads it
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl Load {
    /// The connections to open.
    ///
    /// # Errors
    ///
    /// A path with --udp.
    pub(crate) fn plan(&self) -> io::Result<Plan> {
        let address = self.addr.as_ref().unwrap_or(&self.address).clone();
        let address = if self.udp { address.over_udp()? } else { address };
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
            seed: self.seed,
            slow_readers: self.slow_readers,
            fragment: self.fragment,
            half_close: self.half_close,
            connect_rate: self.connect_rate,
            interval: self.interval.or(self.csv.is_some().then_some(Duration::from_secs(1))),
            ..Plan::new(address)
        })
    }

    /// The files to be written.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.csv, &self.hgrm, &self.log].into_iter().flatten().map(PathBuf::as_path)
    }

    /// What to run on them.
    pub(crate) fn slice(&self) -> Slice {
        let (until, warmup) = match self.messages {
            Some(count) => (Until::Messages(count), Duration::ZERO),
            None => {
                let unless_said = if self.find_max.is_some() { 2 } else { 10 };
                let duration = self.duration.unwrap_or(Duration::from_secs(unless_said));
                (Until::Elapsed(duration), (duration / 5).min(Duration::from_secs(1)))
            }
        };
        let rate = self.rate.map(|rate| self.spread(rate));
        Slice { until, warmup: self.warmup.unwrap_or(warmup), rate }
    }

    /// An open loop at this rate, spread as asked for.
    pub(crate) fn spread(&self, per_second: f64) -> Rate {
        let arrivals = match self.arrivals {
            Spread::Uniform => Arrivals::Uniform,
            Spread::Poisson => Arrivals::Poisson,
        };
        Rate { per_second, arrivals, spin: self.spin }
    }
}

/// [`Arrivals`] as the command line has them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spread {
    /// At equal distances
    Uniform,
    /// At random, as with many independent users
    Poisson,
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give numbers from 0 to 100, as in 50,99,99.9".to_owned()),
    }
}
