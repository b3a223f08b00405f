//! What a load came to, with everything needed to judge it: for people as text, for programs as
//! JSON.

mod environment;
mod files;
mod text;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::outcome::per_second;
use crate::{Fault, Faults, Latency, Plan, RATE_TOLERANCE, Rate, Sample, Slice};

pub use environment::Environment;
pub use files::{csv, hgrm, log, read_log};
pub use text::{duration, group_digits};

/// Name and version of the JSON form. Fields may be added under the same version; one that changes
/// its meaning or goes makes it the next.
pub const SCHEMA: &str = "loadgen/1";

/// A load and what came of it. Serialised, it is the JSON form: durations are in the unit that
/// their name ends in, a `null` is unavailable or does not apply.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Where and by what it was measured.
    pub environment: Environment,
    /// What was asked for.
    pub load: Load,
    /// What was done.
    pub result: Outcome,
    /// How long messages took.
    pub latency: LatencySummary,
    /// What the generator cost.
    pub client: Client,
    /// Connections that ended in a fault, by its name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Where the first fault happened.
    pub first_fault: Option<String>,
    /// Why the figures must not be used as they are; empty if they may.
    pub invalid: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Where the server listens.
    pub address: String,
    /// The target of an open loop; `null` for a closed loop.
    pub rate: Option<Rate>,
    /// Connections that send, all threads together.
    pub connections: usize,
    /// Connections held open and silent.
    pub idle: usize,
    /// Connections that send and do not read.
    pub slow_readers: usize,
    /// Generator threads.
    pub threads: usize,
    /// Size of a message.
    pub message_bytes: usize,
    /// Messages on their way at the same time, per connection.
    pub depth: usize,
    /// A new connection for each message.
    pub churn: bool,
    /// Connections end by half-close.
    pub half_close: bool,
    /// Most bytes per send(2).
    pub fragment_bytes: Option<usize>,
    /// Every byte was checked.
    pub verified: bool,
    /// Longest wait.
    pub timeout_seconds: f64,
    /// Uncounted time before.
    pub warmup_seconds: f64,
    /// CPUs the threads were pinned to; empty if they were not.
    pub pinned_to: Vec<usize>,
    /// Addresses connected from; empty if the system chose.
    pub sources: Vec<String>,
    /// What content and arrivals were derived from.
    pub seed: u64,
}

/// What was done in the measured time.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The measured time.
    pub seconds: f64,
    /// Messages that came back whole and right.
    pub messages: u64,
    /// All connections together.
    pub messages_per_second: f64,
    /// On average.
    pub messages_per_second_per_connection: f64,
    /// Payload, one way.
    pub bytes: u64,
    /// Payload, one way, all connections together.
    pub bytes_per_second: f64,
    /// Achieved by target rate.
    pub achieved_ratio: Option<f64>,
    /// Messages that were due.
    pub due: u64,
    /// Those of them that were never sent.
    pub unsent: u64,
}

/// The three distributions.
#[derive(Clone, Debug, Serialize)]
pub struct LatencySummary {
    /// From the intended send to the last byte back.
    pub response: Distribution,
    /// From the actual send to the last byte back; `null` in a closed loop, where it is the same.
    pub service: Option<Distribution>,
    /// From the intended to the actual send; `null` in a closed loop.
    pub lateness: Option<Distribution>,
}

/// A distribution of times.
#[derive(Clone, Debug, Serialize)]
pub struct Distribution {
    /// Number of messages.
    pub count: u64,
    /// Shortest.
    pub min_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Standard deviation.
    pub stdev_ns: f64,
    /// Longest.
    pub max_ns: u64,
    /// The asked-for percentiles.
    pub percentiles: Vec<Percentile>,
}

/// One percentile.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentile {
    /// From 0 to 100.
    pub percentile: f64,
    /// So many percent of the messages took no longer.
    pub ns: u64,
    /// How many messages took longer. Under 10, the value is an anecdote.
    pub beyond: u64,
}

/// What the generator cost.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// CPU time in user space, all threads.
    pub user_seconds: f64,
    /// CPU time in the kernel, all threads.
    pub system_seconds: f64,
    /// CPU time per message that came back, warm-up and drain included in the time only.
    pub cpu_ns_per_message: Option<f64>,
    /// Share of one core that the busiest thread used.
    pub busiest_thread: f64,
    /// Whether that was all of it: then the generator was the limit. `null` when it spins by
    /// intent.
    pub saturated: Option<bool>,
    /// Share of the time that the most hindered thread was ready to run and had no core.
    pub waited: Option<f64>,
    /// Whether that was too much: something else on the machine made the messages late.
    pub starved: bool,
    /// Context switches because a thread waited.
    pub voluntary_switches: u64,
    /// Context switches because another thread wanted the core.
    pub involuntary_switches: u64,
}

