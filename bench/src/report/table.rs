//! The figures of one point as a table, a row for each server.

use std::collections::BTreeSet;

use crate::cost::Reading;
use crate::results::{Case, CaseCost, Comparison, Metric, Outcome, Point, Results, Scenario};
use crate::statistics::{Estimate, Verdict};

use super::format::{Unit, list};
use super::markup::{Attributes, Markup, Px};
use super::palette::{Palette, Style, draw_marker};
use super::scale::Scale;
use super::view;

/// Head of a column of verdicts.
const VERDICT: &str = "verdict";

/// What a cell says.
enum Cell {
    /// Nothing: the question does not arise.
    Empty,
    /// A figure.
    Figure(String),
    /// A figure with its interval beneath.
    Interval(String, String),
    /// A ratio to the reference.
    Ratio(Estimate),
    /// What may be said of it.
    Verdict(&'static str, String),
    /// There is no ratio of the reference to itself.
    Reference,
    /// No figure, and why.
    Unavailable(String),
}

impl Cell {
    fn is_empty(&self) -> bool {
        matches!(self, Cell::Empty | Cell::Reference)
    }
}

/// A column: its head and how to fill it.
struct Column {
    head: String,
    cell: Box<dyn Fn(&Case) -> Cell>,
}

/// What all rows of a table share.
struct Table<'a> {
    scenario: &'a Scenario,
    point: &'a Point,
    columns: Vec<Column>,
    /// Of the ratios, so that the rows can be compared by eye.
    scale: Option<Scale>,
}

/// Writes the table of `point`, and beneath it why figures are missing.
pub(super) fn write(
    page: &mut Markup,
    results: &Results,
    palette: &Palette,
    scenario: &Scenario,
    point: &Point,
) {
    let cases: Vec<&Case> =
        results.servers.iter().filter_map(|server| point.case(&server.name)).collect();
    let mut columns = columns(scenario);
    columns.retain(|column| cases.iter().any(|case| !(column.cell)(case).is_empty()));
    let scale = ratio_scale(&cases, point);
    let table = Table { scenario, point, columns, scale };
    let label = format!("{}, {}", scenario.name, point.label);
    let scroll: Attributes =
        &[("class", &"scroll"), ("role", &"region"), ("tabindex", &0), ("aria-label", &label)];
    page.element("div", scroll, |page| {
        page.element("table", &[], |page| {
            page.text_element("caption", &[], table.caption());
            table.write_head(page);
            page.element("tbody", &[], |page| {
                for case in &cases {
                    table.write_row(page, case, palette.style(&case.server));
                }
            });
        });
    });
    let reasons = table.missing(&cases);
    if !reasons.is_empty() {
        let text = format!("Unavailable: {}.", list(&reasons.into_iter().collect::<Vec<_>>()));
        page.text_element("p", &[("class", &"soft")], text);
    }
}

