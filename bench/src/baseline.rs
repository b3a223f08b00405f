//! A run against an earlier one: has any server become worse, relative to the reference?
//!
//! Absolute rates of two runs are not compared: a machine is another one an hour later. Ratios to
//! the reference are, and so are system calls per message, which hardly depend on the machine at
//! all.

use crate::results::{Case, Origin, Results};
use crate::statistics::Estimate;

/// Growth of the system calls per message that counts as a regression: a count has little noise.
const SYSCALLS_MAX: f64 = 1.05;

/// One sentence for each regression of `now` against `then`, and how many cases could be compared.
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

/// The ratio to the reference became worse, beyond both intervals and the noise floors of both
/// runs.
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
            "{} relative to the reference was {:.3} and is {:.3}, {:.1} % worse (noise {:.1} %)",
            now.metric.label(),
            old.median,
            new.median,
            (change - 1.0).abs() * 100.0,
            (floor - 1.0) * 100.0
        )
    })
}

fn more_calls(now: &Case, then: &Case) -> Option<String> {
    let total = |case: &Case| case.cost.as_ref().and_then(|cost| cost.syscalls_total());
    let (new, old) = (total(now)?, total(then)?);
    (new > old * SYSCALLS_MAX).then(|| format!("{old:.2} system calls per message became {new:.2}"))
}

/// A server that asks again and again makes as many calls as it has time for.
fn spins(results: &Results, name: &str) -> bool {
    results.server(name).is_some_and(|server| server.spins)
}

fn is_control(results: &Results, name: &str) -> bool {
    results.server(name).is_some_and(|server| server.origin == Origin::Control)
}
