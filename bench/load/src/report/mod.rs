//! The result of a load with its circumstances: as text for people, as JSON for programs.

mod environment;
mod files;
mod judge;
mod log;
mod text;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::outcome::per_second;
use crate::{Fault, Latency, MachineUse, Plan, Rate, Sample, Search, ServerSide, Slice};

pub use crate::limits::Limits;
pub use environment::Environment;
pub use files::{csv, hgrm};
pub use judge::Warning;
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
    /// Whether a signal ended the run before its time. The other figures are of the time until then.
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

/// The distributions of a run. `null` if no message came back.
#[derive(Clone, Debug, Serialize)]
pub struct LatencySummary {
    /// From the intended send to the last byte back.
    pub response: Option<Distribution>,
    /// From the actual send to the last byte back; `null` in a closed loop, where it is the same.
    pub service: Option<Distribution>,
    /// From the intended to the actual send; `null` in a closed loop.
    pub lateness: Option<Distribution>,
    /// The part of the lateness that the generator caused; `null` in a closed loop.
    pub own_lateness: Option<Distribution>,
}

/// A distribution of times. In its JSON form, percentile 99.9 is `p99.9_ns`, and the number of
/// messages beyond it is `p99.9_beyond`.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// Number of messages.
    pub count: u64,
    /// Shortest time.
    pub min_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Standard deviation.
    pub stdev_ns: f64,
    /// Longest time.
    pub max_ns: u64,
    /// The requested percentiles.
    pub percentiles: Vec<Percentile>,
}

/// One percentile of a distribution.
#[derive(Clone, Copy, Debug)]
pub struct Percentile {
    /// From 0 to 100.
    pub percentile: f64,
    /// This percentage of the messages took at most this time.
    pub ns: u64,
    /// The number of messages that took longer. The percentile means little if they are fewer than
    /// 10.
    pub beyond: u64,
}

/// The CPU time of the generator.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// CPU time in user space, of all threads.
    pub user_seconds: f64,
    /// CPU time in the kernel, of all threads.
    pub system_seconds: f64,
    /// CPU time for one message. Time and messages include warm-up and drain.
    pub cpu_ns_per_message: Option<f64>,
    /// Share of one core that the busiest thread used.
    pub busiest_thread: f64,
    /// Whether a thread used a whole core. Then the generator was the limit. `null` for a generator
    /// that spins on request.
    pub saturated: Option<bool>,
    /// Share of the time that a thread was ready to run and waited for a core.
    pub waited: Option<f64>,
    /// Whether that share is so large that other programs delayed the messages; `null` if the share
    /// is unavailable.
    pub starved: Option<bool>,
    /// Whether the median of `own_lateness` is more than a tenth of the median response time. Then the
    /// response times are those of the generator. `null` in a closed loop.
    pub late: Option<bool>,
    /// Context switches because a thread waited.
    pub voluntary_switches: u64,
    /// Context switches because another thread wanted the core.
    pub involuntary_switches: u64,
}

/// The CPU time of the server, of its children, and of its children that have ended.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Where the server runs. Its CPU time is available if that is here.
    pub location: Location,
    /// The processes that were given, or that hold the listening socket.
    pub pids: Vec<i32>,
    /// CPU time, warm-up and drain included.
    pub cpu_seconds: Option<f64>,
    /// CPU time as a number of cores that were busy all the time.
    pub cores: Option<f64>,
    /// CPU time for one message. Time and messages include warm-up and drain.
    pub cpu_ns_per_message: Option<f64>,
    /// CPU time of server and client for one message. On loopback, the sender's CPU time contains the
    /// receive processing, so only the sum compares servers.
    pub with_client_cpu_ns_per_message: Option<f64>,
}

/// Where the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// On this machine, in known processes.
    Here,
    /// On another machine.
    Elsewhere,
    /// On this machine, but no process is visible that holds the listening socket.
    Unknown,
}

