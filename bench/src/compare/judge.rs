//! Evaluates the measurements of a point: estimates, comparisons, costs and flags.

use std::time::Duration;

use hdrhistogram::Histogram;
use loadgen::SATURATED;

use crate::cost::{Cost, Reading, Usage};
use crate::entrant::Entrant;
use crate::results::{
    Case, CaseCost, Comparison, Fit, Interleaving, Latency, LatencyKind, LoadInfo, Metric, Outcome,
    Percentile, Point, Scenario,
};
use crate::statistics::{Estimate, Line, Verdict, by_pass, median};

use super::measured::Measured;

/// CPU time of a quiet server, in nanoseconds per second, below which the difference is noise.
/// Lower values count as this value, because a ratio of two such values is a ratio of noise.
const QUIET_NS_PER_S: f64 = 10_000.0;

/// A server with at least this share of a core is busy. The machine is busy with at least this
/// share of all its processors.
const BUSY: f64 = 0.9;

/// The smallest share of the offered rate that an open loop must achieve.
const ACHIEVED_MIN: f64 = 0.99;

/// With more steal time than this share of a processor, a case gets a flag.
const STEAL_MAX: f64 = 0.02;

/// The percentiles of a latency curve.
const QUANTILES: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// Summarises one point. `reference` and `control` are positions among the entrants.
pub(super) fn point(
    entrants: &[Entrant],
    measured: &[Measured],
    (x, label, interleaving): (f64, String, Interleaving),
    metric: Metric,
    (reference, control): (usize, usize),
    seed: u64,
) -> Point {
    let values = |index: usize, metric: Metric| values(&measured[index], metric);
    let ratio = |index: usize, metric: Metric| {
        let ends = &measured[reference].pass_ends;
        Estimate::of_ratios(&values(index, metric), &values(reference, metric), ends, seed)
    };
    let noise_floor = |metric: Metric| ratio(control, metric);
    let reference_limited = generator_was_the_limit(&measured[reference]);
    let compare = |index: usize, metric: Metric| {
        let ratio = ratio(index, metric)?;
        let limited = generator_was_the_limit(&measured[index]).or(reference_limited.clone());
        let cpu_based = matches!(metric, Metric::MessagesPerCpuSecond | Metric::CpuPerSecond);
        let noise_floor = noise_floor(metric);
        let unranked = match (&outcome(&measured[index]), limited) {
            (Outcome::Measured, Some(reason)) if !cpu_based => Some(reason),
            (Outcome::Measured, _) if noise_floor.is_none() => Some("no A/A control".to_owned()),
            (Outcome::Measured, _) => None,
            _ => Some("the requested load was not measured".to_owned()),
        };
        let verdict = match unranked {
            Some(_) => Verdict::NotDistinguishable,
            None => Verdict::of(&ratio, noise_floor.as_ref(), metric.more_is_better()),
        };
        Some(Comparison { metric, ratio, verdict, unranked })
    };
    let cases = entrants.iter().zip(measured).enumerate().map(|(index, (entrant, measured))| {
        let per_cpu = Some(Metric::MessagesPerCpuSecond).filter(|other| *other != metric);
        let metrics = [Some(metric), per_cpu].into_iter().flatten();
        let comparisons = metrics.filter_map(|metric| compare(index, metric));
        Case {
            server: entrant.name.clone(),
            load: LoadInfo { offered_per_s: offered(measured), ..measured.load.clone() },
            outcome: outcome(measured),
            blocks: measured.per_block(|turn| Some(turn.value)),
            value: estimate(measured, seed),
            messages_per_s: measured.median(|turn| Some(turn.messages_per_s)),
            comparisons: if index == reference { Vec::new() } else { comparisons.collect() },
            latency: latencies(measured),
            cost: cost(measured),
            flags: flags(measured),
        }
    });
    let cases = cases.collect();
    Point { x, label, interleaving, noise_floor: noise_floor(metric), cases }
}

/// Fits a line to the server's CPU time per message along the axis. Returns a fit for every server
/// with enough points.
pub(super) fn fits(scenario: &Scenario) -> Vec<Fit> {
    let mut fits = Vec::new();
    let Some(first) = scenario.points.first() else { return fits };
    for (index, case) in first.cases.iter().enumerate() {
        let cpu = |point: &Point| {
            let cost = point.cases[index].cost.as_ref()?;
            Some((point.x, *cost.server_cpu_ns_per_message.value()?))
        };
        let (alike, others): (Vec<&Point>, Vec<&Point>) = scenario
            .points
            .iter()
            .partition(|point| point.interleaving.is_like(first.interleaving));
        let points: Vec<(f64, f64)> = alike.into_iter().filter_map(cpu).collect();
        let others = others.into_iter().filter_map(cpu).map(|(x, _)| x);
        fits.extend(Line::through(&points).map(|line| Fit {
            server: case.server.clone(),
            quantity: "server CPU per message".to_owned(),
            unit: "ns per message and idle connection".to_owned(),
            slope: line.slope,
            slope_low: Some(line.slope_low),
            slope_high: Some(line.slope_high),
            intercept: line.intercept,
            r_squared: line.r_squared,
            points: line.points,
            left_out: line.left_out.into_iter().chain(others).collect(),
        }));
    }
    fits
}

