//! `check`: does this echo server keep the contract?
//!
//! ```console
//! $ check -- python3 server.py {port}       # any command, in any language
//! $ check --addr 127.0.0.1:7000             # a server that runs already
//! $ check --server epoll-selector           # a server of this workspace
//! $ check --soak 5m --server epoll-selector # random clients for five minutes
//! ```
//!
//! Exit status: 0 when no case failed, 1 when a case failed or the server cannot be reached, 2 for bad
//! arguments.

mod args;
mod json;
mod print;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use conformance::{Case, Error, Subject, cases};
use indicatif::{ProgressBar, ProgressStyle};
use server_process::address::Transport;
use server_process::process::raise_descriptor_limit;

use args::{Args, subjects};
use print::print;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A reader that has left, as `head` does, wants no more lines.
            if !matches!(error, Error::ReaderLeft) {
                complain(&error);
            }
            ExitCode::from(error.exit_status())
        }
    }
}

/// Does what the command line asks for. Returns whether no server failed.
fn start(args: &Args) -> Result<bool, Error> {
    if args.list {
        let transport = if args.udp { Transport::Udp } else { Transport::Tcp };
        for (topic, case) in chosen(args, transport)? {
            print(format_args!("{topic:9} {}\n{:10}{}\n", case.name, "", case.says))?;
        }
        return Ok(true);
    }
    // When this fails, cases that need many descriptors are not applicable, and say so.
    let _ = raise_descriptor_limit();
    let mut passed = true;
    for subject in subjects(args)? {
        let verdict = match args.soak {
            Some(duration) => soak(args, &subject, duration.into()),
            None => check(args, &subject),
        };
        passed &= match verdict {
            // The next server may be reachable.
            Err(error @ Error::Unreachable { .. }) => {
                complain(&error);
                false
            }
            verdict => verdict?,
        };
    }
    Ok(passed)
}

/// The cases that the filters select.
fn chosen(args: &Args, transport: Transport) -> Result<Vec<(&'static str, &'static Case)>, Error> {
    let matches = |topic: &str, case: &Case| {
        args.filter.is_empty()
            || args.filter.iter().any(|text| case.name.contains(text) || topic.contains(text))
    };
    let chosen: Vec<_> = cases(transport).filter(|(topic, case)| matches(topic, case)).collect();
    if chosen.is_empty() {
        return Err(Error::NoCase { filters: args.filter.clone() });
    }
    Ok(chosen)
}

/// Runs the chosen cases on a server. Returns whether no case failed.
fn check(args: &Args, subject: &Subject) -> Result<bool, Error> {
    let cases = chosen(args, subject.transport)?;
    if !args.json {
        print::title("checking", subject)?;
    }
    conformance::probe(subject)?;
    let run = run::run(subject, &cases, |entry| match args.json {
        true => Ok(()),
        false => print::entry(entry),
    })?;
    if args.json {
        print(format_args!("{}\n", json::of_run(&run)))?;
    } else {
        print::summary(&run)?;
    }
    Ok(run.failures().next().is_none())
}

/// Soaks a server. Returns whether it passed.
fn soak(args: &Args, subject: &Subject, duration: Duration) -> Result<bool, Error> {
    if !args.json {
        print::title("soaking", subject)?;
    }
    conformance::probe(subject)?;
    let bar = progress_bar(duration);
    let report = conformance::soak(subject, duration, |elapsed, totals| {
        bar.set_position(elapsed.as_secs());
        bar.set_message(format!("{} connections", totals.connections));
    });
    bar.finish_and_clear();
    if args.json {
        print(format_args!("{}\n", json::of_soak(subject, &report)))?;
    } else {
        print(&report)?;
        print::soak_verdict(report.failure.as_ref())?;
    }
    Ok(report.failure.is_none())
}

/// A progress bar on stderr. It is invisible when stderr is not a terminal.
fn progress_bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_secs());
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s, {msg}");
    style.map_or(ProgressBar::hidden(), |style| bar.with_style(style))
}

/// Prints a line to stderr. There is nowhere to report an error of stderr.
fn complain(error: &Error) {
    let _ = writeln!(io::stderr(), "error: {error}");
}
