//! Every server through every scenario, in turns: see `bench::compare`.
//!
//! ```text
//! cargo bench --bench compare                          # everything, at most 12 minutes
//! cargo bench --bench compare -- --quick               # wide intervals, at most 2 minutes
//! cargo bench --bench compare -- 'idle_herd.*select'   # what matches, and the reference
//! cargo bench --bench compare -- --server "mine=python3 echo.py {addr}"
//! ```

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bench::baseline;
use bench::bench_args;
use bench::compare::{self, args::Args};
use bench::report::{self, terminal};
use bench::results::Results;
use clap::Parser;
use server_process::files::check_directory;

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
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what `args` asks for. Returns whether all is well: false when a server regressed against
/// `--baseline`, or failed under `--test`.
fn run(args: &Args) -> io::Result<bool> {
    if args.list {
        compare::list(args)?.iter().for_each(say);
        return Ok(true);
    }
    // What would make the run useless is found out before it.
    let then = args.baseline.as_deref().map(Results::read).transpose()?;
    if args.test {
        return Ok(say_failures(&compare::run(args)?));
    }
    let dir = args.output.clone().unwrap_or_else(default_output);
    check_directory(&dir)?;
    let results = compare::run(args)?;
    for scenario in &results.scenarios {
        say(terminal::scenario(scenario));
    }
    results.write(&dir)?;
    report::write(&results, &dir)?;
    let page = dir.join("report.html");
    let page = page.display();
    say(format_args!("\nlook at {page}; beside it: report.json, report.csv, charts as SVG"));
    if !results.complete {
        let _ = writeln!(io::stderr(), "interrupted: the report has what was finished until then");
    }
    Ok(then.is_none_or(|then| say_regressions(&results, &then)))
}

/// A line on stdout. That nobody reads it any more, as behind `head`, is no reason to lose the report.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Says which cases of a `--test` run failed; true when none did.
fn say_failures(results: &Results) -> bool {
    let failures = results.failures();
    for failure in &failures {
        let _ = writeln!(io::stderr(), "! {failure}");
    }
    let (ran, failed) = (results.scenarios.len(), failures.len());
    say(format_args!("compare: {ran} scenarios ran, {failed} failures"));
    failures.is_empty()
}

/// Says what became worse since `then`; true when nothing did.
fn say_regressions(now: &Results, then: &Results) -> bool {
    let (regressions, compared) = baseline::regressions(now, then);
    let worse = regressions.len();
    say(format_args!("\nagainst the baseline: {compared} cases compared, {worse} worse"));
    if compared == 0 {
        say("! the two runs have no measured case in common: choose another filter");
        return false;
    }
    for regression in &regressions {
        say(format_args!("! {regression}"));
    }
    regressions.is_empty()
}

/// `target/compare` of this workspace, wherever cargo was told to put `target`.
fn default_output() -> PathBuf {
    // The benchmark's executable is in target/PROFILE/deps.
    let executable = env::current_exe().unwrap_or_default();
    let target = executable.ancestors().nth(3).map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from("target")).join("compare")
}
