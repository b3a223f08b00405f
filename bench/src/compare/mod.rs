//! The comparison: every server through every scenario, in turns, with paired ratios and costs.
//!
//! | file | what it is |
//! | --- | --- |
//! | `args` | the command line |
//! | `scenario` | the scenarios, each with the question it answers |
//! | `plan` | which servers take part where, and how long it will take |
//! | `run` | the two ways of taking turns: slices, and randomised complete blocks |
//! | `turn` | a running server with its clients, and one turn of it |
//! | `served` | how many clients a server serves at the same time |
//! | `measured`, `judge` | what was measured, and what may be said of it |
//! | [`result`] | the data model of the report |
//! | `table`, `output` | the terminal; JSON and CSV |
//! | `baseline` | against an earlier run |
//! | `environment` | the machine |

pub mod args;
mod baseline;
mod environment;
mod judge;
mod measured;
mod output;
mod plan;
pub mod result;
mod run;
mod scenario;
mod served;
mod table;
#[cfg(test)]
mod tests;
mod turn;

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cost::Usage;
use crate::entrant::{self, Entrant};
use crate::report;
use loadgen::{Control, Plan, probe};
use server_process::catalogue::Concurrency;
use server_process::files::{check_directory, make_directory};

use args::{Args, Effort};
use plan::PlannedScenario;
use result::{Origin, Outcome, Results, SCHEMA, Scenario, ServerInfo};
use run::{Runner, progress_bar};

/// Runs the comparison that `args` asks for, prints its tables and writes its reports.
///
/// Returns whether all is well: false when a server regressed against `--baseline`.
///
/// # Errors
///
/// When the servers do not build, one given on the command line is no echo server, no server or
/// scenario matches, or a report cannot be written or read.
pub fn run(args: &Args) -> io::Result<bool> {
    entrant::raise_descriptor_limit()?;
    if args.list {
        plan::list(args);
        return Ok(true);
    }
    let baseline = args.baseline.as_deref().map(output::read).transpose()?;
    let dir = args.output.clone().unwrap_or_else(default_output);
    if !args.test {
        check_directory(&dir)?;
    }
    let entrants = entrants(args)?;
    if !args.test {
        make_directory(&dir)?;
    }
    let control = Arc::new(Control::default());
    for signal in [SIGINT, SIGTERM] {
        // The first one ends the run with what it has; the second one ends us, and the kernel the
        // servers.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(control.stop_flag()))?;
        flag::register(signal, Arc::clone(control.stop_flag()))?;
    }
    let results = compare(args, &entrants, control)?;
    if args.test {
        let failures = failures(&results);
        failures.iter().for_each(|failure| drop(writeln!(io::stderr(), "! {failure}")));
        let (ran, failed) = (results.scenarios.len(), failures.len());
        say(format_args!("compare: {ran} scenarios ran, {failed} failures"));
        return Ok(failures.is_empty());
    }
    output::write(&results, &dir)?;
    report::write(&results, &dir)?;
    let page = dir.join("report.html");
    let page = page.display();
    say(format_args!("\nlook at {page}; beside it: report.json, report.csv, charts as SVG"));
    if !results.complete {
        let _ = writeln!(io::stderr(), "interrupted: the report has what was finished until then");
    }
    Ok(baseline.is_none_or(|then| report_regressions(&results, &then)))
}

/// The servers that take part, the A/A control last.
fn entrants(args: &Args) -> io::Result<Vec<Entrant>> {
    let mut entrants = entrant::of_workspace(args.all)?;
    if args.yardsticks {
        entrants.extend(entrant::yardsticks()?);
    }
    for given in &args.server {
        look_at(given)?;
        entrants.push(given.clone());
    }
    let reference = entrants.iter().find(|entrant| entrant.name == args.reference);
    let Some(reference) = reference else {
        let names: Vec<&str> = entrants.iter().map(|entrant| entrant.name.as_str()).collect();
        let known = names.join(", ");
        let text = format!("no server {} to refer to; there are {known}", args.reference);
        return Err(io::Error::other(text));
    };
    let name = format!("{} (again)", reference.name);
    let control = Entrant { name, origin: Origin::Control, ..reference.clone() };
    entrants.push(control);
    Ok(entrants)
}