impl Report {
    /// Puts together what is known about a run of `slice` on the connections of `plan`.
    pub fn new(
        plan: &Plan,
        slice: &Slice,
        sample: &Sample,
        latency: &Latency,
        first_fault: Option<String>,
        percentiles: &[f64],
    ) -> Report {
        let achieved_ratio = slice.rate.map(|rate| sample.rate() / rate.per_second);
        let open = |histogram| slice.rate.map(|_| Distribution::of(histogram, percentiles));
        Report {
            schema: SCHEMA,
            environment: Environment::here(),
            load: Load::new(plan, slice),
            result: Outcome {
                seconds: sample.elapsed.as_secs_f64(),
                messages: sample.messages,
                messages_per_second: sample.rate(),
                messages_per_second_per_connection: sample.rate() / plan.connections as f64,
                bytes: sample.bytes,
                bytes_per_second: per_second(sample.bytes, sample.elapsed),
                achieved_ratio,
                due: sample.due,
                unsent: sample.unsent,
            },
            latency: LatencySummary {
                response: Distribution::of(&latency.response, percentiles),
                service: open(&latency.service),
                lateness: open(&latency.lateness),
            },
            client: Client::of(sample, slice),
            faults: sample.faults.iter().map(|(fault, count)| (fault.name(), count)).collect(),
            first_fault,
            invalid: invalid(sample, achieved_ratio),
        }
    }

    /// Whether nothing went wrong.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}

fn invalid(sample: &Sample, achieved_ratio: Option<f64>) -> Vec<String> {
    let mut reasons = Vec::new();
    if sample.faults.total() > 0 {
        reasons.push(format!("connections failed: {}{}", sample.faults, advice(&sample.faults)));
    }
    if sample.messages == 0 {
        reasons.push("no message came back in the measured time".to_owned());
    }
    if let Some(ratio) = achieved_ratio
        && !sample.kept_up()
    {
        reasons.push(format!(
            "{:.1} % of the target rate was achieved; within {:.0} % is needed for the latency to \
             mean anything. Ask for less, or for more connections or depth, or run longer",
            ratio * 100.0,
            RATE_TOLERANCE * 100.0
        ));
    }
    reasons
}

fn advice(faults: &Faults) -> &'static str {
    if faults.count(Fault::NoPort) > 0 {
        ". This machine ran out of ports: give more --source addresses"
    } else if faults.count(Fault::EarlyClose) + faults.count(Fault::Reset) > 0 {
        ". The server closed them: it died, or ran out of something; its stderr may tell"
    } else if faults.count(Fault::Timeout) > 0 {
        ". The server did not answer in time; --timeout waits longer"
    } else if faults.count(Fault::Lost) > 0 {
        ". UDP may lose datagrams, above all where buffers are full; --timeout waits longer"
    } else if faults.count(Fault::Mismatch) + faults.count(Fault::Surplus) > 0 {
        ". The server does not echo what it is sent"
    } else {
        ""
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

impl Distribution {
    /// Sums up a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>, percentiles: &[f64]) -> Distribution {
        let percentile = |&percentile: &f64| {
            let ns = histogram.value_at_quantile(percentile / 100.0);
            let within = histogram.count_between(0, ns);
            Percentile { percentile, ns, beyond: histogram.len() - within }
        };
        Distribution {
            count: histogram.len(),
            min_ns: if histogram.is_empty() { 0 } else { histogram.min() },
            mean_ns: histogram.mean(),
            stdev_ns: histogram.stdev(),
            max_ns: histogram.max(),
            percentiles: percentiles.iter().map(percentile).collect(),
        }
    }
}

impl Client {
    fn of(sample: &Sample, slice: &Slice) -> Client {
        let cpu = &sample.cpu;
        let per_message = cpu.total().as_nanos() as f64 / sample.messages as f64;
        Client {
            user_seconds: cpu.user.as_secs_f64(),
            system_seconds: cpu.system.as_secs_f64(),
            cpu_ns_per_message: per_message.is_finite().then_some(per_message),
            busiest_thread: cpu.busiest_thread,
            saturated: (!slice.rate.is_some_and(|rate| rate.spin)).then(|| cpu.saturated()),
            waited: cpu.waited,
            starved: cpu.starved(),
            voluntary_switches: cpu.voluntary_switches,
            involuntary_switches: cpu.involuntary_switches,
        }
    }
}