/// Returns the metric's value in each block. Quiet CPU time is at least [`QUIET_NS_PER_S`].
fn values(measured: &Measured, metric: Metric) -> Vec<Option<f64>> {
    measured.per_block(|turn| match metric {
        Metric::MessagesPerCpuSecond => turn.per_cpu_s,
        Metric::CpuPerSecond => Some(turn.value.max(QUIET_NS_PER_S)),
        _ => Some(turn.value),
    })
}

fn estimate(measured: &Measured, seed: u64) -> Option<Estimate> {
    let values = measured.per_block(|turn| Some(turn.value));
    Estimate::of(&by_pass(&values, &measured.pass_ends), seed)
}

fn outcome(measured: &Measured) -> Outcome {
    let answered = measured.turns.iter().any(Option::is_some);
    match (&measured.skipped, &measured.failure, kept_up(measured)) {
        (Some(reason), ..) => Outcome::Skipped(reason.clone()),
        (_, Some(reason), _) => Outcome::Failed(reason.clone()),
        _ if !answered => Outcome::Failed("no message came back in any block".to_owned()),
        (.., Some(false)) => match generator_was_the_limit(measured) {
            Some(reason) => Outcome::Invalid(reason),
            None => Outcome::Saturated,
        },
        _ => Outcome::Measured,
    }
}

/// Returns the median of the messages offered per second, because every pass has its own rate.
fn offered(measured: &Measured) -> Option<f64> {
    measured.median(|turn| turn.offered_per_s).or(measured.load.offered_per_s)
}

/// Returns whether the achieved rate is at least [`ACHIEVED_MIN`] of the offered rate. Returns
/// `None` in a closed loop.
fn kept_up(measured: &Measured) -> Option<bool> {
    let achieved = measured.median(|turn| Some(turn.messages_per_s / turn.offered_per_s?))?;
    Some(achieved >= ACHIEVED_MIN)
}

/// Checks whether the generator was saturated while the server and the machine had idle CPU time.
/// Then the rate is the generator's limit, and says nothing about the server. Returns the reason.
///
/// In an open loop that achieves its rate, the generator may be busy: pacing uses CPU time.
fn generator_was_the_limit(measured: &Measured) -> Option<String> {
    if kept_up(measured) == Some(true) {
        return None;
    }
    let client = measured.median(|turn| Some(turn.client_busy))?;
    let server = measured.median(|turn| turn.server_cores)?;
    let machine = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
    let limited = client >= SATURATED && server < BUSY && client + server < BUSY * machine;
    limited.then(|| {
        let (client, server) = (client * 100.0, server * 100.0);
        format!(
            "the generator was the limit: it used {client:.0} % of a core, the server {server:.0} %"
        )
    })
}

fn flags(measured: &Measured) -> Vec<String> {
    let mut flags = Vec::new();
    flags.extend(generator_was_the_limit(measured));
    let steal = median_of(&measured.usage, |usage| cores(usage, &usage.steal));
    if let Reading::Measured(steal) = steal
        && steal > STEAL_MAX
    {
        flags.push(format!("the hypervisor took {:.0} % of a core", steal * 100.0));
    }
    let missed = measured.turns.iter().filter(|turn| turn.is_none()).count();
    if missed > 0 && missed < measured.turns.len() {
        flags.push(format!("{missed} of {} blocks missing", measured.turns.len()));
    }
    flags
}