impl Table<'_> {
    fn caption(&self) -> String {
        let floor = match &self.point.noise_floor {
            Some(floor) if floor.strays().is_finite() => {
                format!("A/A control within {}", view::strayed(floor))
            }
            _ => "A/A control unavailable, so nothing is ranked".to_owned(),
        };
        format!("{}, {}. {floor}.", self.scenario.name, self.point.label)
    }

    fn write_head(&self, page: &mut Markup) {
        page.element("thead", &[], |page| {
            page.element("tr", &[], |page| {
                page.text_element("th", &[("scope", &"col")], "server");
                for column in &self.columns {
                    let class = if column.head == VERDICT { "verdict" } else { "" };
                    let attributes: Attributes = &[("scope", &"col"), ("class", &class)];
                    page.text_element("th", attributes, &column.head);
                }
                page.text_element("th", &[("scope", &"col")], "remarks");
            });
        });
    }

    fn write_row(&self, page: &mut Markup, case: &Case, style: Style) {
        page.element("tr", &[], |page| {
            page.element("th", &[("scope", &"row")], |page| {
                write_key(page, style);
                page.text(&case.server);
            });
            let remarks = list(&case.doubts());
            let cells: Vec<Cell> = self.columns.iter().map(|one| (one.cell)(case)).collect();
            if cells.iter().all(Cell::is_empty) {
                let span = cells.len() + 1;
                page.text_element("td", &[("class", &"remarks"), ("colspan", &span)], remarks);
                return;
            }
            for cell in cells {
                self.write_cell(page, cell, style);
            }
            page.text_element("td", &[("class", &"remarks")], remarks);
        });
    }

    fn write_cell(&self, page: &mut Markup, cell: Cell, style: Style) {
        match cell {
            Cell::Empty => page.text_element("td", &[], ""),
            Cell::Figure(text) => page.text_element("td", &[], text),
            Cell::Interval(text, interval) => page.element("td", &[], |page| {
                page.text(text);
                page.text_element("small", &[], interval);
            }),
            Cell::Ratio(ratio) => page.element("td", &[("class", &"ratio")], |page| {
                self.write_whisker(page, &ratio, style);
                page.text_element("span", &[], Unit::Ratio.format(ratio.median));
                if let Some((low, high)) = view::interval(&ratio) {
                    page.text_element("small", &[], range(low, high));
                }
            }),
            Cell::Verdict(class, text) => {
                page.text_element("td", &[("class", &format_args!("verdict {class}"))], text);
            }
            Cell::Reference => {
                page.text_element("td", &[("class", &"verdict soft")], "the reference");
            }
            Cell::Unavailable(reason) => {
                page.text_element("td", &[("class", &"soft"), ("title", &reason)], "unavailable");
            }
        }
    }

    /// The ratio as a dot with its interval, over the noise floor and the line of no difference.
    fn write_whisker(&self, page: &mut Markup, ratio: &Estimate, style: Style) {
        const WIDTH: f64 = 120.0;
        const HEIGHT: f64 = 16.0;
        let Some(scale) = self.scale else { return };
        let x = |ratio| Some(4.0 + scale.place(ratio)?.clamp(0.0, 1.0) * (WIDTH - 8.0));
        let (Some(one), Some(median)) = (x(1.0), x(ratio.median)) else { return };
        let attributes: Attributes = &[
            ("class", &"chart whisk"),
            ("aria-hidden", &"true"),
            ("viewBox", &format_args!("0 0 {WIDTH} {HEIGHT}")),
            ("width", &WIDTH),
            ("height", &HEIGHT),
        ];
        page.element("svg", attributes, |svg| {
            let floor =
                self.point.noise_floor.and_then(|floor| Some((x(floor.low)?, x(floor.high)?)));
            if let Some((low, high)) = floor {
                let box_: Attributes = &[
                    ("class", &"floor"),
                    ("x", &Px(low)),
                    ("width", &Px((high - low).max(1.0))),
                    ("height", &HEIGHT),
                ];
                svg.leaf("rect", box_);
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
    }

    /// Why cells are "unavailable", each reason once.
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

/// Both ends of an interval of ratios.
fn range(low: f64, high: f64) -> String {
    format!("{} to {}", Unit::Number.format(low), Unit::Number.format(high))
}

/// The marker and line of a server, to find it in the charts.
pub(super) fn write_key(page: &mut Markup, style: Style) {
    let attributes: Attributes = &[
        ("class", &"chart key"),
        ("aria-hidden", &"true"),
        ("viewBox", &"0 0 30 14"),
        ("width", &30),
        ("height", &14),
    ];
    page.element("svg", attributes, |svg| {
        svg.element("g", &[("class", &style.class())], |svg| {
            svg.leaf("path", &[("class", &"line"), ("d", &"M2 7H28")]);
            draw_marker(svg, style, (15.0, 7.0), false);
        });
    });
}

/// From the smallest to the largest ratio, 1 among them.
fn ratio_scale(cases: &[&Case], point: &Point) -> Option<Scale> {
    let ratios = cases.iter().flat_map(|case| &case.comparisons).map(|one| one.ratio);
    let ends = ratios.chain(point.noise_floor).flat_map(|ratio| [ratio.low, ratio.high]);
    // At least 5 % either way: less would make mountains of molehills.
    Scale::log_exact(&ends.chain([0.95, 1.05]).collect::<Vec<_>>())
}

/// Every column that there can be; those without a figure are left out later.
fn columns(scenario: &Scenario) -> Vec<Column> {
    let metric = scenario.metric;
    let (name, unit) = view::metric(metric);
    let mut columns = vec![column(name, move |case| match case.value() {
        Some(value) => match view::interval(&value) {
            Some((low, high)) => Cell::Interval(
                unit.format(value.median),
                format!("{} to {}", unit.format(low), unit.format(high)),
            ),
            None => Cell::Figure(unit.format(value.median)),
        },
        None => Cell::Empty,
    })];
    let reference = scenario.reference.as_str();
    columns.extend(compared("ratio", reference, metric));
    if metric != Metric::MessagesPerCpuSecond {
        let what = "messages per CPU second, ratio";
        columns.extend(compared(what, reference, Metric::MessagesPerCpuSecond));
    }
    columns.extend([0.5, 0.9, 0.99, 0.999].map(|quantile| {
        column(&Unit::Quantile.format(quantile), move |case| percentile(case, quantile))
    }));
    columns.extend([
        cost("CPU per message", Unit::Nanoseconds, |cost| cost.server_cpu_ns_per_message.clone()),
        cost("system calls per message", Unit::Number, |cost| {
            let sum = |calls: Vec<_>| -> f64 {
                calls.iter().map(|call: &crate::results::SyscallRate| call.per_message).sum()
            };
            cost.syscalls_per_message.clone().map(sum)
        }),
        cost("context switches per message", Unit::Number, |cost| {
            let involuntary = cost.involuntary_switches_per_message.clone();
            cost.voluntary_switches_per_message.clone().zip_with(involuntary, |a, b| a + b)
        }),
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

/// A ratio and what may be said of it.
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
    let (class, text) = match comparison.verdict {
        Verdict::Faster => ("faster", "▲ faster"),
        Verdict::Slower => ("slower", "▼ slower"),
        Verdict::NotDistinguishable => ("soft", "≈ not distinguishable"),
    };
    Cell::Verdict(class, text.to_owned())
}

fn percentile(case: &Case, quantile: f64) -> Cell {
    let found = case.latency().and_then(|latency| {
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
