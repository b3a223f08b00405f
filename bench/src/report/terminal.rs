//! The tables in the terminal. Columns without room are left out; the page has all of them.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};

use crate::results::{Case, CaseCost, Fit, Metric, Outcome, Point, Reading, Scenario};
use crate::statistics::{Estimate, Verdict};

use super::finding::{capitalised, slope_interval};
use super::format::{Unit, digits, list};
use super::svg::harmless_text;
use super::text_table::{Cell, Columns};
use super::view;

/// Columns of a terminal that does not say how many it has.
const WIDTH_UNKNOWN: usize = 80;

/// A column of the tables.
struct Column {
    head: &'static str,
    /// Place in the order of importance, 0 for the most important column.
    rank: u8,
    /// Whether the cells begin at the left edge of the column.
    to_left: bool,
    cell: fn(&Case, &Scenario) -> Cell,
}

/// Head of the column of messages per second of CPU time.
const PER_CPU: &str = "msg/CPU s";

/// All columns. In a narrow terminal, the columns of high rank are left out.
const COLUMNS: [Column; 15] = [
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

/// Text in place of a figure that was not measured.
const UNAVAILABLE: &str = super::format::UNAVAILABLE;

const TITLE: Style = Style::new().bold();
const SOFT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Prints a scenario on stdout: the question, the method, and a table for each point.
///
/// The lines are as wide as the terminal. A pipe or a file gets all columns. `COLUMNS` in the
/// environment sets another width. A pipe or a file gets no colours, and neither does a terminal with
/// `NO_COLOR`. An error of stdout is ignored, since the report also goes to a file.
pub fn print(scenario: &Scenario) {
    let stdout = io::stdout();
    let (terminal, size) = (stdout.is_terminal(), terminal_size_of(&stdout));
    let columns = env::var("COLUMNS").ok();
    let text =
        text(scenario, room(columns.as_deref(), terminal, size.map(|(Width(width), _)| width)));
    let _ = anstream::AutoStream::auto(stdout).write_all(text.as_bytes());
}

/// The width of a line; `None` if lines may have any width.
fn room(columns: Option<&str>, terminal: bool, size: Option<u16>) -> Option<usize> {
    let wanted = columns.and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    let size = size.map(usize::from).filter(|width| *width > 0);
    wanted.or_else(|| terminal.then(|| size.unwrap_or(WIDTH_UNKNOWN)))
}

/// Returns what [`print`] prints on lines of `room` columns, with the escape sequences of its colours.
/// `None` has room for all columns.
pub fn text(scenario: &Scenario, room: Option<usize>) -> String {
    let mut screen = Screen { text: String::from("\n"), room };
    screen.lines(TITLE, "", &format!("{}: {}", scenario.name, scenario.question));
    screen.lines(Style::new(), "", &scenario.method.text);
    // All tables have the same columns, so that a column can be read downwards.
    let heads = COLUMNS.map(|column| Cell::new(column.head).styled(TITLE)).to_vec();
    let tables: Vec<Vec<Vec<Cell>>> = scenario.points.iter().map(|p| rows(p, scenario)).collect();
    let cells = |index: usize| tables.iter().flatten().filter_map(move |row| row.get(index));
    let figures =
        |index: &usize| cells(*index).any(|cell| ![Cell::default(), unavailable()].contains(cell));
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).filter(figures).collect();
    by_rank.sort_by_key(|index| COLUMNS[*index].rank);
    let all: Vec<&Vec<Cell>> = tables.iter().flatten().chain([&heads]).collect();
    let columns = Columns::fit(&all, &by_rank, room);
    for (point, rows) in scenario.points.iter().zip(&tables) {
        screen.text.push('\n');
        screen.lines(TITLE, "", &title(point, scenario));
        screen.lines(Style::new(), "", &noise_floor(point));
        for row in [&heads].into_iter().chain(rows) {
            screen.text += &columns.line(row, |index| COLUMNS[index].to_left);
            screen.text.push('\n');
        }
        screen.remarks(point);
    }
    let missing = (0..COLUMNS.len()).filter(|index| !by_rank.contains(index));
    let missing = missing.filter(|index| cells(*index).any(|cell| *cell == unavailable()));
    screen.heads(&format!("{UNAVAILABLE}: "), missing, "");
    let hidden = by_rank.iter().copied().filter(|index| !columns.shows(*index));
    screen.heads("no room for ", hidden, "; report.html has all columns");
    if COLUMNS.iter().enumerate().any(|(i, column)| column.head == PER_CPU && columns.shows(i)) {
        let text = "messages per second of the server's CPU time, as a ratio to the reference; * told \
                    apart from 1";
        screen.lines(SOFT, "", &format!("{PER_CPU}: {text}"));
    }
    scenario.fits.iter().for_each(|fit| screen.lines(Style::new(), "", &growth(fit)));
    scenario.notes.iter().for_each(|note| screen.lines(WARNING, "note: ", note));
    screen.text
}

/// Text for a terminal.
struct Screen {
    text: String,
    /// The width of a line.
    room: Option<usize>,
}

