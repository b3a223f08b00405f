//! The comparison of a run with an earlier run: has a server become worse, relative to the
//! reference?
//!
//! The comparison does not use absolute rates, because the speed of a machine changes from hour to
//! hour. The comparison uses ratios to the reference, and system calls per message. System calls
//! per message hardly depend on the machine.

use crate::results::{Case, Origin, Results};
use crate::statistics::Estimate;

/// Above this growth factor, system calls per message count as a regression. A count has little
/// noise, so the factor is small.
const SYSCALLS_MAX: f64 = 1.05;

/// Returns one sentence for each regression of `now` against `then`, and the number of compared
/// cases.
pub fn regressions(now: &Results, then: &Results) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut compared = 0;
    for scenario in &now.scenarios {
        let Some(before) = then.scenarios.iter().find(|before| before.name == scenario.name) else {
            continue;
        };
        for point in &scenario.points {
            let Some(earlier) = before.points.iter().find(|earlier| earlier.x == point.x) else {
                continue;
            };
            let floor = |floor: &Option<Estimate>| floor.as_ref().map(|floor| floor.strays());
            let floors = floor(&point.noise_floor).zip(floor(&earlier.noise_floor));
            let floor = floors.map(|(now, then)| now * then);
            for case in point.cases.iter().filter(|case| !is_control(now, &case.server)) {
                let Some(old) = earlier.case(&case.server) else {
                    continue;
                };
                let both = !case.comparisons.is_empty() && !old.comparisons.is_empty();
                compared += usize::from(both);
                let place = format!("{}/{}/{}", scenario.name, case.server, point.label);
                let same_reference = scenario.reference == before.reference;
                if let Some(floor) = floor.filter(|_| same_reference) {
                    found.extend(slower(case, old, floor).map(|text| format!("{place}: {text}")));
                }
                if !spins(now, &case.server) {
                    found.extend(more_calls(case, old).map(|text| format!("{place}: {text}")));
                }
            }
        }
    }
    (found, compared)
}

/// Returns a sentence if the ratio to the reference became worse. The intervals of both runs must
/// not overlap, and the change must exceed the combined noise floors of both runs.
fn slower(now: &Case, then: &Case, floor: f64) -> Option<String> {
    let (now, then) = (now.comparisons.first()?, then.comparisons.first()?);
    if now.metric != then.metric || now.unranked.is_some() || then.unranked.is_some() {
        return None;
    }
    let (new, old) = (now.ratio, then.ratio);
    let change = new.median / old.median;
    let (worse, apart) = if now.metric.more_is_better() {
        (1.0 / change, new.high < old.low)
    } else {
        (change, new.low > old.high)
    };
    (worse > floor && apart).then(|| {
        format!(
            "{} relative to the reference: {:.3}, now {:.3}, {:.1} % worse (noise {:.1} %)",
            now.metric.label(),
            old.median,
            new.median,
            (change - 1.0).abs() * 100.0,
            (floor - 1.0) * 100.0
        )
    })
}

/// Returns a sentence if system calls per message grew by more than [`SYSCALLS_MAX`].
fn more_calls(now: &Case, then: &Case) -> Option<String> {
    let total = |case: &Case| case.cost.as_ref().and_then(|cost| cost.syscalls_total());
    let (new, old) = (total(now)?, total(then)?);
    (new > old * SYSCALLS_MAX).then(|| format!("system calls per message: {old:.2}, now {new:.2}"))
}

/// Returns whether the server polls without waiting. The number of its system calls depends on the
/// available CPU time.
fn spins(results: &Results, name: &str) -> bool {
    results.server(name).is_some_and(|server| server.spins)
}

fn is_control(results: &Results, name: &str) -> bool {
    results.server(name).is_some_and(|server| server.origin == Origin::Control)
}
