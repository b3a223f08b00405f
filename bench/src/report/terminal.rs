//! The tables on the terminal.

use std::collections::BTreeMap;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use loadgen::report::duration;

use crate::cost::Reading;
use crate::results::{Case, Metric, Outcome, Point, Scenario};
use crate::statistics::{Estimate, Verdict};

const HEADER: &[&str] = &[
    "server",
    "value",
    "ratio",
    "95 % interval",
    "verdict",
    "p50",
    "p99",
    "CPU/msg",
    "per CPU s",
    "switches/msg",
    "syscalls/msg",
    "B/conn",
    "cores S+C",
];

/// What stands where something could not be measured. A column of nothing else is left out.
const UNAVAILABLE: &str = "unavailable";

/// One scenario: the question, how it was measured, and a table for each point.
pub fn scenario(scenario: &Scenario) -> String {
    let Scenario { name, question, method, reference, .. } = scenario;
    let mut text = format!("\n## {name}: {question}\n{}\n", method.text);
    for point in &scenario.points {
        text += &format!(
            "\n{name}, {}: {}, ratios to {reference}\n{}\n{}\n",
            point.label,
            scenario.metric.label(),
            noise_floor(point),
            table(point, scenario.metric),
        );
        for case in &point.cases {
            if let Outcome::Failed(reason) | Outcome::Invalid(reason) = &case.outcome {
                text += &format!("! {}: {reason}\n", case.server);
            }
        }
        text += &flags(point);
    }
    if text.contains("| per CPU s ") {
        text +=
            "(per CPU s: messages per second of the server's CPU time, as a ratio; * told apart)\n";
    }
    for fit in &scenario.fits {
        text += &format!(
            "{}: {} = {:.0} + {:.2} * x ({}; R² {:.3}, {} points)\n",
            fit.server, fit.quantity, fit.intercept, fit.slope, fit.unit, fit.r_squared, fit.points
        );
    }
    for note in &scenario.notes {
        text += &format!("note: {note}\n");
    }
    text
}

/// A line for each flag, with the servers that it is about: what happens to the machine happens to
/// all.
fn flags(point: &Point) -> String {
    let mut flagged: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in &point.cases {
        for flag in &case.flags {
            flagged.entry(flag).or_default().push(&case.server);
        }
    }
    flagged.iter().map(|(flag, servers)| format!("! {}: {flag}\n", servers.join(", "))).collect()
}

fn noise_floor(point: &Point) -> String {
    match &point.noise_floor {
        Some(floor) => format!(
            "A/A control: {:.3} [{:.3}, {:.3}] over {} blocks; nothing within +-{:.1} % is claimed",
            floor.median,
            floor.low,
            floor.high,
            floor.blocks,
            (floor.strays() - 1.0) * 100.0
        ),
        None => "A/A control: unavailable, so nothing is ranked".to_owned(),
    }
}

fn table(point: &Point, metric: Metric) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let cases = point.cases.iter().filter(|case| !case.outcome.is_left_out());
    let rows: Vec<Vec<String>> = cases.map(|case| row(case, metric)).collect();
    let known = |column: usize| {
        let mut fields = rows.iter().filter_map(|row| row.get(column));
        fields.any(|field| field != UNAVAILABLE && field != "-")
    };
    let known: Vec<usize> = (0..HEADER.len()).filter(|column| known(*column)).collect();
    table.set_header(known.iter().map(|column| HEADER[*column]));
    for row in &rows {
        table.add_row(known.iter().filter_map(|column| row.get(*column)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(case: &Case, metric: Metric) -> Vec<String> {
    let mut row = vec![case.server.clone()];
    if let Outcome::Skipped(reason) = &case.outcome {
        row.push(format!("({reason})"));
        return row;
    }
    row.push(match &case.value {
        Some(value) => format!("{} +-{:.1} %", amount(metric, value.median), spread(value)),
        None => "-".to_owned(),
    });
    match case.comparisons.first() {
        Some(comparison) => {
            let ratio = &comparison.ratio;
            row.push(format!("{:.3}", ratio.median));
            row.push(format!("[{:.3}, {:.3}]", ratio.low, ratio.high));
            row.push(comparison.label().to_owned());
        }
        None => row.extend(["1".to_owned(), "-".to_owned(), "reference".to_owned()]),
    }
    if case.outcome == Outcome::Saturated {
        row[4] = "saturated".to_owned();
    }
    let latency = case.latency();
    for quantile in [0.5, 0.99] {
        let ns = latency.and_then(|latency| latency.at(quantile));
        row.push(ns.map_or("-".to_owned(), duration));
    }
    let Some(cost) = &case.cost else { return row };
    let known = |reading: &Reading<f64>, show: &dyn Fn(f64) -> String| {
        reading.value().map_or(UNAVAILABLE.to_owned(), |value| show(*value))
    };
    row.push(known(&cost.server_cpu_ns_per_message, &|ns| duration(ns as u64)));
    let per_cpu = case.comparison(Metric::MessagesPerCpuSecond);
    row.push(per_cpu.map_or("-".to_owned(), |c| {
        let told_apart = c.verdict != Verdict::NotDistinguishable;
        format!("{:.3}{}", c.ratio.median, if told_apart { " *" } else { "" })
    }));
    row.push(known(&cost.voluntary_switches_per_message, &|count| format!("{count:.2}")));
    row.push(cost.syscalls_total().map_or(UNAVAILABLE.to_owned(), |count| format!("{count:.2}")));
    row.push(known(&cost.bytes_per_connection, &|bytes| format!("{bytes:.0}")));
    let client = known(&cost.client_cores, &|cores| format!("{cores:.2}"));
    row.push(format!("{}+{client}", known(&cost.server_cores, &|cores| format!("{cores:.2}"))));
    row
}

fn spread(value: &Estimate) -> f64 {
    if value.median == 0.0 { 0.0 } else { value.half_width() * 100.0 }
}

/// A value of a metric with its unit.
fn amount(metric: Metric, value: f64) -> String {
    match metric {
        Metric::LatencyP50 => duration(value as u64),
        Metric::ClientsServed => format!("{value:.0}"),
        Metric::CpuPerSecond => format!("{:.3} % of a core", value / 1e7),
        Metric::BytesPerSecond if value >= 1e9 => format!("{:.2} GB/s", value / 1e9),
        Metric::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
        _ if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
        _ if value >= 1e4 => format!("{:.1} k/s", value / 1e3),
        _ => format!("{value:.0} /s"),
    }
}
