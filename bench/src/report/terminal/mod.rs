//! The tables in the terminal. Columns without room are left out; the page has all of them.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};

use crate::results::{Case, Fit, Outcome, Point, Scenario};

use super::finding::{capitalised, slope_interval};
use super::format::{self, Unit, digits, list};
use super::svg::harmless_text;
use super::view;

use columns::{COLUMNS, PER_CPU, unavailable};
use text_table::{Cell, Columns};

mod columns;
mod text_table;

/// Columns of a terminal that does not say how many it has.
const WIDTH_UNKNOWN: usize = 80;

/// Text in place of a figure that was not measured.
const UNAVAILABLE: &str = format::UNAVAILABLE;

const TITLE: Style = Style::new().bold();
const SOFT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Prints a scenario on stdout: the question, the method, and a table for each point.
///
/// The lines are as wide as the terminal. A pipe or a file gets all columns. `COLUMNS` in the
/// environment sets another width. A pipe or a file gets no colours, and neither does a terminal
/// with `NO_COLOR`. An error of stdout is ignored, since the report also goes to a file.
pub fn print(scenario: &Scenario) {
    let text = text(scenario, width_of_stdout());
    let _ = anstream::AutoStream::auto(io::stdout()).write_all(text.as_bytes());
}

/// Prints a table on stdout, with the colours and the width of [`print()`]. `by_rank` has the
/// indices of the columns, the most important first. The first column begins at the left edge.
pub fn print_table(title: &str, heads: &[&str], by_rank: &[usize], rows: &[Vec<String>]) {
    let mut screen = Screen { text: String::from("\n"), room: width_of_stdout() };
    screen.lines(TITLE, "", title);
    let heads: Vec<Cell> = heads.iter().map(|head| Cell::new(head).styled(TITLE)).collect();
    let cells = rows.iter().map(|row| row.iter().map(|text| Cell::new(text)).collect());
    let rows: Vec<Vec<Cell>> = [heads.clone()].into_iter().chain(cells).collect();
    let columns = Columns::fit(&rows.iter().collect::<Vec<_>>(), by_rank, screen.room);
    for row in &rows {
        screen.text += &columns.line(row, |index| index == 0);
        screen.text.push('\n');
    }
    let hidden = by_rank.iter().filter(|index| !columns.shows(**index));
    screen.heads("no room for ", hidden.map(|index| &heads[*index]), "; COLUMNS=200 shows all");
    let _ = anstream::AutoStream::auto(io::stdout()).write_all(screen.text.as_bytes());
}

fn width_of_stdout() -> Option<usize> {
    let stdout = io::stdout();
    let size = terminal_size_of(&stdout).map(|(Width(width), _)| width);
    room(env::var("COLUMNS").ok().as_deref(), stdout.is_terminal(), size)
}

/// The width of a line; `None` if lines may have any width.
fn room(columns: Option<&str>, terminal: bool, size: Option<u16>) -> Option<usize> {
    let wanted = columns.and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    let size = size.map(usize::from).filter(|width| *width > 0);
    wanted.or_else(|| terminal.then(|| size.unwrap_or(WIDTH_UNKNOWN)))
}

/// Returns what [`print()`] prints on lines of `room` columns, with the escape sequences of its
/// colours. `None` has room for all columns.
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
    screen.heads(&format!("{UNAVAILABLE}: "), missing.map(|index| &heads[index]), "");
    let hidden = by_rank.iter().filter(|index| !columns.shows(**index));
    let hidden = hidden.map(|index| &heads[*index]);
    screen.heads("no room for ", hidden, "; report.html has all columns");
    if COLUMNS.iter().enumerate().any(|(i, column)| column.head == PER_CPU && columns.shows(i)) {
        let text = "messages per second of the server's CPU time, as a ratio to the reference; * \
                    told apart from 1";
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
    /// Writes `start` and `text` in one style, on as many lines as they need. Replaces characters
    /// that steer a terminal.
    fn lines(&mut self, style: Style, start: &str, text: &str) {
        let text = harmless_text(text);
        let options = textwrap::Options::new(self.room.unwrap_or(usize::MAX))
            .initial_indent(start)
            .subsequent_indent("  ")
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
        for line in textwrap::wrap(&text, options) {
            // The blank before a unit keeps the two on one line, and is an ordinary one for a
            // search.
            self.text += &format!("{style}{}{style:#}\n", line.replace('\u{a0}', " "));
        }
    }

    /// Writes the heads of columns between two texts, if there are any.
    fn heads<'a>(&mut self, before: &str, heads: impl Iterator<Item = &'a Cell>, after: &str) {
        let heads: Vec<&str> = heads.map(Cell::text).collect();
        if !heads.is_empty() {
            self.lines(SOFT, "", &format!("{before}{}{after}", list(&heads)));
        }
    }

    /// Writes the reasons for missing cases and the flags, each once with the servers that it is
    /// about. Failures come first.
    fn remarks(&mut self, point: &Point) {
        // The number orders the kinds of remarks, and chooses their style.
        let mut remarks: BTreeMap<(usize, String), Vec<&str>> = BTreeMap::new();
        for case in asked_for(point) {
            let kind = match &case.outcome {
                Outcome::Failed(_) => Some(0),
                Outcome::Invalid(_) => Some(1),
                Outcome::Skipped(_) => Some(3),
                Outcome::Measured | Outcome::Saturated => None,
            };
            let outcome = kind.map(|kind| (kind, case.outcome.to_string()));
            let flags = case.flags.iter().map(|flag| (2, flag.clone()));
            for remark in outcome.into_iter().chain(flags) {
                remarks.entry(remark).or_default().push(&case.server);
            }
        }
        for ((kind, remark), servers) in remarks {
            let (style, start) =
                [(BAD, "! "), (WARNING, "! "), (WARNING, "! "), (SOFT, "  ")][kind];
            self.lines(style, start, &format!("{}: {remark}", servers.join(", ")));
        }
    }
}

fn title(point: &Point, scenario: &Scenario) -> String {
    let (metric, _) = view::metric(scenario.metric);
    let reference = &scenario.reference;
    let ratios = if point.cases.iter().any(|case| !case.comparisons.is_empty()) {
        format!("ratios to {reference}")
    } else if point.case(reference).is_some_and(|case| case.finite_value().is_some()) {
        "no ratios, since no other server was measured".to_owned()
    } else {
        format!("no ratios, since {reference} was not measured")
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
