//! The report for people. Every figure has a unit, and says "in all" or "per connection".

use std::fmt;

use anstyle::{AnsiColor, Style};
use textwrap::Options;

use super::{
    Client, Distribution, LatencySummary, Load, Location, Machine, Outcome, Report, Warning,
};
use crate::{Arrivals, Rate, Search};

/// A percentile with fewer messages beyond it means little.
const ENOUGH: u64 = 10;

/// Columns before the text of a line.
const INDENT: &str = "               ";

const TITLE: Style = Style::new().bold();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// A report, or a part of one, as text. The text has colours: print it through anstream, which
/// removes them where they do not belong.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a, T> {
    value: &'a T,
    width: usize,
}

impl Report {
    /// The report as text, with notes wrapped at `width` columns.
    pub fn text(&self, width: usize) -> Text<'_, Report> {
        Text { value: self, width }
    }
}

impl LatencySummary {
    /// The distributions as a table.
    pub fn text(&self) -> Text<'_, LatencySummary> {
        Text { value: self, width: usize::MAX }
    }
}

impl fmt::Display for Text<'_, Report> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text { value: report, width } = *self;
        write_load(f, &report.load)?;
        write_outcome(f, &report.load, &report.result)?;
        if let Some(Search { objective, rate: Some(rate), too_high, .. }) = &report.find_max {
            let above = match too_high {
                Some(too_high) => format!("; {} /s does not", grouped(*too_high)),
                None => String::new(),
            };
            writeln!(f, "  find-max     {} /s keeps {objective}{above}", grouped(*rate))?;
        }
        write!(f, "{}", report.latency.text())?;
        write_client(f, &report.client)?;
        write_machine(f, report)?;
        if report.faults.is_empty() {
            let checked = if report.load.verified { "; every byte was checked" } else { "" };
            writeln!(f, "\n  faults       none{checked}")?;
        }
        for (index, (fault, count)) in report.faults.iter().enumerate() {
            let label = if index == 0 { "\n  faults       " } else { INDENT };
            writeln!(f, "{label}{}: {count}", fault.name())?;
        }
        if let Some(first) = &report.first_fault {
            writeln!(f, "  first fault  {first}")?;
        }
        if report.result.interrupted {
            let text = "a signal ended the run early; the figures are of the time until then";
            write_note(f, WARNING, "INTERRUPTED", text, width)?;
        }
        write!(f, "{}", Notes { warnings: &report.warnings, invalid: &report.invalid, width })
    }
}

/// Warnings, and the reasons why figures are invalid, wrapped at a width.
#[derive(Clone, Copy, Debug)]
pub struct Notes<'a> {
    /// What can have changed the figures.
    pub warnings: &'a [Warning],
    /// Why the figures are wrong or misleading.
    pub invalid: &'a [String],
    /// The width in columns.
    pub width: usize,
}

impl fmt::Display for Notes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Warning { name, text } in self.warnings {
            write_note(f, WARNING, &name.to_uppercase(), text, self.width)?;
        }
        for reason in self.invalid {
            write_note(f, ALARM, "INVALID", reason, self.width)?;
        }
        Ok(())
    }
}

fn write_load(f: &mut fmt::Formatter<'_>, load: &Load) -> fmt::Result {
    let kind = match &load.rate {
        None => "closed loop".to_owned(),
        Some(Rate { per_second, arrivals, .. }) => {
            let arrivals = match arrivals {
                Arrivals::Poisson => "at random times (Poisson)",
                Arrivals::Uniform => "at equal times",
            };
            let seed = load.seed;
            format!("open loop, {} messages/s in all {arrivals}, seed {seed}", grouped(*per_second))
        }
    };
    writeln!(f, "{TITLE}{}, {kind}{TITLE:#}", load.address)?;
    writeln!(
        f,
        "  {} connections in all on {} thread(s); {} message(s) of {} B in flight per connection{}",
        load.connections,
        load.threads,
        load.depth,
        load.message_bytes,
        if load.churn { "; a new connection for each message" } else { "" }
    )?;
    if load.idle > 0 {
        writeln!(f, "  beside them {} connections that stay silent", load.idle)?;
    }
    if load.slow_readers > 0 {
        writeln!(f, "  beside them {} connections that send and hardly read", load.slow_readers)?;
    }
    Ok(())
}

fn write_outcome(f: &mut fmt::Formatter<'_>, load: &Load, result: &Outcome) -> fmt::Result {
    writeln!(
        f,
        "  {} s measured after {} s of warm-up\n",
        figure(result.seconds),
        figure(load.warmup_seconds)
    )?;
    writeln!(
        f,
        "  messages     {} in all; {} /s in all; {} /s per connection",
        grouped(result.messages as f64),
        grouped(result.messages_per_second),
        figure(result.messages_per_second_per_connection)
    )?;
    if let (Some(due), Some(ratio), Some(unsent)) =
        (result.due, result.achieved_ratio, result.unsent)
    {
        writeln!(
            f,
            "  rate         {} messages were due; {:.2} % came back in time",
            grouped(due as f64),
            ratio * 100.0
        )?;
        if unsent > 0 {
            writeln!(
                f,
                "{INDENT}{} were due and never sent: each counts as a response time until the end",
                grouped(unsent as f64)
            )?;
        }
    }
    writeln!(f, "  payload      {} each way in all", bytes_per_second(result.bytes_per_second))
}

