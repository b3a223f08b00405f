//! Every server through every scenario, in turns: see `bench::compare`.
//!
//! ```text
//! cargo bench --bench compare                          # everything, at most 12 minutes
//! cargo bench --bench compare -- --quick               # wide intervals, at most 2 minutes
//! cargo bench --bench compare -- 'idle_herd.*select'   # what matches, and the reference
//! cargo bench --bench compare -- --server "mine=python3 echo.py {addr}"
//! ```

use std::env;
use std::process::ExitCode;

use bench::bench_args;
use bench::compare::{self, args::Args};
use clap::Parser;

fn main() -> ExitCode {
    let flags: Vec<String> = env::args().skip(1).collect();
    if let Some(flag) = bench_args::criterion_only(&flags) {
        eprintln!(
            "compare steps aside: {flag} is a flag of criterion (cargo bench --bench criterion)"
        );
        return ExitCode::SUCCESS;
    }
    // Cargo runs benchmarks in their package's folder; a relative path on the command line means
    // the folder that cargo was called in.
    if let Some(shells) = env::var_os("PWD") {
        let _ = env::set_current_dir(shells);
    }
    match compare::run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
