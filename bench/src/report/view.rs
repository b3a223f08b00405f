//! Questions that charts, tables and sentences ask of the results alike.

use super::format::Unit;
use crate::compare::result::{
    Axis, Case, Comparison, Latency, LatencyKind, Metric, Origin, Outcome, Point, Results,
    Scenario, ServerInfo,
};
use crate::statistics::Estimate;

/// What a metric is called and written in.
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

/// What the values on an axis are written in.
pub(super) fn axis_unit(axis: &Axis) -> Unit {
    match axis.unit.as_str() {
        "bytes" => Unit::Bytes,
        "connections" | "readers" | "slow readers" => Unit::Count,
        _ => Unit::Number,
    }
}

/// An axis's name, with its unit where the name does not say it and the values do not carry it.
pub(super) fn axis_title(axis: &Axis) -> String {
    if axis.unit.is_empty() || axis.name.contains(&axis.unit) || axis_unit(axis) == Unit::Bytes {
        axis.name.clone()
    } else {
        format!("{} ({})", axis.name, axis.unit)
    }
}

/// Every server but the A/A control, which would cover its original in a chart.
pub(super) fn charted(results: &Results) -> impl Iterator<Item = &ServerInfo> {
    results.servers.iter().filter(|server| server.origin != Origin::Control)
}

/// What was found of `server` at `point`.
pub(super) fn case<'a>(point: &'a Point, server: &str) -> Option<&'a Case> {
    point.cases.iter().find(|case| case.server == server)
}

/// The estimate of a case's metric, if there is one to draw.
pub(super) fn value(case: &Case) -> Option<Estimate> {
    case.value.filter(|value| value.median.is_finite())
}

/// The interval of an estimate, if there is one to draw.
pub(super) fn interval(estimate: &Estimate) -> Option<(f64, f64)> {
    (estimate.low.is_finite() && estimate.high.is_finite()).then_some((estimate.low, estimate.high))
}

/// The comparison on the scenario's metric.
pub(super) fn comparison(case: &Case, metric: Metric) -> Option<&Comparison> {
    let mut all = case.comparisons.iter();
    all.find(|comparison| comparison.metric == metric && comparison.ratio.median.is_finite())
}

/// The latency that a user would have seen: from the intended send where there was a schedule.
pub(super) fn latency(case: &Case) -> Option<&Latency> {
    [LatencyKind::Response, LatencyKind::Service, LatencyKind::Connect].into_iter().find_map(
        |kind| {
            case.latency
                .iter()
                .find(|latency| latency.kind == kind && !latency.percentiles.is_empty())
        },
    )
}

/// The point at which the most servers have what `wanted` asks for; of equals the last, where loads
/// are highest and the models farthest apart. `None` when nobody has it anywhere.
pub(super) fn telling_point(scenario: &Scenario, wanted: impl Fn(&Case) -> bool) -> Option<&Point> {
    let count = |point: &&Point| {
        let measured = point.cases.iter().filter(|case| case.outcome == Outcome::Measured);
        measured.filter(|case| wanted(case)).count()
    };
    scenario.points.iter().max_by_key(count).filter(|point| count(point) > 0)
}

/// Why a case is not to be trusted as it stands, or is not there.
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

/// How far a control strayed from 1, in words: "1.7 %", and from the double on "a factor of 2.3".
pub(super) fn strayed(control: &Estimate) -> String {
    match control.strays() {
        small if small < 2.0 => Unit::Share.format(small - 1.0),
        large => format!("a factor of {}", Unit::Number.format(large)),
    }
}

/// An estimate in words: "12.3k (12.1k to 12.6k)".
pub(super) fn estimate_text(estimate: &Estimate, unit: Unit) -> String {
    let median = unit.format(estimate.median);
    match interval(estimate) {
        Some((low, high)) => format!("{median} ({} to {})", unit.format(low), unit.format(high)),
        None => median,
    }
}