impl Screen {
    /// Writes `start` and `text` in one style, on as many lines as they need. Replaces characters that
    /// steer a terminal.
    fn lines(&mut self, style: Style, start: &str, text: &str) {
        let text = harmless_text(text);
        let options = textwrap::Options::new(self.room.unwrap_or(usize::MAX))
            .initial_indent(start)
            .subsequent_indent("  ")
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
        for line in textwrap::wrap(&text, options) {
            // The blank before a unit keeps the two on one line, and is an ordinary one for a search.
            self.text += &format!("{style}{}{style:#}\n", line.replace('\u{a0}', " "));
        }
    }

    /// Writes the heads of `columns` between two texts, if there are any.
    fn heads(&mut self, before: &str, columns: impl Iterator<Item = usize>, after: &str) {
        let heads: Vec<&str> = columns.map(|index| COLUMNS[index].head).collect();
        if !heads.is_empty() {
            self.lines(SOFT, "", &format!("{before}{}{after}", list(&heads)));
        }
    }

    /// Writes the reasons for missing cases and the flags, each once with the servers that it is about.
    fn remarks(&mut self, point: &Point) {
        let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut wrong: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for case in asked_for(point) {
            match &case.outcome {
                Outcome::Skipped(reason) => skipped.entry(reason).or_default().push(&case.server),
                Outcome::Failed(reason) => {
                    wrong.entry(("failed, ", reason)).or_default().push(&case.server);
                }
                Outcome::Invalid(reason) => {
                    wrong.entry(("invalid, ", reason)).or_default().push(&case.server);
                }
                Outcome::Measured | Outcome::Saturated => {}
            }
            for flag in &case.flags {
                wrong.entry(("", flag)).or_default().push(&case.server);
            }
        }
        for ((what, reason), servers) in wrong {
            let style = if what == "failed, " { BAD } else { WARNING };
            self.lines(style, "! ", &format!("{}: {what}{reason}", servers.join(", ")));
        }
        for (reason, servers) in skipped {
            self.lines(SOFT, "  ", &format!("{}: skipped, {reason}", servers.join(", ")));
        }
    }
}

fn title(point: &Point, scenario: &Scenario) -> String {
    let (metric, _) = view::metric(scenario.metric);
    let compared = point.cases.iter().any(|case| !case.comparisons.is_empty());
    let reference = &scenario.reference;
    let ratios = if compared {
        format!("ratios to {reference}")
    } else {
        format!("no ratios, since {reference} and another server were not both measured")
    };
    format!("{}, {}: {metric}; {ratios}", scenario.name, point.label)
}

fn noise_floor(point: &Point) -> String {
    match &point.noise_floor {
        Some(floor) => format!(
            "A/A control: {:.3} [{:.3}, {:.3}] over {} blocks; a verdict needs more than {}",
            floor.median,
            floor.low,
            floor.high,
            floor.blocks,
            view::strayed(floor)
        ),
        None => format!("A/A control: {UNAVAILABLE}, so no server is ranked"),
    }
}

/// How the cost of a server grows. A slope whose interval includes 0 is given as an upper bound.
fn growth(fit: &Fit) -> String {
    let Fit { server, quantity, unit, points, left_out, .. } = fit;
    let slope = match slope_interval(fit) {
        Some((low, high)) if low > 0.0 => {
            format!("{} ({} to {})", digits(fit.slope), digits(low), digits(high))
        }
        Some((_, high)) => format!("at most {}", digits(high)),
        None => format!("{} (interval {UNAVAILABLE})", digits(fit.slope)),
    };
    let left_out: Vec<String> = left_out.iter().map(|x| Unit::Count.format(*x)).collect();
    let without =
        if left_out.is_empty() { String::new() } else { format!(", without {}", list(&left_out)) };
    let (what, r_squared) = (capitalised(quantity), digits(fit.r_squared));
    format!("{what} of {server} grows by {slope} {unit}: {points} points{without}, R² {r_squared}")
}

/// The cases that the filter did not leave out.
fn asked_for(point: &Point) -> impl Iterator<Item = &Case> {
    point.cases.iter().filter(|case| !case.outcome.is_left_out())
}

/// A row for each case that was tried, with a cell for each of [`COLUMNS`].
fn rows(point: &Point, scenario: &Scenario) -> Vec<Vec<Cell>> {
    let tried = asked_for(point).filter(|case| !matches!(case.outcome, Outcome::Skipped(_)));
    let row = |case| COLUMNS.iter().map(|column| (column.cell)(case, scenario)).collect();
    tried.map(row).collect()
}

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

/// The verdict on a case, or why it has none. Only the reference itself is called so, and only if it
/// was measured.
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

fn unavailable() -> Cell {
    Cell::new(UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn lines_are_as_wide_as_the_terminal_and_of_any_width_in_a_pipe() {
        assert_eq!(room(None, true, Some(120)), Some(120));
        assert_eq!(room(None, true, None), Some(80));
        assert_eq!(room(None, true, Some(0)), Some(80));
        assert_eq!(room(None, false, None), None);
        // A size without a terminal is that of another stream.
        assert_eq!(room(None, false, Some(120)), None);
    }

    #[test]
    fn a_width_in_the_environment_comes_first() {
        assert_eq!(room(Some("100"), true, Some(120)), Some(100));
        assert_eq!(room(Some("100"), false, None), Some(100));
        for bad in ["", "0", "-1", "wide"] {
            assert_eq!(room(Some(bad), true, Some(120)), Some(120));
        }
    }
}
