//! `--find-max`: makes the runs of the search, and reports them on stderr.

use std::io::{self, Write};
use std::time::Duration;

use loadgen::report::duration;
use loadgen::{
    Broken, Objective, Plan, Result, Search, ServerSide, Session, Slice, Step, Until, find_max,
};

use crate::args::Load;
use crate::measure::{Measured, measure};

/// Longest closed loop before the search. It only finds where the search starts.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Searches the highest rate that keeps the promise. Returns the search and its last run.
pub(crate) fn run(
    load: &Load,
    objective: Objective,
    plan: &Plan,
    session: &mut Session,
    side: &ServerSide,
) -> Result<(Search, Measured)> {
    let slice = load.slice();
    tell(&format!("searching the highest rate with {objective} (response time)"));
    let until = match slice.until {
        Until::Elapsed(duration) => Until::Elapsed(duration.min(FIRST_LOOK)),
        count @ Until::Messages(_) => count,
    };
    let mut last = measure(session, &Slice { until, rate: None, ..slice }, plan, side)?;
    let capacity = last.sample.rate();
    let search = find_max(objective, capacity, |rate| {
        if last.sample.faults.total() > 0 {
            *session = Session::open(plan)?; // Failed connections are closed.
        }
        if plan.control.stopped() {
            return Ok(None);
        }
        session.clear();
        last = measure(session, &slice.at_rate(load.rate_of(rate)), plan, side)?;
        let step = Step::of(rate, &last.sample, session.latency(), &objective);
        tell(&line(&step, &objective));
        // A signal has cut this run short.
        Ok((!plan.control.stopped()).then_some(step))
    })?;
    Ok((search, last))
}

fn line(step: &Step, objective: &Objective) -> String {
    let why = |broken: &Broken| match broken {
        Broken::Promise => "too slow",
        Broken::Rate => "rate not achieved",
        Broken::Faults => "connections failed",
        Broken::Bytes => "wrong bytes",
    };
    let verdict = match step.kept() {
        true => "kept".to_owned(),
        false => step.broken.iter().map(why).collect::<Vec<_>>().join(", "),
    };
    let client = match step.generator_limited && !step.kept() {
        true => " (the generator was saturated, starved or late)",
        false => "",
    };
    format!(
        "  {:>10.0} /s asked, {:>10.0} achieved, p{} {:>10}  {verdict}{client}",
        step.rate,
        step.messages_per_second,
        objective.percentile,
        step.response_ns.map_or("-".to_owned(), duration),
    )
}

/// Writes a line to stderr. A closed stderr is no reason to stop.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
