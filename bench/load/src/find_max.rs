//! The highest rate at which a server keeps a promise such as `p99<1ms`.
//!
//! On a machine with other programs, any single run can fail for a reason that is not the server. So
//! one failed run proves nothing: a rate counts as too high after three failures in a row. Whenever
//! the search has closed in on a rate, the next higher one is tried once more: if it keeps the promise
//! now, the search goes on above. A rate is found when two more runs keep the promise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::{Fault, Latency, Result, Sample};

/// Failures in a row after which a rate counts as too high.
const TRIES: usize = 3;
/// Further runs at the found rate: this number must keep the promise before as many break it.
const CONFIRMATIONS: usize = 2;
/// The search has closed in when the lowest failed rate is at most this multiple of the highest kept.
const PRECISION: f64 = 1.05;
/// First rate, as a share of the rate of the closed loop.
const FIRST: f64 = 0.5;
/// The next rate after a kept one while no rate has failed, as a multiple.
const GROWTH: f64 = 2.0;
/// The next rate after a failed one while no rate is kept, as a share.
const SHRINK: f64 = 0.25;
/// The search gives up below this share of the rate of the closed loop.
const LOWEST: f64 = 0.001;
/// Most runs of one search.
const RUNS_MAX: usize = 100;

/// A promise about response time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Objective {
    /// From 0 to 100.
    pub percentile: f64,
    /// This percentage of the messages must take less than this time.
    #[serde(rename = "below_ns", serialize_with = "as_nanos")]
    pub below: Duration,
}

/// One run of a search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The requested messages per second, on all connections together.
    pub rate: f64,
    /// The achieved messages per second.
    pub messages_per_second: f64,
    /// Response time at the promise's percentile; `null` if no message was due.
    pub response_ns: Option<u64>,
    /// Why the run failed; empty if it kept the promise.
    pub broken: Vec<Broken>,
    /// Whether the generator may have been the reason: it was saturated, starved or late.
    pub generator_limited: bool,
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Broken {
    /// The response time was too long.
    Promise,
    /// The rate was not achieved.
    Rate,
    /// A connection failed.
    Faults,
    /// The server sent wrong bytes. No other rate helps, so the search ends.
    Bytes,
}

/// The result of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// The promise.
    pub objective: Objective,
    /// The highest confirmed rate. The last run of the search is at this rate and keeps the promise.
    pub rate: Option<f64>,
    /// The lowest rate that failed.
    pub too_high: Option<f64>,
    /// Why no rate was found.
    pub failure: Option<&'static str>,
    /// All runs, in their order.
    pub steps: Vec<Step>,
}

impl Step {
    /// Judges a run at this rate. `latency` is of this run alone.
    pub fn of(rate: f64, sample: &Sample, latency: &Latency, objective: &Objective) -> Step {
        let mut broken = Vec::new();
        let response = &latency.response;
        let response_ns = (!response.is_empty())
            .then(|| response.value_at_quantile(objective.percentile / 100.0));
        if response_ns.is_none_or(|ns| u128::from(ns) >= objective.below.as_nanos()) {
            broken.push(Broken::Promise);
        }
        if !sample.kept_up() {
            broken.push(Broken::Rate);
        }
        if sample.faults.total() > 0 {
            broken.push(Broken::Faults);
        }
        let wrong = [Fault::Mismatch, Fault::Surplus, Fault::SpokeFirst];
        if wrong.into_iter().any(|fault| sample.faults.count(fault) > 0) {
            broken.push(Broken::Bytes);
        }
        let cpu = &sample.cpu;
        let generator_limited = cpu.saturated() || cpu.starved() || latency.is_late() == Some(true);
        let messages_per_second = sample.rate();
        Step { rate, messages_per_second, response_ns, broken, generator_limited }
    }

    /// Whether the run kept the promise.
    pub fn kept(&self) -> bool {
        self.broken.is_empty()
    }
}

impl Search {
    /// Whether the generator may have been the limit: it was the possible reason for every failure at
    /// the lowest failed rate.
    pub fn generator_limited(&self) -> bool {
        let failed = |step: &&Step| Some(step.rate) == self.too_high && !step.kept();
        self.too_high.is_some()
            && self.steps.iter().filter(failed).all(|step| step.generator_limited)
    }
}

