//! `loadgen`: puts a load on an echo server and reports the result.
//!
//! ```text
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -R 20000 --csv load.csv
//! cargo run --release -p loadgen -- --udp 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- merge first.hlog second.hlog
//! ```

mod args;
mod measure;
mod merge;
mod output;
mod progress;
mod search;
mod signals;
mod start;
mod units;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Parser;
use loadgen::report::{Report, Run, csv, hgrm, log};
use loadgen::{Error, Interval, Result, Session, probe};
use server_process::files::{check_file, write_whole};

use args::{Cli, Command, Load};
use measure::{Measured, measure};
use progress::Progress;
use signals::Signals;

/// The word before a message; clap has the same style.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Added to a signal's number, the exit status of a run that the signal ended. Shells use the same.
const SIGNALLED: u8 = 128;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Merge(merge)) => merge::run(merge),
        None => run(&cli.load),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {error}");
        ExitCode::from(error.exit_status())
    })
}

/// Runs the load and reports it. Returns the exit status.
fn run(load: &Load) -> Result<ExitCode> {
    let (plan, slice) = (load.plan()?, load.slice());
    plan.check()?;
    slice.check()?;
    load.files().try_for_each(check_file).map_err(Error::Write)?;
    load.start_at.map_or(Ok(()), start::check)?;
    let signals = Signals::install(plan.control.stop_flag())?;
    probe(&plan)?;
    let side = load.server_side(&plan.address)?;
    let mut session = Session::open(&plan)?;
    load.start_at.map_or(Ok(()), start::wait)?;
    // Before this line there is nothing to report, and a signal ends the process.
    signals.hold();
    let (search, mut measured) = match load.find_max {
        Some(objective) => {
            let (search, last) = search::run(load, objective, &plan, &mut session, &side)?;
            (Some(search), last)
        }
        None => {
            let _progress = Progress::start(&slice, &plan.control);
            (None, measure(&mut session, &slice, &plan, &side)?)
        }
    };
    let caught = signals.caught();
    measured.sample.faults += session.close()?;
    let run = Run {
        plan: &plan,
        slice: &measured.slice,
        sample: &measured.sample,
        first_fault: session.first_fault(),
        latency: session.latency(),
        started: measured.started,
        side: &side,
        machine: &measured.machine,
        search,
        interrupted: caught.is_some(),
    };
    let report = Report::new(run, &load.percentiles());
    let shown = match load.json {
        true => output::json(&report),
        false => output::text(&report.text(output::width())),
    };
    // The files are written even if stdout is closed, or on a full disk.
    write_files(load, &report, &mut session, &measured)?;
    Ok(match caught {
        _ if !shown? || !report.is_valid() => ExitCode::FAILURE,
        Some(signal) => ExitCode::from(SIGNALLED + signal),
        None => ExitCode::SUCCESS,
    })
}

/// Writes the requested files.
fn write_files(
    load: &Load,
    report: &Report,
    session: &mut Session,
    measured: &Measured,
) -> Result<()> {
    if let Some(path) = &load.csv {
        let bytes = csv(session.intervals(), report.load.message_bytes, &load.percentiles())?;
        write_whole(path, &bytes).map_err(Error::Write)?;
    }
    if let Some(path) = &load.hgrm {
        let text = hgrm(&session.latency().response);
        write_whole(path, text.as_bytes()).map_err(Error::Write)?;
    }
    if let Some(path) = &load.log {
        let bytes = if load.has_intervals() {
            log(report, session.intervals(), measured.started)?
        } else {
            let latency = session.latency().clone();
            let messages = latency.response.len();
            let length = measured.sample.elapsed;
            let whole = Interval { start: Duration::ZERO, length, messages, latency };
            log(report, std::iter::once(Ok(whole)), measured.started)?
        };
        write_whole(path, &bytes).map_err(Error::Write)?;
    }
    Ok(())
}
