//! `loadgen`: loads an echo server and says what it did.
//!
//! ```text
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- 127.0.0.1:7000 -c 64 -R 20000 --interval 1s
//! cargo run --release -p loadgen -- --udp 127.0.0.1:7000 -c 64 -d 5s
//! cargo run --release -p loadgen -- merge first.hlog second.hlog
//! ```

mod args;
mod merge;
mod progress;
mod search;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use loadgen::report::{Report, csv, hgrm, log};
use loadgen::{Interval, Plan, Session, limits, probe};
use server_process::files::{check_file, write_whole};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use args::{Cli, Command, Load};
use progress::Progress;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Merge(merge)) => merge::run(merge),
        None => run(&cli.load),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            // A plan that makes no sense is a command line that makes none.
            ExitCode::from(if error.kind() == io::ErrorKind::InvalidInput { 2 } else { 1 })
        }
    }
}

/// Runs the load and reports: whether all went well.
fn run(load: &Load) -> io::Result<bool> {
    let (plan, mut slice) = (load.plan()?, load.slice());
    plan.check()?;
    slice.check()?;
    load.files().try_for_each(check_file)?;
    limits::prepare(&plan)?;
    probe(&plan)?;
    let mut session = Session::open(&plan)?;
    // Until here a signal ends the process: there is nothing to report, however long connecting takes.
    // From here on the first one ends the run early, and it is reported; the second ends the process.
    for signal in [SIGINT, SIGTERM] {
        let stop = plan.control.stop_flag();
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    if load.find_max.is_some() {
        match search::run(load, &mut session, &slice)? {
            Some(rate) => slice = slice.at_rate(rate),
            None => return Ok(false),
        }
    }
    let progress = Progress::start(&slice, &plan.control);
    let began = SystemTime::now() + slice.warmup;
    let mut sample = session.run(&slice)?;
    drop(progress);
    sample.faults += session.close()?;
    let first_fault = session.first_fault();
    let percentiles = &load.percentiles.list;
    let report = Report::new(&plan, &slice, &sample, session.latency(), first_fault, percentiles);
    let text = if load.json { to_json(&report)? } else { report.to_string() };
    // A reader that has left does not cost the files, and a full disk does not cost the report.
    let shown = show(&text);
    write_files(load, &plan, &mut session, sample.elapsed, began)?;
    Ok(shown? && report.is_valid())
}

/// Writes the files that were asked for.
fn write_files(
    load: &Load,
    plan: &Plan,
    session: &mut Session,
    elapsed: Duration,
    began: SystemTime,
) -> io::Result<()> {
    if let Some(path) = &load.csv {
        let text = csv(session.intervals(), plan.size, &load.percentiles.list)?;
        write_whole(path, text.as_bytes())?;
    }
    if let Some(path) = &load.hgrm {
        write_whole(path, hgrm(&session.latency().response).as_bytes())?;
    }
    if let Some(path) = &load.log {
        let bytes = if plan.interval.is_some() {
            log(session.intervals(), began)?
        } else {
            let latency = session.latency().clone();
            let messages = latency.response.len();
            let whole = Interval { start: Duration::ZERO, length: elapsed, messages, latency };
            log(std::iter::once(Ok(whole)), began)?
        };
        write_whole(path, &bytes)?;
    }
    Ok(())
}

/// Prints a report. False when its reader has left, as `head` does: that is nothing to complain about.
fn show(text: &str) -> io::Result<bool> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

fn to_json(value: &impl serde::Serialize) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value).map_err(io::Error::other)? + "\n")
}