/// Searches the highest rate that keeps the promise. `capacity` is the rate of a closed loop: the
/// search starts there, and it need not be right. `run` makes one run at a rate; `None` ends the
/// search.
///
/// # Errors
///
/// The errors of `run`.
pub fn find_max(
    objective: Objective,
    capacity: f64,
    run: impl FnMut(f64) -> Result<Option<Step>>,
) -> Result<Search> {
    let mut hunt =
        Hunt { run, steps: Vec::new(), kept: Vec::new(), failed: Vec::new(), doubted: None };
    let (rate, failure) = match hunt.search(capacity)? {
        End::Found(rate) => (Some(rate), None),
        End::TooLow => (None, Some("no rate keeps the promise")),
        End::Unsettled => (None, Some("the runs contradict each other: give a longer duration")),
        End::WrongBytes => (None, Some("the server sends back wrong bytes")),
        End::Stopped => (None, Some("the search was interrupted")),
    };
    let too_high = hunt.bracket().1;
    Ok(Search { objective, rate, too_high, failure, steps: hunt.steps })
}

/// How a search ends.
enum End {
    Found(f64),
    TooLow,
    Unsettled,
    WrongBytes,
    Stopped,
}

/// What several runs at one rate say.
enum Verdict {
    Kept,
    Failed,
    Ended(End),
}

/// A search under way.
struct Hunt<F> {
    run: F,
    steps: Vec<Step>,
    /// Rates that keep the promise. All are lower than the failed ones.
    kept: Vec<f64>,
    failed: Vec<f64>,
    /// The closed bracket whose upper end has failed once more.
    doubted: Option<(f64, f64)>,
}

impl<F: FnMut(f64) -> Result<Option<Step>>> Hunt<F> {
    fn search(&mut self, capacity: f64) -> Result<End> {
        if capacity == 0.0 {
            return Ok(End::TooLow);
        }
        loop {
            let verdict = match self.bracket() {
                (None, None) => self.judge(capacity * FIRST, 1, TRIES)?,
                (None, Some(high)) if high * SHRINK < capacity * LOWEST => return Ok(End::TooLow),
                (None, Some(high)) => self.judge(high * SHRINK, 1, TRIES)?,
                (Some(low), None) => self.judge(low * GROWTH, 1, TRIES)?,
                (Some(low), Some(high)) if high > low * PRECISION => {
                    self.judge((low * high).sqrt(), 1, TRIES)?
                }
                // The search has closed in. The upper end may have failed by accident.
                (Some(low), Some(high)) if self.doubted != Some((low, high)) => {
                    self.doubted = Some((low, high));
                    self.judge(high, 1, 1)?
                }
                (Some(low), Some(_)) => match self.judge(low, CONFIRMATIONS, CONFIRMATIONS)? {
                    Verdict::Kept => return Ok(End::Found(low)),
                    other => other,
                },
            };
            if let Verdict::Ended(end) = verdict {
                return Ok(end);
            }
        }
    }

    /// The highest rate that keeps the promise, and the lowest that fails.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let low = self.kept.iter().copied().reduce(f64::max);
        (low, self.failed.iter().copied().reduce(f64::min))
    }

    /// Runs at one rate until `enough` runs have kept the promise, or `tries` runs have not.
    fn judge(&mut self, rate: f64, enough: usize, tries: usize) -> Result<Verdict> {
        let (mut kept, mut failed) = (0, 0);
        while kept < enough && failed < tries {
            if self.steps.len() == RUNS_MAX {
                return Ok(Verdict::Ended(End::Unsettled));
            }
            let Some(step) = (self.run)(rate)? else { return Ok(Verdict::Ended(End::Stopped)) };
            let (good, hopeless) = (step.kept(), step.broken.contains(&Broken::Bytes));
            self.steps.push(step);
            if hopeless {
                return Ok(Verdict::Ended(End::WrongBytes));
            }
            kept += usize::from(good);
            failed += usize::from(!good);
        }
        if kept == enough {
            self.failed.retain(|failed| *failed > rate);
            self.kept.push(rate);
            return Ok(Verdict::Kept);
        }
        self.kept.retain(|kept| *kept < rate);
        self.failed.push(rate);
        Ok(Verdict::Failed)
    }
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

