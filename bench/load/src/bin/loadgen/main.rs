//! `loadgen`: puts a load on an echo server and reports the result.
//!
//! ```text
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -R 20000 --csv load.csv
//! cargo run --release -p loadgen -- --udp 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- merge first.hlog second.hlog
//! ```

mod args;
mod merge;
mod output;
mod progress;
mod search;
mod signals;
mod start;
mod units;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use clap::Parser;
use loadgen::report::{Report, Run, csv, hgrm, log};
use loadgen::{Error, Interval, MachineMeter, Result, Session, probe};
use server_process::files::{check_file, write_whole};

use args::{Cli, Command, Load};
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
    let (plan, mut slice) = (load.plan()?, load.slice());
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
    if load.find_max.is_some() {
        match search::run(load, &mut session, &slice)? {
            Some(rate) => slice = slice.at_rate(rate),
            None => return Ok(ExitCode::FAILURE),
        }
    }
    let progress = Progress::start(&slice, &plan.control);
    let began = SystemTime::now() + slice.warmup;
    let meter = MachineMeter::start(&side, &plan.control);
    let mut sample = session.run(&slice)?;
    let machine = meter.stop();
    drop(progress);
    let caught = signals.caught();
    sample.faults += session.close()?;
    let first_fault = session.first_fault();
    let run = Run {
        plan: &plan,
        slice: &slice,
        sample: &sample,
        latency: session.latency(),
        first_fault,
        started: began,
        side: &side,
        machine: &machine,
        interrupted: caught.is_some(),
    };
    let report = Report::new(&run, &load.percentiles.list);
    let shown =
        if load.json { output::json(&report) } else { output::text(&report.text(output::width())) };
    // The files are written even if stdout is closed, or on a full disk.
    write_files(load, &report, &mut session, sample.elapsed, began)?;
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
    elapsed: Duration,
    began: SystemTime,
) -> Result<()> {
    if let Some(path) = &load.csv {
        let bytes = csv(session.intervals(), report.load.message_bytes, &load.percentiles.list)?;
        write_whole(path, &bytes).map_err(Error::Write)?;
    }
    if let Some(path) = &load.hgrm {
        let text = hgrm(&session.latency().response);
        write_whole(path, text.as_bytes()).map_err(Error::Write)?;
    }
    if let Some(path) = &load.log {
        let bytes = if load.has_intervals() {
            log(report, session.intervals(), began)?
        } else {
            let latency = session.latency().clone();
            let messages = latency.response.len();
            let whole = Interval { start: Duration::ZERO, length: elapsed, messages, latency };
            log(report, std::iter::once(Ok(whole)), began)?
        };
        write_whole(path, &bytes).map_err(Error::Write)?;
    }
    Ok(())
}
