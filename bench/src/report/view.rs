//! Names, units and words that charts, tables and sentences share.

use crate::results::{Axis, CaseCost, Metric, Reading};
use crate::statistics::{Estimate, Verdict};

use super::format::Unit;

/// Names of axes whose values are cases and not amounts. Nothing lies between two such values, so
/// no line joins them.
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

/// The title of an axis: its name, and its unit if neither the name nor the values contain the
/// unit.
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

/// The interval of an estimate, if both ends are numbers.
pub(super) fn interval(estimate: &Estimate) -> Option<(f64, f64)> {
    (estimate.low.is_finite() && estimate.high.is_finite()).then_some((estimate.low, estimate.high))
}

/// Context switches per message, voluntary and involuntary together. A server that spins has
/// involuntary switches only, so one of the two alone would be wrong for some server.
pub(super) fn switches(cost: &CaseCost) -> Reading<f64> {
    let involuntary = cost.involuntary_switches_per_message.clone();
    cost.voluntary_switches_per_message.clone().zip_with(involuntary, |one, other| one + other)
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