fn as_nanos<S: serde::Serializer>(
    below: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u64(below.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective() -> Objective {
        "p99<5ms".parse().unwrap()
    }

    /// A run at this rate.
    fn step(rate: f64, kept: bool) -> Step {
        let broken = if kept { vec![] } else { vec![Broken::Promise] };
        let response_ns = Some(1);
        Step { rate, messages_per_second: rate, response_ns, broken, generator_limited: false }
    }

    /// Searches a server that keeps the promise below `limit`. The runs with the numbers in `bad` fail
    /// at any rate.
    fn search(limit: f64, capacity: f64, bad: &[usize]) -> Search {
        let mut number = 0;
        find_max(objective(), capacity, |rate| {
            number += 1;
            Ok(Some(step(rate, rate < limit && !bad.contains(&number))))
        })
        .unwrap()
    }

    #[test]
    fn the_limit_is_found_from_any_first_guess() {
        for capacity in [6.0, 100.0, 5000.0, 6000.0, 100_000.0, 2_000_000.0] {
            let search = search(5494.0, capacity, &[]);
            let rate = search.rate.unwrap();
            assert!((5494.0 / PRECISION..5494.0).contains(&rate), "{rate} from {capacity}");
            assert!(search.too_high.unwrap() >= 5494.0);
            assert!(search.steps.len() <= 45, "{} runs from {capacity}", search.steps.len());
        }
    }

    #[test]
    fn a_few_bad_runs_at_any_time_do_not_change_the_result() {
        let undisturbed = search(5494.0, 6000.0, &[]).steps.len();
        for first in 1..=undisturbed {
            // As long as all tries at one rate, and the run after them.
            for length in 1..=TRIES + 1 {
                let bad: Vec<usize> = (first..first + length).collect();
                let search = search(5494.0, 6000.0, &bad);
                let rate = search.rate.unwrap_or_default();
                let low = 5494.0 / PRECISION / PRECISION;
                assert!((low..5494.0).contains(&rate), "{rate}, runs {bad:?} are bad");
            }
        }
    }

    #[test]
    fn a_long_time_of_bad_runs_at_the_start_does_not_change_the_result() {
        // Above 300/s, each of the first 15 runs fails.
        let mut number = 0;
        let search = find_max(objective(), 6000.0, |rate| {
            number += 1;
            Ok(Some(step(rate, rate < if number <= 15 { 300.0 } else { 5494.0 })))
        });
        let rate = search.unwrap().rate.unwrap_or_default();
        assert!((5494.0 / PRECISION..5494.0).contains(&rate), "{rate}");
    }

    #[test]
    fn the_last_run_is_at_the_found_rate_and_keeps_the_promise() {
        for bad in [&[][..], &[1, 2, 3], &[9, 10], &[12, 13, 14, 15]] {
            let search = search(5494.0, 6000.0, bad);
            let last = search.steps.last().unwrap();
            assert!(last.kept());
            assert_eq!(Some(last.rate), search.rate, "{bad:?}");
            let kept = search.steps.iter().filter(|step| step.rate == last.rate && step.kept());
            assert!(kept.count() > CONFIRMATIONS);
        }
    }

    #[test]
    fn a_promise_that_no_rate_keeps_is_not_found() {
        let search = search(0.0, 6000.0, &[]);
        assert_eq!((search.rate, search.failure), (None, Some("no rate keeps the promise")));
        assert!(search.steps.iter().all(|step| !step.kept()));
    }

    #[test]
    fn a_search_without_a_pattern_ends() {
        let mut number = 0;
        let search = find_max(objective(), 6000.0, |rate| {
            number += 1;
            Ok(Some(step(rate, number % 4 == 0)))
        });
        let search = search.unwrap();
        assert!(search.steps.len() <= RUNS_MAX);
        assert!(search.rate.is_some() || search.failure.is_some());
    }

    #[test]
    fn wrong_bytes_and_a_signal_end_the_search() {
        let wrong =
            |rate| Step { broken: vec![Broken::Faults, Broken::Bytes], ..step(rate, false) };
        let search = find_max(objective(), 6000.0, |rate| Ok(Some(wrong(rate)))).unwrap();
        assert_eq!((search.rate, search.steps.len()), (None, 1));
        let search = find_max(objective(), 6000.0, |_| Ok(None)).unwrap();
        assert_eq!(search.failure, Some("the search was interrupted"));
    }

    #[test]
    fn a_search_says_that_the_generator_was_the_limit() {
        let limited = |limited| {
            let run =
                |rate| Ok(Some(Step { generator_limited: limited, ..step(rate, rate < 5494.0) }));
            find_max(objective(), 6000.0, run).unwrap().generator_limited()
        };
        assert!(limited(true));
        assert!(!limited(false));
    }

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
