//! `loadgen`: loads an echo server and says what it did.
//!
//! ```text
//! cargo run --release -p bench --bin loadgen -- 127.0.0.1:7000 -c 64 -d 5s
//! ```

mod args;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use bench::load::report::Report;
use bench::load::{Session, limits, probe};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use args::{Cli, Load};
use progress::Progress;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.load) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load and reports: whether all went well.
fn run(load: &Load) -> io::Result<bool> {
    let (plan, slice) = (load.plan(), load.slice());
    // The first signal ends the run early, and it is reported; the second ends the process.
    for signal in [SIGINT, SIGTERM] {
        let stop = plan.control.stop_flag();
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    plan.check()?;
    limits::prepare(&plan)?;
    probe(&plan)?;
    let mut session = Session::open(&plan)?;
    let progress = Progress::start(&slice, &plan.control);
    let mut sample = session.run(&slice)?;
    drop(progress);
    sample.faults += session.close()?;
    let first_fault = session.first_fault();
    let latency = session.latency();
    let report = Report::new(&plan, &slice, &sample, latency, first_fault, &load.percentiles);
    let text = if load.json {
        serde_json::to_string_pretty(&report).map_err(io::Error::other)? + "\n"
    } else {
        report.to_string()
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(report.is_valid())
}
