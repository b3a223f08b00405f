//! What charts, tables and sentences say alike: names, units, estimates in words.

use crate::results::{Axis, Metric};
use crate::statistics::Estimate;

use super::format::Unit;

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

/// The interval of an estimate, if there is one to draw.
pub(super) fn interval(estimate: &Estimate) -> Option<(f64, f64)> {
    (estimate.low.is_finite() && estimate.high.is_finite()).then_some((estimate.low, estimate.high))
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
