//! The result of a load with its circumstances: as text for people, as JSON for programs.

mod cost;
mod environment;
mod files;
mod judge;
mod latency;
mod log;
mod text;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::outcome::per_second;
use crate::{Fault, Latency, MachineUse, Plan, Rate, Sample, Search, ServerSide, Slice};

pub use crate::limits::Limits;
pub use cost::{Client, Location, Machine, Server};
pub use environment::Environment;
pub use files::{csv, hgrm};
pub use judge::Warning;
pub use latency::{Distribution, LatencySummary, Percentile};
pub use log::{Header, log, read_log};
pub use text::{Notes, Text, duration, group_digits};

/// Name and version of the JSON form. New fields do not change the version. A field that disappears
/// or changes its meaning does.
const SCHEMA: &str = "loadgen/2";

/// A load and its result. The serialised report is the JSON form. A name ends in the unit of its
/// value. `null` means that the value is unavailable or does not apply.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name and version of this form.
    pub schema: &'static str,
    /// The machine and the program.
    pub environment: Environment,
    /// The requested load.
    pub load: Load,
    /// Counts and rates.
    pub result: Outcome,
    /// The search of --find-max, whose last run the other figures are of; `null` without a search.
    pub find_max: Option<Search>,
    /// The times of the messages.
    pub latency: LatencySummary,
    /// The CPU time of the generator.
    pub client: Client,
    /// The CPU time of the server.
    pub server: Server,
    /// The machine of the generator during the run.
    pub machine: Machine,
    /// The number of connections that ended in each fault.
    pub faults: BTreeMap<Fault, u64>,
    /// The first fault and its place.
    pub first_fault: Option<String>,
    /// What can have changed the figures. A run with warnings is valid.
    pub warnings: Vec<Warning>,
    /// Why the figures are wrong or misleading. Empty for a valid run.
    pub invalid: Vec<String>,
}

/// The requested load.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// The address of the server.
    pub address: String,
    /// The rate of an open loop; `null` for a closed loop.
    pub rate: Option<Rate>,
    /// Connections that send and read, on all threads together.
    pub connections: usize,
    /// Connections that stay open and silent.
    pub idle: usize,
    /// Connections that send and hardly read.
    pub slow_readers: usize,
    /// Generator threads.
    pub threads: usize,
    /// Size of a message.
    pub message_bytes: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// Whether each message has a new connection.
    pub churn: bool,
    /// Whether connections end by half-close.
    pub half_close: bool,
    /// Most bytes for one send(2); `null` without a bound.
    pub fragment_bytes: Option<usize>,
    /// Whether every byte is checked.
    pub verified: bool,
    /// Longest time to wait for a connection or a message.
    pub timeout_seconds: f64,
    /// Time of the load before anything counts.
    pub warmup_seconds: f64,
    /// CPUs of the threads; empty if the threads are not pinned.
    pub pinned_to: Vec<usize>,
    /// Local addresses; empty if the system chose.
    pub sources: Vec<String>,
    /// Seed of the content and of the arrival times.
    pub seed: u64,
}

/// The counts and rates of the measured time.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Whether a signal ended the run before its time. The other figures are of the time until
    /// then.
    pub interrupted: bool,
    /// The start of the measured time: UTC, as RFC 3339 writes it.
    pub started: Option<String>,
    /// The measured time.
    pub seconds: f64,
    /// Messages that came back whole and right.
    pub messages: u64,
    /// Messages per second, on all connections together.
    pub messages_per_second: f64,
    /// Messages per second on one connection, on average.
    pub messages_per_second_per_connection: f64,
    /// Payload in one direction.
    pub bytes: u64,
    /// Payload in one direction per second, on all connections together.
    pub bytes_per_second: f64,
    /// Open loop: messages that were due; `null` in a closed loop.
    pub due: Option<u64>,
    /// Open loop: messages that came back, as a share of those that were due.
    pub achieved_ratio: Option<f64>,
    /// Open loop: due messages that were never sent. They are in the distributions of response time
    /// and lateness, with the time from when they were due until the end of the run.
    pub unsent: Option<u64>,
}

/// Everything that is known of a run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The connections.
    pub plan: &'a Plan,
    /// The run on them.
    pub slice: &'a Slice,
    /// Its counters.
    pub sample: &'a Sample,
    /// Its distributions.
    pub latency: &'a Latency,
    /// Its first fault and the place, in words.
    pub first_fault: Option<String>,
    /// The start of the measured time.
    pub started: SystemTime,
    /// The server's processes.
    pub side: &'a ServerSide,
    /// The machine during the run.
    pub machine: &'a MachineUse,
    /// The search whose last run this is.
    pub search: Option<Search>,
    /// Whether a signal ended it early.
    pub interrupted: bool,
}

impl Report {
    /// Reports a run, with these percentiles from 0 to 100.
    pub fn new(run: Run<'_>, percentiles: &[f64]) -> Report {
        let Run { plan, slice, sample, latency, search, .. } = run;
        let is_open = slice.rate.is_some();
        let client = Client::of(sample, slice, latency);
        let machine = Machine::of(run.machine);
        Report {
            schema: SCHEMA,
            environment: Environment::here(),
            load: Load::new(plan, slice),
            result: Outcome {
                interrupted: run.interrupted,
                started: environment::rfc3339(run.started),
                seconds: sample.elapsed.as_secs_f64(),
                messages: sample.messages,
                messages_per_second: sample.rate(),
                messages_per_second_per_connection: sample.rate() / plan.connections as f64,
                bytes: sample.bytes,
                bytes_per_second: per_second(sample.bytes, sample.elapsed),
                due: is_open.then_some(sample.due),
                achieved_ratio: sample.achieved(),
                unsent: is_open.then_some(sample.unsent),
            },
            latency: LatencySummary::of(latency, percentiles),
            server: Server::of(run.side, run.machine, &client),
            warnings: judge::warnings(&client, &machine, search.as_ref()),
            machine,
            client,
            faults: sample.faults.iter().collect(),
            first_fault: run.first_fault,
            invalid: judge::invalid(sample, search.as_ref()),
            find_max: search,
        }
    }

    /// Whether the figures can be used as they are.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}

impl Load {
    fn new(plan: &Plan, slice: &Slice) -> Load {
        Load {
            address: plan.address.to_string(),
            rate: slice.rate,
            connections: plan.connections,
            idle: plan.idle,
            slow_readers: plan.slow_readers,
            threads: plan.threads,
            message_bytes: plan.size,
            depth: plan.depth,
            churn: plan.churn,
            half_close: plan.half_close,
            fragment_bytes: plan.fragment,
            verified: plan.verify,
            timeout_seconds: plan.timeout.as_secs_f64(),
            warmup_seconds: slice.warmup.as_secs_f64(),
            pinned_to: plan.pin.clone(),
            sources: plan.sources.iter().map(ToString::to_string).collect(),
            seed: plan.seed,
        }
    }
}
