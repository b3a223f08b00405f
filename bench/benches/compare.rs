//! Measures every server in every scenario, in turns: see `bench::compare`.
//!
//! ```text
//! cargo bench --bench compare                          # everything, at most 12 minutes
//! cargo bench --bench compare -- --quick               # wide intervals, at most 2 minutes
//! cargo bench --bench compare -- 'idle_herd.*select'   # matching cases, and the reference
//! cargo bench --bench compare -- --server "mine=python3 echo.py {addr}"
//! ```

use std::env;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

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
            "compare does nothing: {flag} is a flag of criterion (cargo bench --bench criterion)"
        );
        return ExitCode::SUCCESS;
    }
    // Cargo runs a benchmark in the folder of its package. A relative path on the command line is
    // relative to the folder where cargo was called.
    if let Some(shells) = env::var_os("PWD") {
        let _ = env::set_current_dir(shells);
    }
    match run(&Args::parse()) {
        Ok(end) => ExitCode::from(end as u8),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// The end of a run; the number is the exit status.
#[derive(Clone, Copy)]
enum End {
    Well = 0,
    /// A server is worse than in `--baseline`, or failed under `--test`.
    Worse = 1,
    /// A signal ended the run early. The status is that of a shell after SIGINT.
    Interrupted = 130,
}

/// Runs the comparison, the test or the list that `args` asks for. Returns the end of the run.
fn run(args: &Args) -> bench::Result<End> {
    if args.list {
        compare::list(args)?.iter().for_each(say);
        return Ok(End::Well);
    }
    // An unreadable baseline or output directory must be found before the run.
    let then = args.baseline.as_deref().map(Results::read).transpose()?;
    if args.test {
        let good = say_failures(&compare::run(args)?);
        return Ok(if good { End::Well } else { End::Worse });
    }
    let dir = args.output.clone().unwrap_or_else(default_output);
    check_directory(&dir)?;
    let results = compare::run(args)?;
    results.scenarios.iter().for_each(terminal::print);
    if let Some(kept) = keep_earlier(&dir)? {
        say(format_args!("\nthe earlier report has moved to {}", kept.display()));
    }
    results.write(&dir)?;
    report::write(&results, &dir)?;
    let page = dir.join("report.html");
    let page = page.display();
    say(format_args!("\nreport: {page}; same folder: report.json, report.csv, charts as SVG"));
    if !results.complete {
        let _ = writeln!(io::stderr(), "interrupted: the report has only the measurements so far");
        return Ok(End::Interrupted);
    }
    let good = then.is_none_or(|then| say_regressions(&results, &then));
    Ok(if good { End::Well } else { End::Worse })
}

/// Moves the files of an earlier report into a folder. The folder's name is the time of the report.
/// Returns the folder, or `None` without an earlier report.
fn keep_earlier(dir: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(earlier) = fs::metadata(dir.join("report.json")).and_then(|file| file.modified()) else {
        return Ok(None);
    };
    let time = humantime::format_rfc3339_seconds(earlier.min(SystemTime::now()));
    let kept = dir.join(time.to_string().replace(':', "-"));
    fs::create_dir_all(&kept)?;
    for entry in fs::read_dir(dir)? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            fs::rename(&file, kept.join(name))?;
        }
    }
    Ok(Some(kept))
}

/// Writes a line to stdout and ignores an error: a closed stdout, e.g. behind `head`, must not
/// prevent the report.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints the failed cases of a `--test` run. Returns whether no case failed.
fn say_failures(results: &Results) -> bool {
    let failures = results.failures();
    for failure in &failures {
        let _ = writeln!(io::stderr(), "! {failure}");
    }
    let (ran, failed) = (results.scenarios.len(), failures.len());
    say(format_args!("compare: {ran} scenarios ran, {failed} failures"));
    failures.is_empty()
}

/// Prints the cases that are worse than in `then`. Returns whether no case is worse. Returns false
/// if the two runs have no case in common.
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

/// Returns `target/compare`, where `target` is cargo's target directory, also if it is configured.
fn default_output() -> PathBuf {
    // The benchmark's executable is in target/PROFILE/deps.
    let executable = env::current_exe().unwrap_or_default();
    let target = executable.ancestors().nth(3).map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from("target")).join("compare")
}
