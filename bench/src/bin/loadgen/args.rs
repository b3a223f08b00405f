//! The command line.

use std::net::IpAddr;
use std::time::Duration;

use bench::load::{Address, Plan, Slice, Until};
use clap::{Args, Parser};

/// Loads an echo server and says what it did: here or on another machine, in whatever language.
///
/// Every byte that comes back is checked. The exit status is 0 if nothing went wrong, 1 if a
/// connection failed or the figures are invalid, 2 for a command line that makes no sense.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) load: Load,
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

    /// How long to measure, after the warm-up
    #[arg(short, long, value_name = "DURATION", default_value = "10s",
          value_parser = humantime::parse_duration, conflicts_with = "messages")]
    duration: Duration,

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

    /// A new connection for each message; --connections is then how many exist at a time
    #[arg(long)]
    churn: bool,

    /// How long to run before measuring [default: a fifth of the duration, at most 1s; 0s with
    /// --messages]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,

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

    /// Percentiles to report
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "50,90,99,99.9",
          value_parser = percentile)]
    pub(crate) percentiles: Vec<f64>,

    /// Write the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Load {
    /// The connections to open.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
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
            ..Plan::new(self.addr.as_ref().unwrap_or(&self.address).clone())
        }
    }

    /// What to run on them.
    pub(crate) fn slice(&self) -> Slice {
        let (until, warmup) = match self.messages {
            Some(count) => (Until::Messages(count), Duration::ZERO),
            None => {
                let warmup = (self.duration / 5).min(Duration::from_secs(1));
                (Until::Elapsed(self.duration), warmup)
            }
        };
        Slice { until, warmup: self.warmup.unwrap_or(warmup), rate: None }
    }
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give numbers from 0 to 100, as in 50,99,99.9".to_owned()),
    }
}
