//! The highest rate at which a server keeps a promise such as `p99<1ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::{Rate, Result, Sample, Session, Slice, Until};

/// Steps after the first; each halves the range (by ratio) that is left.
const STEPS: usize = 10;
/// How often a step is made whose generator was starved.
const TRIES: usize = 3;
/// The search ends when the rate is known to this ratio.
const PRECISION: f64 = 1.02;
/// Where the search begins, as a ratio to the rate of a closed loop: an open loop needs some slack.
const LOWEST: f64 = 0.01;

/// A promise about response time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Objective {
    /// From 0 to 100.
    pub percentile: f64,
    /// So many percent of the messages are to take less than this.
    #[serde(serialize_with = "as_nanos")]
    pub below: Duration,
}

/// One tried rate.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Messages per second that were asked for, all connections together.
    pub rate: f64,
    /// What was measured.
    pub sample: Sample,
    /// Response time at the objective's percentile.
    pub response: Duration,
    /// Whether the rate was achieved, nothing failed, and the objective was kept.
    pub kept: bool,
}

impl FromStr for Objective {
    type Err = String;

    /// As in `p99<1ms`.
    fn from_str(text: &str) -> std::result::Result<Objective, String> {
        let parse = || {
            let (percentile, below) = text.strip_prefix('p')?.split_once('<')?;
            let percentile = percentile.trim().parse().ok()?;
            let below = humantime::parse_duration(below.trim()).ok()?;
            let sensible = (0.0..=100.0).contains(&percentile) && !below.is_zero();
            sensible.then_some(Objective { percentile, below })
        };
        parse().ok_or_else(|| "give a percentile and a limit, as in 'p99<1ms'".to_owned())
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} < {}", self.percentile, humantime::format_duration(self.below))
    }
}

/// Searches between a hundredth of the closed-loop rate and a tenth above it. Every step runs
/// `slice` at a rate of its own, spread as `like` says, and is shown to `watch`. The session then
/// holds the distributions of the last step; run the best rate once more for its own.
///
/// # Errors
///
/// Those of [`Session::run`].
pub fn find_max(
    session: &mut Session,
    slice: &Slice,
    like: &Rate,
    objective: &Objective,
    mut watch: impl FnMut(&Step),
) -> Result<Option<Step>> {
    let closed = Slice { rate: None, until: first_look(slice.until), ..*slice };
    let capacity = session.run(&closed)?.rate();
    if capacity == 0.0 {
        return Ok(None);
    }
    let (mut low, mut high) = (capacity * LOWEST, capacity * 1.1);
    let mut best = None;
    let mut rate = capacity / 2.0;
    for _ in 0..=STEPS {
        let like = Rate { per_second: rate, ..*like };
        let mut step = try_rate(session, slice, &like, objective)?;
        watch(&step);
        for _ in 1..TRIES {
            // A generator without a core says nothing about the server: ask again.
            if !step.kept && step.sample.cpu.starved() && !session.stopped() {
                step = try_rate(session, slice, &like, objective)?;
                watch(&step);
            }
        }
        if step.kept {
            low = rate;
            best = Some(step);
        } else {
            high = rate;
        }
        if high / low < PRECISION || step.sample.faults.total() > 0 || session.stopped() {
            break;
        }
        rate = (low * high).sqrt();
    }
    Ok(best)
}

/// Runs one slice at one rate.
fn try_rate(
    session: &mut Session,
    slice: &Slice,
    rate: &Rate,
    objective: &Objective,
) -> Result<Step> {
    session.clear();
    let sample = session.run(&slice.at_rate(*rate))?;
    let response = &session.latency().response;
    let response = Duration::from_nanos(response.value_at_quantile(objective.percentile / 100.0));
    let kept = sample.kept_up() && sample.faults.total() == 0 && response < objective.below;
    Ok(Step { rate: rate.per_second, sample, response, kept })
}

/// The closed loop only finds where to search: a second is enough.
fn first_look(until: Until) -> Until {
    match until {
        Until::Elapsed(duration) => Until::Elapsed(duration.min(Duration::from_secs(1))),
        count @ Until::Messages(_) => count,
    }
}

fn as_nanos<S: serde::Serializer>(
    below: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u64(below.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_a_percentile_and_a_limit() {
        let objective = Objective { percentile: 99.9, below: Duration::from_micros(1500) };
        assert_eq!("p99.9<1500us".parse(), Ok(objective));
        assert_eq!("p99.9 < 1ms 500us".parse(), Ok(objective));
        for nonsense in ["", "99<1ms", "p99", "p99>1ms", "p101<1ms", "p99<0ms", "p99<1"] {
            assert!(nonsense.parse::<Objective>().is_err(), "{nonsense}");
        }
    }
}
