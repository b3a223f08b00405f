//! The figures of one point as a table with a row for each server.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::results::{
    Case, CaseCost, Comparison, Metric, Outcome, Point, Reading, Results, Scenario,
};
use crate::statistics::{Estimate, Verdict};

use super::format::{Unit, list};
use super::palette::{Palette, Style, draw_marker};
use super::scale::Scale;
use super::svg::{Attributes, Px, Svg};
use super::view;

/// Head of a column of verdicts.
const VERDICT: &str = "verdict";

/// The content of a cell.
enum Cell {
    /// Nothing: the question does not arise.
    Empty,
    /// A figure.
    Figure(String),
    /// A figure with its interval below.
    Interval(String, String),
    /// A ratio to the reference.
    Ratio(Estimate),
    /// A verdict on a ratio: class and text.
    Verdict(&'static str, String),
    /// The server is the reference, which has no ratio.
    Reference,
    /// The reason why there is no figure.
    Unavailable(String),
}

impl Cell {
    /// Whether the cell holds no figure, and no reason for a missing one.
    fn is_empty(&self) -> bool {
        matches!(self, Cell::Empty | Cell::Reference)
    }
}

/// A column: its head, and the function that fills a cell.
struct Column {
    head: String,
    cell: Box<dyn Fn(&Case) -> Cell>,
}

/// What the rows of a table share.
struct Table<'a> {
    scenario: &'a Scenario,
    point: &'a Point,
    columns: Vec<Column>,
    /// One scale for the ratios of all rows.
    scale: Option<Scale>,
}

/// Returns the table of `point`, and below it the reasons for missing figures.
pub(super) fn of_point(
    results: &Results,
    palette: &Palette,
    scenario: &Scenario,
    point: &Point,
) -> Markup {
    let cases: Vec<&Case> =
        results.servers.iter().filter_map(|server| point.case(&server.name)).collect();
    let mut columns = columns(scenario);
    columns.retain(|column| cases.iter().any(|case| !(column.cell)(case).is_empty()));
    let scale = ratio_scale(&cases, point);
    let table = Table { scenario, point, columns, scale };
    let reasons: Vec<String> = table.missing(&cases).into_iter().collect();
    let body = html! {
        thead {
            tr {
                th scope="col" { "server" }
                @for column in &table.columns {
                    th.verdict[column.head == VERDICT] scope="col" { (column.head) }
                }
                th.remarks scope="col" { "remarks" }
            }
        }
        tbody {
            @for case in &cases {
                (table.row(case, palette.style(&case.server)))
            }
        }
    };
    html! {
        p.soft { (table.caption()) }
        (scrolling(&format!("{}, {}", scenario.name, point.label), &body))
        @if !reasons.is_empty() {
            p.soft { "Unavailable: " (list(&reasons)) "." }
        }
    }
}

/// Returns a table that scrolls within its own frame when it is wider than the page.
pub(super) fn scrolling(label: &str, body: &Markup) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(label) {
            table { (body) }
        }
    }
}

