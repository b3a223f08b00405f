//! The report for people: units on everything, and "in all" or "per connection" said.

use std::fmt;

use super::{Distribution, LatencySummary, Load, Report};

/// Messages that must lie beyond a percentile for it to be more than an anecdote.
const ENOUGH: u64 = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_load(f, &self.load)?;
        let result = &self.result;
        writeln!(
            f,
            "  {} s measured after {} s of warm-up\n",
            figure(result.seconds),
            figure(self.load.warmup_seconds)
        )?;
        writeln!(
            f,
            "  messages     {} in all; {} /s in all; {} /s per connection",
            grouped(result.messages as f64),
            grouped(result.messages_per_second),
            figure(result.messages_per_second_per_connection)
        )?;
        if let (Some(rate), Some(ratio)) = (&self.load.rate, result.achieved_ratio) {
            writeln!(
                f,
                "  rate         {:.2} % of {} /s achieved; {} messages were due and never sent",
                ratio * 100.0,
                grouped(rate.per_second),
                grouped(result.unsent as f64)
            )?;
        }
        writeln!(
            f,
            "  payload      {} each way in all",
            bytes_per_second(result.bytes_per_second)
        )?;
        write!(f, "{}", self.latency)?;
        self.write_client(f)?;
        write!(f, "\n  faults       ")?;
        if self.faults.is_empty() {
            writeln!(
                f,
                "none{}",
                if self.load.verified { "; every byte was checked" } else { "" }
            )?;
        }
        for (index, (name, count)) in self.faults.iter().enumerate() {
            writeln!(f, "{}{name}: {count}", if index > 0 { "               " } else { "" })?;
        }
        if let Some(first) = &self.first_fault {
            writeln!(f, "  first fault  {first}")?;
        }
        for reason in &self.invalid {
            writeln!(f, "  INVALID      {reason}")?;
        }
        Ok(())
    }
}

fn write_load(f: &mut fmt::Formatter<'_>, load: &Load) -> fmt::Result {
    let kind = match &load.rate {
        None => "closed loop".to_owned(),
        Some(rate) => {
            format!("open loop, {} messages/s in all", grouped(rate.per_second))
        }
    };
    writeln!(f, "{}, {kind}", load.address)?;
    writeln!(
        f,
        "  {} connections in all on {} thread(s); {} message(s) of {} B on their way per \
         connection{}",
        load.connections,
        load.threads,
        load.depth,
        load.message_bytes,
        if load.churn { "; a new connection for each message" } else { "" }
    )?;
    if load.idle > 0 || load.slow_readers > 0 {
        writeln!(
            f,
            "  beside them {} idle connections and {} that send and do not read",
            load.idle, load.slow_readers
        )?;
    }
    Ok(())
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.service, &self.lateness) {
            (Some(service), Some(lateness)) => write_columns(
                f,
                &[
                    ("response", "intended send to last byte back", &self.response),
                    ("service", "actual send to last byte back", service),
                    ("lateness", "intended to actual send", lateness),
                ],
            ),
            _ => write_columns(f, &[("latency", "send to last byte back", &self.response)]),
        }
    }
}

impl Report {
    fn write_client(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = &self.client;
        let per_message = match client.cpu_ns_per_message {
            Some(ns) => format!("{} per message", duration(ns as u64)),
            None => "per message unavailable".to_owned(),
        };
        writeln!(
            f,
            "\n  client CPU   {:.0} % of a core (busiest thread); {per_message}; {} s user, \
             {} s system",
            client.busiest_thread * 100.0,
            figure(client.user_seconds),
            figure(client.system_seconds)
        )?;
        if client.starved {
            writeln!(
                f,
                "  STARVED      the generator was ready to run and had no core for {:.0} % of the \
                 time: something else on this machine made messages late",
                client.waited.unwrap_or_default() * 100.0
            )?;
        }
        if client.saturated == Some(true) {
            writeln!(
                f,
                "  SATURATED    the generator had no CPU time left: these figures may be its own \
                 limit, not the server's. Give more --threads, or fewer connections"
            )?;
        }
        Ok(())
    }
}

/// Writes distributions side by side, a line per percentile.
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
        write!(f, " {name:>12}")?;
    }
    writeln!(f)?;
    let [(_, _, first), ..] = columns else { return Ok(()) };
    for (row, percentile) in first.percentiles.iter().enumerate() {
        write!(f, "  {:<12}", format!("p{}", percentile.percentile))?;
        for (.., distribution) in columns {
            write!(f, " {:>12}", duration(distribution.percentiles[row].ns))?;
        }
        let few = percentile.beyond < ENOUGH && percentile.percentile < 100.0;
        let note = format!("   (only {} beyond: too few messages)", percentile.beyond);
        writeln!(f, "{}", if few { &note } else { "" })?;
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