/// The machine of the generator during the run, warm-up and drain included. A number of cores says how
/// many would have been busy all the time.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that programs other than the generator and the server used.
    pub others_cores: Option<f64>,
    /// Cores that the hypervisor kept from this machine.
    pub steal_cores: Option<f64>,
    /// Cores that interrupts and soft interrupts used.
    pub interrupt_cores: Option<f64>,
    /// Whether others or steal used more than a twentieth of a core.
    pub disturbed: Option<bool>,
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

impl LatencySummary {
    /// Summarises the distributions, with these percentiles from 0 to 100.
    pub fn of(latency: &Latency, percentiles: &[f64]) -> LatencySummary {
        let of = |histogram| Distribution::of(histogram, percentiles);
        LatencySummary {
            response: of(&latency.response),
            service: of(&latency.service),
            lateness: of(&latency.lateness),
            own_lateness: of(&latency.own_lateness),
        }
    }
}

impl Distribution {
    /// Summarises a histogram of nanoseconds. `None` for an empty one.
    fn of(histogram: &Histogram<u64>, percentiles: &[f64]) -> Option<Distribution> {
        let percentile = |&percentile: &f64| {
            let ns = histogram.value_at_quantile(percentile / 100.0);
            let within = histogram.count_between(0, ns);
            Percentile { percentile, ns, beyond: histogram.len() - within }
        };
        (!histogram.is_empty()).then(|| Distribution {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            stdev_ns: histogram.stdev(),
            max_ns: histogram.max(),
            percentiles: percentiles.iter().map(percentile).collect(),
        })
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("min_ns", &self.min_ns)?;
        map.serialize_entry("mean_ns", &self.mean_ns)?;
        map.serialize_entry("stdev_ns", &self.stdev_ns)?;
        map.serialize_entry("max_ns", &self.max_ns)?;
        for Percentile { percentile, ns, beyond } in &self.percentiles {
            map.serialize_entry(&format!("p{percentile}_ns"), ns)?;
            map.serialize_entry(&format!("p{percentile}_beyond"), beyond)?;
        }
        map.end()
    }
}

impl Client {
    fn of(sample: &Sample, slice: &Slice, latency: &Latency) -> Client {
        let cpu = &sample.cpu;
        Client {
            user_seconds: cpu.user.as_secs_f64(),
            system_seconds: cpu.system.as_secs_f64(),
            cpu_ns_per_message: per_message(cpu.total(), sample.answered),
            busiest_thread: cpu.busiest_thread,
            saturated: (!slice.rate.is_some_and(|rate| rate.spin)).then(|| cpu.saturated()),
            waited: cpu.waited,
            starved: cpu.waited.map(|_| cpu.starved()),
            late: latency.is_late(),
            voluntary_switches: cpu.voluntary_switches,
            involuntary_switches: cpu.involuntary_switches,
        }
    }
}

impl Server {
    fn of(side: &ServerSide, machine: &MachineUse, client: &Client) -> Server {
        let (location, pids) = match side {
            ServerSide::Here(pids) => (Location::Here, pids.as_slice()),
            ServerSide::Elsewhere => (Location::Elsewhere, [].as_slice()),
            ServerSide::Unknown => (Location::Unknown, [].as_slice()),
        };
        let cpu = machine.server;
        let cpu_ns_per_message = cpu.and_then(|cpu| per_message(cpu, machine.messages));
        let both = cpu_ns_per_message.zip(client.cpu_ns_per_message);
        Server {
            location,
            pids: pids.iter().map(|pid| pid.as_raw()).collect(),
            cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
            cores: cpu.map(|cpu| machine.cores(cpu)),
            cpu_ns_per_message,
            with_client_cpu_ns_per_message: both.map(|(server, client)| server + client),
        }
    }
}

impl Machine {
    fn of(machine: &MachineUse) -> Machine {
        let cores = |time: Option<Duration>| time.map(|time| machine.cores(time));
        Machine {
            others_cores: cores(machine.others),
            steal_cores: cores(machine.steal),
            interrupt_cores: cores(machine.interrupts),
            disturbed: machine.disturbed(),
        }
    }
}

fn per_message(time: Duration, messages: u64) -> Option<f64> {
    (messages > 0).then(|| time.as_nanos() as f64 / messages as f64)
}