impl Table<'_> {
    fn caption(&self) -> String {
        let Table { scenario, point, .. } = self;
        let floor = match &point.noise_floor {
            Some(floor) if floor.strays().is_finite() => {
                format!("The A/A control is within {} of itself.", view::strayed(floor))
            }
            _ => "The A/A control is unavailable, so no server is ranked.".to_owned(),
        };
        format!("{}, {}. {floor}", scenario.name, point.label)
    }

    fn row(&self, case: &Case, style: Style) -> Markup {
        let remarks = list(&case.doubts());
        let cells: Vec<Cell> = self.columns.iter().map(|column| (column.cell)(case)).collect();
        let nothing = cells.iter().all(Cell::is_empty);
        html! {
            tr {
                th scope="row" { (key(style)) (case.server) }
                @if nothing {
                    td.remarks colspan=(cells.len() + 1) { (remarks) }
                } @else {
                    @for cell in &cells { (self.cell(cell, style)) }
                    td.remarks { (remarks) }
                }
            }
        }
    }

    fn cell(&self, cell: &Cell, style: Style) -> Markup {
        match cell {
            Cell::Empty => html! { td {} },
            Cell::Figure(text) => html! { td { (text) } },
            Cell::Interval(text, interval) => html! { td { (text) small { (interval) } } },
            Cell::Ratio(ratio) => html! {
                td.ratio {
                    @if let Some(whisker) = self.whisker(ratio, style) { (whisker) }
                    span { (Unit::Ratio.format(ratio.median)) }
                    @if let Some(interval) = view::interval(ratio) {
                        small { (range(interval, Unit::Number)) }
                    }
                }
            },
            Cell::Verdict(class, text) => html! { td class={ "verdict " (class) } { (text) } },
            Cell::Reference => html! { td.verdict.soft { "the reference" } },
            Cell::Unavailable(reason) => html! { td.soft title=(reason) { "unavailable" } },
        }
    }

    /// The ratio as a dot with its interval, over the noise floor and the line of no difference.
    fn whisker(&self, ratio: &Estimate, style: Style) -> Option<Svg> {
        const WIDTH: f64 = 120.0;
        const HEIGHT: f64 = 16.0;
        let scale = self.scale?;
        let x = |ratio| Some(4.0 + scale.place(ratio)?.clamp(0.0, 1.0) * (WIDTH - 8.0));
        let (one, median) = (x(1.0)?, x(ratio.median)?);
        let attributes: Attributes = &[
            ("class", &"chart whisk"),
            ("aria-hidden", &"true"),
            ("viewBox", &format_args!("0 0 {WIDTH} {HEIGHT}")),
            ("width", &WIDTH),
            ("height", &HEIGHT),
        ];
        let mut drawing = Svg::default();
        drawing.element("svg", attributes, |svg| {
            let floor =
                self.point.noise_floor.and_then(|floor| Some((x(floor.low)?, x(floor.high)?)));
            if let Some((low, high)) = floor {
                let (low, width) = (Px(low), Px((high - low).max(1.0)));
                let floor: Attributes =
                    &[("class", &"floor"), ("x", &low), ("width", &width), ("height", &HEIGHT)];
                svg.leaf("rect", floor);
            }
            let rule = format!("M{} 0V{HEIGHT}", Px(one));
            svg.leaf("path", &[("class", &"rule"), ("d", &rule)]);
            svg.element("g", &[("class", &style.class())], |svg| {
                if let (Some(low), Some(high)) = (x(ratio.low), x(ratio.high)) {
                    let path = format!("M{} {}H{}", Px(low), HEIGHT / 2.0, Px(high));
                    svg.leaf("path", &[("class", &"whisker"), ("d", &path)]);
                }
                draw_marker(svg, style, (median, HEIGHT / 2.0), false);
            });
        });
        Some(drawing)
    }

    /// The reasons for cells that are "unavailable", each reason once.
    fn missing(&self, cases: &[&Case]) -> BTreeSet<String> {
        let cells = self
            .columns
            .iter()
            .flat_map(|column| cases.iter().map(move |case| (&column.head, (column.cell)(case))));
        let reasons = cells.filter_map(|(head, cell)| match cell {
            Cell::Unavailable(reason) => Some(format!("{head} ({reason})")),
            _ => None,
        });
        reasons.collect()
    }
}

/// Both ends of an interval.
pub(super) fn range((low, high): (f64, f64), unit: Unit) -> String {
    format!("{} to {}", unit.format(low), unit.format(high))
}

/// The marker and the line of a server, as in the charts.
pub(super) fn key(style: Style) -> Svg {
    let attributes: Attributes = &[
        ("class", &"chart key"),
        ("aria-hidden", &"true"),
        ("viewBox", &"0 0 30 14"),
        ("width", &30),
        ("height", &14),
    ];
    let mut drawing = Svg::default();
    drawing.element("svg", attributes, |svg| {
        svg.element("g", &[("class", &style.class())], |svg| {
            svg.leaf("path", &[("class", &"line"), ("d", &"M2 7H28")]);
            draw_marker(svg, style, (15.0, 7.0), false);
        });
    });
    drawing
}

/// A scale from the smallest to the largest ratio that includes 1.
fn ratio_scale(cases: &[&Case], point: &Point) -> Option<Scale> {
    let ratios = cases.iter().flat_map(|case| &case.comparisons).map(|one| one.ratio);
    let ends = ratios.chain(point.noise_floor).flat_map(|ratio| [ratio.low, ratio.high]);
    // The scale has at least 5 % on both sides of 1: a difference of 1 % must look small.
    Scale::log_exact(&ends.chain([0.95, 1.05]).collect::<Vec<_>>())
}

