//! The comparison: measures every server in every scenario, in turns, with paired ratios and costs.
//!
//! | file | content |
//! | --- | --- |
//! | `args` | the command line |
//! | `effort` | how much time each part takes |
//! | `plan` | which servers take part at which points, and the planned time |
//! | `run` | the two ways of taking turns: slices, and randomised complete blocks |
//! | `turn` | a running server with its clients, and one turn of the server |
//! | `served` | how many clients a server serves at the same time |
//! | `measured`, `judge` | the measurements, and their evaluation |
//! | `environment` | the machine |

pub mod args;
mod effort;
mod environment;
mod judge;
mod measured;
mod plan;
mod run;
mod served;
#[cfg(test)]
mod tests;
mod turn;
use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use loadgen::{Control, Plan, probe};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use regex::Regex;
use server_process::catalogue::Concurrency;
use server_process::process::raise_descriptor_limit;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cost::Usage;
use crate::entrant::{self, Entrant};
use crate::layout::Home;
use crate::results::{Origin, Results, SCHEMA, Scenario, ServerInfo};
use crate::{Error, Result};

use args::Args;
use effort::Effort;
use plan::PlannedScenario;
use run::{Runner, progress_bar};

/// Returns the cases that would be compared, a line for each, in the format of criterion's list.
/// Builds no server.
///
/// # Errors
///
/// Fails with the errors of setrlimit(2).
pub fn list(args: &Args) -> Result<Vec<String>> {
    raise_descriptor_limit()?;
    Ok(plan::list(args))
}

/// Runs the comparison that `args` asks for. The first SIGINT or SIGTERM ends the comparison early;
/// then the results are not complete.
///
/// # Errors
///
/// Fails if nothing matches the filter or the reference's name. Fails if the servers do not build,
/// or if a server given on the command line does not echo.
pub fn run(args: &Args) -> Result<Results> {
    raise_descriptor_limit()?;
    check(args)?; // Before the build, which may take minutes.
    let entrants = entrants(args)?;
    let control = Arc::new(Control::default());
    for signal in [SIGINT, SIGTERM] {
        // The first signal ends the run and keeps the results so far. The second signal ends this
        // process, and the kernel then ends the servers.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(control.stop_flag()))?;
        flag::register(signal, Arc::clone(control.stop_flag()))?;
    }
    compare(args, &entrants, control)
}

/// Checks that the filter matches a case and that the reference is a known server.
fn check(args: &Args) -> Result<()> {
    let names = plan::names(args);
    let known = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if !names.iter().any(|(name, _)| *name == args.reference) {
        return Err(Error::UnknownReference { name: args.reference.clone(), known: known() });
    }
    if let Some(filter) = &args.filter
        && plan::list(args).is_empty()
    {
        let points = plan::points(args);
        return Err(Error::NothingMatches { filter: filter.to_string(), points });
    }
    Ok(())
}

/// Returns the servers that take part, the A/A control last.
fn entrants(args: &Args) -> Result<Vec<Entrant>> {
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
        // The reference is known, but cannot run on this machine.
        let names: Vec<&str> = entrants.iter().map(|entrant| entrant.name.as_str()).collect();
        let (name, known) = (args.reference.clone(), names.join(", "));
        return Err(Error::UnknownReference { name, known });
    };
    let name = format!("{} (again)", reference.name);
    let control = Entrant { name, origin: Origin::Control, ..reference.clone() };
    entrants.push(control);
    Ok(entrants)
}

/// Checks that a given server listens and echoes. Without this check, every scenario would wait for
/// a server that does not work.
fn look_at(given: &Entrant) -> Result<()> {
    let looked = given.start(Duration::ZERO, &[]).and_then(|server| {
        let seen = probe(&Plan::new(server.addr().clone()));
        server.stop(Duration::ZERO).map_err(io::Error::from).and(seen.map_err(io::Error::from))
    });
    looked.map_err(|source| Error::Given { name: given.name.clone(), source })
}

/// Runs all passes over the scenarios and returns the results.
fn compare(args: &Args, entrants: &[Entrant], control: Arc<Control>) -> Result<Results> {
    let (started, usage) = (Instant::now(), Usage::now());
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut environment = environment::before(&args.pin);
    let reference = entrants.iter().position(|entrant| entrant.name == args.reference);
    let reference = reference.ok_or_else(|| Error::UnknownReference {
        name: args.reference.clone(),
        known: entrants.iter().map(|entrant| entrant.name.as_str()).collect::<Vec<_>>().join(", "),
    })?;
    let positions = (reference, entrants.len() - 1);
    let mut runner = Runner {
        entrants,
        effort: Effort::of(args),
        seed,
        control,
        bar: progress_bar(0),
        rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        home: Home::of_this_thread()?,
    };
    let mut plan = plan::plan(args, &runner, positions);
    if plan.is_empty() {
        // The matching cases cannot run on this machine: no io_uring, or too few processors.
        let filter = args.filter.as_ref().map(Regex::to_string).unwrap_or_default();
        return Err(Error::NothingMatches { filter, points: plan::points(args) });
    }
    let planned_ms = plan.iter().map(PlannedScenario::planned_ms).sum();
    runner.bar = progress_bar(planned_ms);
    let (layout, seconds) = (&environment.layout, planned_ms / 1000);
    // A closed stdout, e.g. behind `head`, must not prevent the report.
    let _ = writeln!(io::stdout(), "seed {seed}, {layout}, about {seconds} s");
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
