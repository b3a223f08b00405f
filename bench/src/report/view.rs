//! Answers of the results that charts, tables and sentences share.

use super::format::Unit;
use crate::compare::result::{
    Axis, Case, CaseCost, Comparison, Latency, LatencyKind, Metric, Origin, Outcome, Point,
    Results, Scenario, ServerInfo,
};
use crate::cost::Reading;
use crate::statistics::{Estimate, Verdict};

/// Names of axes whose values are cases and not amounts. Nothing lies between two such values, so no
/// line joins them.
const AXES_OF_CASES: &[&str] = &["processors"];

/// The name of a metric, and the kind of its numbers.
pub(super) fn metric(metric: Metric) -> (&'static str, Unit) {
    match metric {
        Metric::MessagesPerSecond => ("messages per second", Unit::Number),
        Metric::BytesPerSecond => ("payload per second", Unit::BytesPerSecond),
        Metric::LatencyP50 => ("median latency", Unit::Nanoseconds),
        Metric::MessagesPerCpuSecond => ("messages per second of server CPU", Unit::Number),
        Metric::ClientsServed => ("clients served at the same time", Unit::Count),
        Metric::CpuPerSecond => ("server CPU time per second", Unit::Nanoseconds),
    }
}

/// The word for a verdict on a metric. More clients are not faster, and neither is less CPU time.
pub(super) fn verdict(metric: Metric, verdict: Verdict) -> &'static str {
    let (better, worse) = match metric {
        Metric::MessagesPerSecond | Metric::BytesPerSecond | Metric::LatencyP50 => {
            ("faster", "slower")
        }
        Metric::MessagesPerCpuSecond | Metric::CpuPerSecond => ("less CPU", "more CPU"),
        Metric::ClientsServed => ("more", "fewer"),
    };
    match verdict {
        Verdict::Faster => better,
        Verdict::Slower => worse,
        Verdict::NotDistinguishable => "not distinguishable",
    }
}

/// The kind of the numbers on an axis.
pub(super) fn axis_unit(axis: &Axis) -> Unit {
    match axis.unit.as_str() {
        "bytes" => Unit::Bytes,
        "connections" | "readers" | "slow readers" => Unit::Count,
        _ => Unit::Number,
    }
}

/// The title of an axis: its name, and its unit if neither the name nor the values contain the unit.
pub(super) fn axis_title(axis: &Axis) -> String {
    if axis.unit.is_empty() || axis.name.contains(&axis.unit) || axis_unit(axis) == Unit::Bytes {
        axis.name.clone()
    } else {
        format!("{} ({})", axis.name, axis.unit)
    }
}

/// Whether the values of an axis are cases, with nothing between two of them.
pub(super) fn has_cases(axis: &Axis) -> bool {
    AXES_OF_CASES.contains(&axis.name.as_str())
}

/// Every server except the A/A control, which would cover the reference in a chart.
pub(super) fn charted(results: &Results) -> impl Iterator<Item = &ServerInfo> {
    results.servers.iter().filter(|server| server.origin != Origin::Control)
}

/// The case of `server` at `point`.
pub(super) fn case<'a>(point: &'a Point, server: &str) -> Option<&'a Case> {
    point.cases.iter().find(|case| case.server == server)
}

/// The value of the scenario's metric, if it is a number.
pub(super) fn value(case: &Case) -> Option<Estimate> {
    case.value.filter(|value| value.median.is_finite())
}

/// The interval of an estimate, if both ends are numbers.
pub(super) fn interval(estimate: &Estimate) -> Option<(f64, f64)> {
    (estimate.low.is_finite() && estimate.high.is_finite()).then_some((estimate.low, estimate.high))
}

/// The comparison with the reference on `metric`, if its ratio is a number.
pub(super) fn comparison(case: &Case, metric: Metric) -> Option<&Comparison> {
    let mut all = case.comparisons.iter();
    all.find(|comparison| comparison.metric == metric && comparison.ratio.median.is_finite())
}

/// The latency that a user sees: from the intended send where there was a schedule.
pub(super) fn latency(case: &Case) -> Option<&Latency> {
    let of_kind = |kind| {
        let mut all = case.latency.iter();
        all.find(|latency| latency.kind == kind && !latency.percentiles.is_empty())
    };
    [LatencyKind::Response, LatencyKind::Service, LatencyKind::Connect]
        .into_iter()
        .find_map(of_kind)
}

/// Context switches per message, voluntary and involuntary together. A server that spins has
/// involuntary switches only, so one of the two alone would be wrong for some server.
pub(super) fn switches(cost: &CaseCost) -> Reading<f64> {
    let involuntary = cost.involuntary_switches_per_message.clone();
    cost.voluntary_switches_per_message.clone().zip_with(involuntary, |one, other| one + other)
}

/// The point at which the most servers were measured and have what `wanted` asks for. Of equal points
/// it is the last, where loads are highest and the models differ most. `None` if no server has it.
pub(super) fn telling_point(scenario: &Scenario, wanted: impl Fn(&Case) -> bool) -> Option<&Point> {
    let count = |point: &&Point| {
        let measured = point.cases.iter().filter(|case| case.outcome == Outcome::Measured);
        measured.filter(|case| wanted(case)).count()
    };
    scenario.points.iter().max_by_key(count).filter(|point| count(point) > 0)
}

/// The reasons why a case is missing or less trustworthy.
pub(super) fn doubts(case: &Case) -> Vec<String> {
    let outcome = match &case.outcome {
        Outcome::Measured => None,
        Outcome::Skipped(reason) => Some(format!("skipped: {reason}")),
        Outcome::Failed(reason) => Some(format!("failed: {reason}")),
        Outcome::Invalid(reason) => Some(format!("invalid: {reason}")),
        Outcome::Saturated => Some("saturated".to_owned()),
    };
    outcome.into_iter().chain(case.flags.iter().cloned()).collect()
}

/// How far a control is from 1: "1.7 %", or from a factor of 2 upwards "a factor of 2.3".
pub(super) fn strayed(control: &Estimate) -> String {
    match control.strays() {
        small if small < 2.0 => Unit::Share.format(small - 1.0),
        large => format!("a factor of {}", Unit::Number.format(large)),
    }
}

/// A value and its interval as text: "12.3k (12.1k to 12.6k)".
pub(super) fn with_interval(value: f64, interval: Option<(f64, f64)>, unit: Unit) -> String {
    let value = unit.format(value);
    match interval {
        Some((low, high)) => format!("{value} ({} to {})", unit.format(low), unit.format(high)),
        None => value,
    }
}