/// Whether a server of which nothing is known listens and echoes: else every scenario would wait for it
/// in vain, again and again.
fn look_at(given: &Entrant) -> io::Result<()> {
    let looked = given.start(Duration::ZERO, &[]).and_then(|server| {
        let seen = probe(&Plan::new(server.addr()));
        server.stop(Duration::ZERO).and(seen.map_err(io::Error::from))
    });
    looked.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", given.name)))
}

/// A line on stdout. That nobody reads it any more, as behind `head`, is no reason to lose the report.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn compare(args: &Args, entrants: &[Entrant], control: Arc<Control>) -> io::Result<Results> {
    let (started, usage) = (Instant::now(), Usage::now());
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut environment = environment::before(&args.pin);
    let reference = entrants.iter().position(|entrant| entrant.name == args.reference);
    let positions = (reference.unwrap_or_default(), entrants.len() - 1);
    let mut runner = Runner {
        entrants,
        effort: Effort::of(args),
        seed,
        control,
        bar: progress_bar(0),
        rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        home: sched_getaffinity(Pid::from_raw(0))?,
    };
    let mut plan = plan::plan(args, &runner, positions);
    if plan.is_empty() {
        return Err(io::Error::other("nothing matches the filter; --list prints what there is"));
    }
    let planned_ms = plan.iter().map(PlannedScenario::planned_ms).sum();
    runner.bar = progress_bar(planned_ms);
    let (layout, seconds) = (&environment.layout, planned_ms / 1000);
    say(format_args!("seed {seed}, {layout}, about {seconds} s"));
    'passes: for pass in 0..runner.effort.passes {
        for scenario in &mut plan {
            scenario.pass(pass, &mut runner);
            if runner.interrupted() {
                break 'passes;
            }
        }
    }
    runner.bar.finish_and_clear();
    let scenarios: Vec<Scenario> =
        plan.iter().filter_map(|scenario| scenario.summary(&runner, positions)).collect();
    if !args.test {
        for scenario in &scenarios {
            say(format_args!("{}", table::scenario(scenario)));
        }
    }
    environment::after(&mut environment, &Usage::now().since(&usage));
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let elapsed_s = started.elapsed().as_secs_f64();
    Ok(Results {
        schema: SCHEMA,
        started_unix_s: since_1970.unwrap_or_default().as_secs().saturating_sub(elapsed_s as u64),
        elapsed_s,
        complete: !runner.interrupted(),
        quick: args.quick || args.test,
        command: env::args().collect(),
        seed,
        environment,
        servers: entrants.iter().map(|entrant| info(entrant, args)).collect(),
        scenarios,
    })
}

fn info(entrant: &Entrant, args: &Args) -> ServerInfo {
    ServerInfo {
        name: entrant.name.clone(),
        origin: entrant.origin,
        command: entrant.command.clone(),
        reference: entrant.name == args.reference,
        spins: entrant.traits.spins,
        scans: entrant.traits.scans,
        concurrency: match entrant.traits.concurrency {
            Concurrency::Unbounded => None,
            Concurrency::AtMost(most) => Some(most),
        },
    }
}

/// One line for each case that was tried and failed.
fn failures(results: &Results) -> Vec<String> {
    let mut failures = Vec::new();
    for scenario in &results.scenarios {
        for point in &scenario.points {
            for case in &point.cases {
                if let Outcome::Failed(reason) = &case.outcome {
                    let place = (&scenario.name, &case.server, &point.label);
                    failures.push(format!("{}/{}/{}: {reason}", place.0, place.1, place.2));
                }
            }
        }
    }
    failures
}

/// Prints what became worse since `then`; true when nothing did.
fn report_regressions(now: &Results, then: &Results) -> bool {
    let (regressions, compared) = baseline::regressions(now, then);
    let worse = regressions.len();
    say(format_args!("\nagainst the baseline: {compared} cases compared, {worse} worse"));
    if compared == 0 {
        say(format_args!("! the two runs have no measured case in common: choose another filter"));
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
