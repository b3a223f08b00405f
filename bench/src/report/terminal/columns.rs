//! The columns of the tables in the terminal.

use crate::results::{Case, CaseCost, Metric, Outcome, Reading, Scenario};
use crate::statistics::{Estimate, Verdict};

use super::super::format::Unit;
use super::super::view;
use super::text_table::Cell;
use super::{BAD, GOOD, SOFT, UNAVAILABLE, WARNING};

/// A column of the tables.
pub(super) struct Column {
    pub head: &'static str,
    /// Place in the order of importance, 0 for the most important column.
    pub rank: u8,
    /// Whether the cells begin at the left edge of the column.
    pub to_left: bool,
    pub cell: fn(&Case, &Scenario) -> Cell,
}

/// Head of the column of messages per second of CPU time.
pub(super) const PER_CPU: &str = "msg/CPU s";

/// All columns. In a narrow terminal, the columns of high rank are left out.
pub(super) const COLUMNS: [Column; 15] = [
    column("server", 0, |case, _| Cell::new(&case.server)).left(),
    column("value", 1, |case, scenario| {
        let (_, unit) = view::metric(scenario.metric);
        figure(case.finite_value().map(|value| value.median), unit)
    }),
    column("±", 5, |case, _| {
        let spread = case.finite_value().map(|value| value.half_width());
        figure(spread.filter(|spread| spread.is_finite()), Unit::Share)
    }),
    column("ratio", 2, |case, scenario| {
        ratio(case, scenario, |ratio| format!("{:.3}", ratio.median))
    }),
    column("95 % interval", 4, |case, scenario| {
        ratio(case, scenario, |ratio| format!("[{:.3}, {:.3}]", ratio.low, ratio.high))
    }),
    column("verdict", 3, verdict).left(),
    column("offered/s", 6, |case, _| figure(case.load.offered_per_s, Unit::Number)),
    column("p50", 11, |case, _| quantile(case, 0.5)),
    column("p99", 9, |case, _| quantile(case, 0.99)),
    column("CPU/msg", 7, |case, _| {
        cost(case, Unit::Nanoseconds, |cost| cost.server_cpu_ns_per_message.clone())
    }),
    column(PER_CPU, 12, |case, _| {
        let compared = case.comparison(Metric::MessagesPerCpuSecond);
        compared.map_or(Cell::default(), |compared| {
            let told_apart = compared.verdict != Verdict::NotDistinguishable;
            let star = if told_apart { "*" } else { " " };
            Cell::new(&format!("{:.3}{star}", compared.ratio.median))
        })
    }),
    column("switches/msg", 10, |case, _| cost(case, Unit::Number, view::switches)),
    column("syscalls/msg", 8, |case, _| {
        cost(case, Unit::Number, |cost| {
            let total = |_| cost.syscalls_total().unwrap_or(f64::NAN);
            cost.syscalls_per_message.clone().map(total)
        })
    }),
    column("memory/conn", 13, |case, _| {
        cost(case, Unit::Bytes, |cost| cost.bytes_per_connection.clone())
    }),
    column("cores S+C", 14, |case, _| match &case.cost {
        Some(cost) => {
            let cores = [&cost.server_cores, &cost.client_cores].map(|cores| {
                cores.value().map_or(UNAVAILABLE.to_owned(), |cores| format!("{cores:.2}"))
            });
            Cell::new(&cores.join("+"))
        }
        None => Cell::default(),
    }),
];

const fn column(head: &'static str, rank: u8, cell: fn(&Case, &Scenario) -> Cell) -> Column {
    Column { head, rank, to_left: false, cell }
}

impl Column {
    const fn left(self) -> Column {
        Column { to_left: true, ..self }
    }
}

fn figure(value: Option<f64>, unit: Unit) -> Cell {
    value.map_or(Cell::default(), |value| Cell::new(&unit.format(value)))
}

fn ratio(case: &Case, scenario: &Scenario, show: fn(&Estimate) -> String) -> Cell {
    let compared = case.comparison(scenario.metric);
    compared.map_or(Cell::default(), |compared| Cell::new(&show(&compared.ratio)))
}

fn quantile(case: &Case, quantile: f64) -> Cell {
    let ns = case.user_latency().and_then(|latency| latency.at(quantile));
    figure(ns.map(|ns| ns as f64), Unit::Nanoseconds)
}

/// A cost; empty if the case was not measured, and "unavailable" if only the cost was not.
fn cost(case: &Case, unit: Unit, get: fn(&CaseCost) -> Reading<f64>) -> Cell {
    let Some(cost) = &case.cost else { return Cell::default() };
    get(cost).value().map_or(unavailable(), |value| figure(Some(*value), unit))
}

/// The verdict on a case, or why it has none. Only the reference is called "reference", and only if
/// it was measured.
fn verdict(case: &Case, scenario: &Scenario) -> Cell {
    let compared = case.comparison(scenario.metric);
    let (text, style) = match (&case.outcome, compared) {
        (Outcome::Skipped(_), _) => ("skipped", SOFT),
        (Outcome::Failed(_), _) => ("failed", BAD.bold()),
        (Outcome::Invalid(_), _) => ("invalid", WARNING),
        (Outcome::Saturated, _) => ("saturated", WARNING),
        (Outcome::Measured, Some(compared)) if compared.unranked.is_some() => ("unranked", SOFT),
        (Outcome::Measured, Some(compared)) => {
            let style = match compared.verdict {
                Verdict::Faster => GOOD,
                Verdict::Slower => BAD,
                Verdict::NotDistinguishable => SOFT,
            };
            (view::verdict(compared.metric, compared.verdict), style)
        }
        (Outcome::Measured, None) if case.server == scenario.reference => ("reference", SOFT),
        (Outcome::Measured, None) => ("no ratio", SOFT),
    };
    Cell::new(text).styled(style)
}

/// The cell of a figure that was not measured.
pub(super) fn unavailable() -> Cell {
    Cell::new(UNAVAILABLE)
}
