//! `check`: does this echo server keep the contract?
//!
//! ```console
//! $ check -- python3 server.py {port}       # any command, in any language
//! $ check --addr 127.0.0.1:7000             # a server that runs already
//! $ check --server epoll-selector           # one of this workspace
//! $ check --soak 5m --server epoll-selector # everything at random, for five minutes
//! ```
//!
//! Exit status: 0 when nothing failed, 1 when something did, 2 for bad arguments.

mod args;
mod json;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use conformance::{Case, Outcome, Subject};
use indicatif::{ProgressBar, ProgressStyle};
use server_process::process::raise_descriptor_limit;

use args::{Args, subjects};
use json::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        return exit_code(list(&args));
    }
    // Without it, cases that need many descriptors are not applicable, and say so.
    let _ = raise_descriptor_limit();
    match subjects(&args) {
        Ok(subjects) => exit_code(match args.soak {
            Some(duration) => soak(&args, &subjects, duration.into()),
            None => check(&args, &subjects),
        }),
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(2)
        }
    }
}

/// The cases that the filters let through.
fn chosen(args: &Args) -> Vec<(&'static str, &'static Case)> {
    let wanted = |topic: &str, case: &Case| {
        args.filter.is_empty()
            || args.filter.iter().any(|text| case.name.contains(text) || topic.contains(text))
    };
    if args.udp {
        conformance::datagram_cases().filter(|(topic, case)| wanted(topic, case)).collect()
    } else {
        conformance::cases().filter(|(topic, case)| wanted(topic, case)).collect()
    }
}

fn list(args: &Args) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for (topic, case) in chosen(args) {
        writeln!(out, "{topic:9} {}\n{:10}{}", case.name, "", case.says)?;
    }
    Ok(true)
}

/// Runs the cases on every subject; true when none failed.
fn check(args: &Args, subjects: &[Subject]) -> io::Result<bool> {
    let cases = chosen(args);
    if cases.is_empty() {
        complain(&"no case has that in its name; see --list");
        return Ok(false);
    }
    let out = Printer::new(args.json);
    let mut passed = true;
    for subject in subjects {
        let (mut report, start) = (Report::new(subject), Instant::now());
        out.title(subject)?;
        // Of a server that does not even start one line is enough.
        if let Err(complaint) = conformance::probe(subject) {
            complain(&complaint);
            passed = false;
            continue;
        }
        for &(topic, case) in &cases {
            let start = Instant::now();
            let outcome = case.run(subject);
            out.case(case, &outcome)?;
            report.add(topic, case, &outcome, start.elapsed().as_secs_f64());
        }
        out.summary(&report, start.elapsed())?;
        passed &= report.failed == 0;
    }
    Ok(passed)
}

/// Soaks every subject; true when all came out as they went in.
fn soak(args: &Args, subjects: &[Subject], duration: Duration) -> io::Result<bool> {
    let mut passed = true;
    for subject in subjects {
        if !args.json {
            writeln!(io::stdout(), "soaking {} (seed {})", subject.name, subject.seed)?;
        }
        if let Err(complaint) = conformance::probe(subject) {
            complain(&complaint);
            passed = false;
            continue;
        }
        let bar = progress_bar(duration);
        let report = conformance::soak(subject, duration, |elapsed, deeds| {
            bar.set_position(elapsed.as_secs());
            bar.set_message(format!("{} connections", deeds.connections));
        });
        bar.finish_and_clear();
        passed &= report.passed();
        let mut out = io::stdout().lock();
        if args.json {
            writeln!(out, "{}", json::of_soak(subject, &report))?;
            continue;
        }
        write!(out, "{report}")?;
        match &report.failure {
            None => writeln!(out, "passed: nothing lost, changed or left over")?,
            Some(failure) => writeln!(out, "FAILED\n{failure}")?,
        }
    }
    Ok(passed)
}

/// On stderr, and only when that is a terminal.
fn progress_bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_secs());
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s, {msg}");
    style.map_or(ProgressBar::hidden(), |style| bar.with_style(style))
}

/// A line for each case, or JSON.
struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    /// Colours only where someone looks, and does not object (no-color.org).
    fn new(json: bool) -> Printer {
        let objects = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Printer { json, colour: io::stdout().is_terminal() && !objects }
    }

    fn title(&self, subject: &Subject) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout(), "checking {} (seed {})", subject.name, subject.seed)
    }

    fn case(&self, case: &Case, outcome: &Outcome) -> io::Result<()> {
        const GREEN: &str = "32";
        const RED: &str = "31";
        const DIM: &str = "2";
        if self.json {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match outcome {
            Outcome::Pass => writeln!(out, "{} {}", self.painted(GREEN, "pass"), case.name),
            Outcome::NotApplicable(why) => {
                writeln!(out, "{}  {}: {why}", self.painted(DIM, "n/a"), case.name)
            }
            Outcome::Fail(failure) => {
                writeln!(out, "{} {}", self.painted(RED, "FAIL"), case.name)?;
                let explained = case.explain(failure);
                explained.lines().try_for_each(|line| writeln!(out, "       {line}"))
            }
        }
    }

    fn summary(&self, report: &Report, took: Duration) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return writeln!(out, "{}", serde_json::to_string(report)?);
        }
        let Report { passed, failed, not_applicable, .. } = report;
        let took = took.as_secs_f64();
        writeln!(
            out,
            "{passed} passed, {failed} failed, {not_applicable} not applicable, {took:.1} s"
        )
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on stderr, if anybody reads that.
fn complain(complaint: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "error: {complaint}");
}

/// 0 when nothing failed. A reader that has left, as `head` does, is no failure of ours to report.
fn exit_code(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