/// All columns. The caller leaves out the columns without any figure.
fn columns(scenario: &Scenario) -> Vec<Column> {
    let metric = scenario.metric;
    let (name, unit) = view::metric(metric);
    let mut columns = vec![column(name, move |case| match case.finite_value() {
        Some(value) => figure(unit.format(value.median), view::interval(&value), unit),
        None => Cell::Empty,
    })];
    let reference = scenario.reference.as_str();
    columns.extend(compared("ratio", reference, metric));
    if metric != Metric::MessagesPerCpuSecond {
        let what = "messages per CPU second, ratio";
        columns.extend(compared(what, reference, Metric::MessagesPerCpuSecond));
    }
    columns.push(column("offered, messages per second", |case| match case.load.offered_per_s {
        Some(rate) if rate.is_finite() => Cell::Figure(Unit::Number.format(rate)),
        _ => Cell::Empty,
    }));
    columns.extend([0.5, 0.9, 0.99, 0.999].map(|quantile| {
        column(&Unit::Quantile.format(quantile), move |case| percentile(case, quantile))
    }));
    columns.extend([
        cost("CPU per message", Unit::Nanoseconds, |cost| cost.server_cpu_ns_per_message.clone()),
        cost("system calls per message", Unit::Number, |cost| {
            let sum = |_| cost.syscalls_total().unwrap_or(f64::NAN);
            cost.syscalls_per_message.clone().map(sum)
        }),
        cost("context switches per message", Unit::Number, view::switches),
        cost("memory per connection", Unit::Bytes, |cost| cost.bytes_per_connection.clone()),
        cost("peak memory", Unit::Bytes, |cost| cost.peak_rss_bytes.clone()),
        cost("threads", Unit::Count, |cost| cost.threads.clone()),
        cost("processes", Unit::Count, |cost| cost.processes.clone()),
        cost("server, cores busy", Unit::Number, |cost| cost.server_cores.clone()),
        cost("client, cores busy", Unit::Number, |cost| cost.client_cores.clone()),
        cost("steal, cores", Unit::Number, |cost| cost.steal_cores.clone()),
    ]);
    columns
}

fn column(head: &str, cell: impl Fn(&Case) -> Cell + 'static) -> Column {
    Column { head: head.to_owned(), cell: Box::new(cell) }
}

/// A figure, with its interval if there is one.
fn figure(text: String, interval: Option<(f64, f64)>, unit: Unit) -> Cell {
    match interval {
        Some(interval) => Cell::Interval(text, range(interval, unit)),
        None => Cell::Figure(text),
    }
}

/// Two columns: a ratio, and the verdict on it.
fn compared(what: &str, reference: &str, metric: Metric) -> [Column; 2] {
    let head = format!("{what} to {reference}");
    let ratio = column(&head, move |case| match case.comparison(metric) {
        Some(comparison) => Cell::Ratio(comparison.ratio),
        None => Cell::Empty,
    });
    let reference = reference.to_owned();
    let verdict = column(VERDICT, move |case| match case.comparison(metric) {
        Some(comparison) => verdict(comparison),
        None if case.server == reference => Cell::Reference,
        None => Cell::Empty,
    });
    [ratio, verdict]
}

fn verdict(comparison: &Comparison) -> Cell {
    if let Some(reason) = &comparison.unranked {
        return Cell::Verdict("soft", format!("not ranked: {reason}"));
    }
    let (class, sign) = match comparison.verdict {
        Verdict::Faster => ("better", "▲"),
        Verdict::Slower => ("worse", "▼"),
        Verdict::NotDistinguishable => ("soft", "≈"),
    };
    let word = view::verdict(comparison.metric, comparison.verdict);
    Cell::Verdict(class, format!("{sign} {word}"))
}

fn percentile(case: &Case, quantile: f64) -> Cell {
    let found = case.user_latency().and_then(|latency| {
        let mut all = latency.percentiles.iter();
        all.find(|percentile| (percentile.quantile - quantile).abs() < 1e-9)
    });
    found.map_or(Cell::Empty, |one| Cell::Figure(Unit::Nanoseconds.format(one.ns as f64)))
}

fn cost(head: &str, unit: Unit, reading: impl Fn(&CaseCost) -> Reading<f64> + 'static) -> Column {
    column(head, move |case| match (&case.outcome, case.cost.as_ref().map(&reading)) {
        (Outcome::Skipped(_) | Outcome::Failed(_), _) | (_, None) => Cell::Empty,
        (_, Some(Reading::Measured(value))) if value.is_finite() => {
            Cell::Figure(unit.format(value))
        }
        (_, Some(Reading::Measured(_))) => Cell::Unavailable("not a number".to_owned()),
        (_, Some(Reading::Unavailable { unavailable })) => Cell::Unavailable(unavailable),
    })
}
