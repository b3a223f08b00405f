//! `--find-max`: runs the search and reports its steps on stderr.

use std::io::{self, Write};

use loadgen::report::duration;
use loadgen::{Rate, Result, Session, Slice, Step, find_max};

use crate::args::Load;

/// Searches the highest rate that keeps the promise. Returns `None` if no rate does.
pub(crate) fn run(load: &Load, session: &mut Session, slice: &Slice) -> Result<Option<Rate>> {
    let Some(objective) = &load.find_max else { return Ok(None) };
    let mut stderr = io::stderr(); // A closed stderr is no reason to stop.
    let _ = writeln!(stderr, "searching the highest rate with {objective} (response time)");
    let watch = |step: &Step| {
        let verdict = match (step.kept, step.sample.cpu.starved()) {
            (true, _) => "kept",
            (false, false) => "not kept",
            (false, true) => "not kept, but the generator had no core at times",
        };
        let _ = writeln!(
            io::stderr(),
            "  {:>10.0} messages/s asked, {:>10.0} achieved, p{} {:>10}  {verdict}",
            step.rate,
            step.sample.rate(),
            objective.percentile,
            duration(step.response.as_nanos() as u64)
        );
    };
    let best = find_max(session, slice, &load.spread(1.0), objective, watch)?;
    session.clear();
    match best {
        Some(step) => {
            let _ = writeln!(stderr, "once more at the highest rate that kept it:");
            Ok(Some(load.spread(step.rate)))
        }
        None => {
            let _ = writeln!(stderr, "error: no rate kept it: give a longer time");
            Ok(None)
        }
    }
}