fn write_client(f: &mut fmt::Formatter<'_>, client: &Client) -> fmt::Result {
    let per_message = match client.cpu_ns_per_message {
        Some(ns) => format!("{} per message", duration(ns as u64)),
        None => "per message unavailable".to_owned(),
    };
    writeln!(
        f,
        "\n  client CPU   {:.0} % of a core (busiest thread); {per_message}; {} s user, {} s system",
        client.busiest_thread * 100.0,
        figure(client.user_seconds),
        figure(client.system_seconds)
    )?;
    Ok(())
}

fn write_machine(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let server = &report.server;
    let why = match server.location {
        Location::Here => "the server's processes have ended",
        Location::Elsewhere => "the server is on another machine",
        Location::Unknown => "no visible process holds the server's socket; give --server-pid",
    };
    let per_message = |ns: Option<f64>| match ns {
        Some(ns) => format!("{} per message", duration(ns as u64)),
        None => "per message unavailable".to_owned(),
    };
    match server.cores {
        Some(cores) => writeln!(
            f,
            "  server CPU   {:.0} % of a core; {}; with the client {}",
            cores * 100.0,
            per_message(server.cpu_ns_per_message),
            per_message(server.with_client_cpu_ns_per_message)
        )?,
        None => writeln!(f, "  server CPU   unavailable: {why}")?,
    }
    let Machine { others_cores, steal_cores, interrupt_cores, .. } = report.machine;
    let cores = |cores: Option<f64>| cores.map_or("unavailable".to_owned(), |n| format!("{n:.2}"));
    let (others, steal) = (cores(others_cores), cores(steal_cores));
    writeln!(
        f,
        "  machine      cores used by other programs {others}; by interrupts {}; steal {steal}",
        cores(interrupt_cores)
    )?;
    Ok(())
}

/// Writes a word in the first columns and a text beside it.
fn write_note(
    f: &mut fmt::Formatter<'_>,
    style: Style,
    word: &str,
    text: &str,
    width: usize,
) -> fmt::Result {
    let label = format!("  {style}{word:<12}{style:#} ");
    let options = Options::new(width).initial_indent(&label).subsequent_indent(INDENT);
    writeln!(f, "{}", textwrap::fill(text, options))
}

impl fmt::Display for Text<'_, LatencySummary> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencySummary { response, service, lateness, own_lateness } = self.value;
        let columns = match lateness {
            None => vec![("latency", "send to last byte back", response)],
            Some(_) => vec![
                ("response", "intended send to last byte back", response),
                ("service", "actual send to last byte back", service),
                ("lateness", "intended to actual send", lateness),
                (
                    "own lateness",
                    "the part of the lateness that the generator caused",
                    own_lateness,
                ),
            ],
        };
        let measured =
            columns.into_iter().filter_map(|(name, text, of)| Some((name, text, of.as_ref()?)));
        let columns: Vec<_> = measured.collect();
        match columns.is_empty() {
            true => writeln!(f, "\n  latency      unavailable: no message came back"),
            false => write_columns(f, &columns),
        }
    }
}

/// Writes distributions side by side, with a line for each percentile.
fn write_columns(
    f: &mut fmt::Formatter<'_>,
    columns: &[(&str, &str, &Distribution)],
) -> fmt::Result {
    writeln!(f)?;
    for (name, meaning, _) in columns {
        writeln!(f, "  {name:<12} {meaning}")?;
    }
    write!(f, "  {:<12}", "")?;
    for (name, ..) in columns {
        write!(f, " {TITLE}{name:>12}{TITLE:#}")?;
    }
    writeln!(f)?;
    let [(_, _, first), ..] = columns else { return Ok(()) };
    for (row, percentile) in first.percentiles.iter().enumerate() {
        write!(f, "  {:<12}", format!("p{}", percentile.percentile))?;
        for (.., distribution) in columns {
            write!(f, " {:>12}", duration(distribution.percentiles[row].ns))?;
        }
        if percentile.beyond < ENOUGH && percentile.percentile < 100.0 {
            write!(f, "   (only {} beyond: too few messages)", percentile.beyond)?;
        }
        writeln!(f)?;
    }
    for (name, value) in
        [("mean", (|d| d.mean_ns as u64) as fn(&Distribution) -> u64), ("max", |d| d.max_ns)]
    {
        write!(f, "  {name:<12}")?;
        for (.., distribution) in columns {
            write!(f, " {:>12}", duration(value(distribution)))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Nanoseconds with three or four significant digits and the unit that suits them.
pub fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", figure(ns as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", figure(ns as f64 / 1e6)),
        _ => format!("{} s", figure(ns as f64 / 1e9)),
    }
}

fn bytes_per_second(value: f64) -> String {
    match value {
        ..1e3 => format!("{value:.0} B/s"),
        ..1e6 => format!("{} kB/s", figure(value / 1e3)),
        ..1e9 => format!("{} MB/s", figure(value / 1e6)),
        _ => format!("{} GB/s", figure(value / 1e9)),
    }
}

/// A number with decimals as its size deserves them.
fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.3}"),
        ..100.0 => format!("{value:.2}"),
        ..1000.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A number without decimals, its digits in groups of three.
fn grouped(value: f64) -> String {
    group_digits(value, ' ')
}

/// A number without decimals, its digits in groups of three with `space` between them.
pub fn group_digits(value: f64, space: char) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(space);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_groups() {
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.500 µs");
        assert_eq!(duration(123_456_789), "123.5 ms");
        assert_eq!(duration(2_000_000_000), "2.000 s");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(group_digits(-123_456.0, '_'), "-123_456");
        assert_eq!(bytes_per_second(64e6), "64.00 MB/s");
    }
}