fn latencies(measured: &Measured) -> Vec<Latency> {
    let Some(all) = &measured.latency else { return Vec::new() };
    let curve = |kind, times: &Histogram<u64>| Latency {
        kind,
        samples: times.len(),
        mean_ns: times.mean(),
        max_ns: times.max(),
        // With fewer than ten samples beyond it, a high percentile is not reliable.
        percentiles: QUANTILES
            .iter()
            .filter(|quantile| {
                let beyond = (1.0 - **quantile) * times.len() as f64;
                beyond >= 10.0 || **quantile == 1.0 || **quantile <= 0.5
            })
            .map(|quantile| Percentile {
                quantile: *quantile,
                ns: times.value_at_quantile(*quantile),
            })
            .collect(),
    };
    let kinds = [
        (LatencyKind::Response, &all.response),
        (LatencyKind::Service, &all.service),
        (LatencyKind::Lateness, &all.lateness),
    ];
    let open_loop = offered(measured).is_some();
    let kinds = kinds.into_iter().filter(|(_, times)| !times.is_empty());
    kinds
        .map(|(kind, times)| match kind {
            // In a closed loop, the intended send time of a message is its actual send time.
            LatencyKind::Response if !open_loop => curve(LatencyKind::Service, times),
            _ => curve(kind, times),
        })
        .collect()
}

fn cost(measured: &Measured) -> Option<CaseCost> {
    let runs = &measured.cost_runs;
    if runs.is_empty() {
        return None;
    }
    let per_message = |get: fn(&Cost) -> Reading<f64>| {
        median_of(runs, |run| match run.messages {
            0 => Reading::unavailable("no messages"),
            messages => get(&run.cost).map(|count| count / messages as f64),
        })
    };
    let ns = |time: &Reading<Duration>| time.clone().map(|time| time.as_secs_f64() * 1e9);
    let count = |count: &Reading<u64>| count.clone().map(|count| count as f64);
    // The turns are many and interleaved, so their CPU time is preferred where it is known.
    let cpu = match measured.median(|turn| turn.per_cpu_s.filter(|rate| *rate > 0.0)) {
        Some(per_cpu_s) => Reading::Measured(1e9 / per_cpu_s),
        None => per_message(|cost| cost.cpu.clone().map(|cpu| cpu.as_secs_f64() * 1e9)),
    };
    let user_share = |cost: &Cost| ns(&cost.user).zip_with(ns(&cost.cpu), |user, cpu| user / cpu);
    let user_share = match measured.whole.as_slice() {
        [] => median_of(runs, |run| user_share(&run.cost)),
        passes => median_of(passes, user_share),
    };
    let bytes = &measured.bytes_per_connection;
    Some(CaseCost {
        server_user_ns_per_message: cpu
            .clone()
            .zip_with(user_share.clone(), |cpu, share| cpu * share),
        server_system_ns_per_message: cpu
            .clone()
            .zip_with(user_share, |cpu, share| cpu * (1.0 - share)),
        server_cpu_ns_per_message: cpu,
        voluntary_switches_per_message: per_message(|cost| {
            cost.voluntary_switches.clone().map(|count| count as f64)
        }),
        involuntary_switches_per_message: per_message(|cost| {
            cost.involuntary_switches.clone().map(|count| count as f64)
        }),
        syscalls_per_message: measured.syscalls.clone(),
        server_cores: match measured.median(|turn| turn.server_cores) {
            Some(cores) => Reading::Measured(cores),
            None => Reading::unavailable("the server's CPU time could not be read"),
        },
        client_cores: median_of(runs, |run| cores(&run.usage, &run.usage.client_cpu)),
        client_cpu_ns_per_message: match measured.median(|turn| turn.client_ns_per_message) {
            Some(ns) => Reading::Measured(ns),
            None => Reading::unavailable("no messages"),
        },
        softirq_cores: median_of(runs, |run| cores(&run.usage, &run.usage.softirq)),
        steal_cores: median_of(&measured.usage, |usage| cores(usage, &usage.steal)),
        rss_bytes: median_of(runs, |run| count(&run.cost.rss)),
        peak_rss_bytes: median_of(runs, |run| count(&run.cost.peak_rss)),
        bytes_per_connection: median_of(bytes, |bytes: &Reading<f64>| bytes.clone()),
        threads: median_of(runs, |run| count(&run.cost.threads)),
        processes: median_of(runs, |run| count(&run.cost.processes)),
    })
}

/// Returns the number of busy processors: the CPU time divided by the elapsed time.
fn cores(usage: &Usage, time: &Reading<Duration>) -> Reading<f64> {
    time.clone().map(|time| time.as_secs_f64() / usage.elapsed.as_secs_f64())
}

/// Returns the median of the known readings. If no reading is known, returns the first reading with
/// its reason.
fn median_of<T>(all: &[T], get: impl Fn(&T) -> Reading<f64>) -> Reading<f64> {
    let readings: Vec<Reading<f64>> = all.iter().map(get).collect();
    let values: Vec<f64> = readings.iter().filter_map(|reading| reading.value().copied()).collect();
    match median(&values) {
        Some(median) => Reading::Measured(median),
        None => readings.into_iter().next().unwrap_or(Reading::unavailable("never measured")),
    }
}
