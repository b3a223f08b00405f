//! One question, and what was measured to answer it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::statistics::Estimate;

use super::case::{Case, Outcome};
use super::metric::Metric;

/// One question, and what was measured to answer it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in filters, e.g. "idle_herd".
    pub name: String,
    /// The question it answers, in one sentence.
    pub question: String,
    /// How it was measured.
    pub method: Method,
    /// What varies from point to point.
    pub axis: Axis,
    /// What is compared.
    pub metric: Metric,
    /// The server that ratios are taken to.
    pub reference: String,
    /// The points, in ascending order of [`Point::x`].
    pub points: Vec<Point>,
    /// How the cost of each server grows along the axis, where the scenario asks that.
    pub fits: Vec<Fit>,
    /// What to know when reading the figures, e.g. a contaminated run. One sentence each.
    pub notes: Vec<String>,
}

/// How a scenario was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    /// The method in a sentence or two, with its durations.
    pub text: String,
    /// Passes over all scenarios that the blocks were divided among.
    pub passes: usize,
    /// Wall-clock time the scenario took, in seconds.
    pub elapsed_s: f64,
}

/// How servers take turns, so that a change of the machine's speed hits all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Interleaving {
    /// All servers live and connected, all but one stopped (SIGSTOP); short slices in shuffled
    /// rounds. A block is one round.
    Slices {
        /// Rounds: each server had one slice in each.
        rounds: usize,
        /// Length of a slice, in nanoseconds, its warm-up included.
        slice_ns: u64,
        /// The part at a slice's start that does not count, in nanoseconds.
        warm_up_ns: u64,
    },
    /// Randomised complete blocks: in each, every server ran once, in a fresh process, in shuffled
    /// order.
    Blocks {
        /// Blocks.
        blocks: usize,
        /// Measured time of one run, in nanoseconds.
        run_ns: u64,
        /// Warm-up before it, in nanoseconds.
        warm_up_ns: u64,
    },
}

impl Interleaving {
    /// Whether turns have the same length and warm-up as those of `other`. The length of a turn changes
    /// the figures by itself, so points with different turns are neither compared nor joined by a line.
    pub(crate) fn is_like(self, other: Interleaving) -> bool {
        use Interleaving::{Blocks, Slices};
        match (self, other) {
            (
                Slices { slice_ns, warm_up_ns, .. },
                Slices { slice_ns: length, warm_up_ns: start, .. },
            ) => (slice_ns, warm_up_ns) == (length, start),
            (
                Blocks { run_ns, warm_up_ns, .. },
                Blocks { run_ns: length, warm_up_ns: start, .. },
            ) => (run_ns, warm_up_ns) == (length, start),
            _ => false,
        }
    }
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: &u64| ns / 1_000_000;
        match self {
            Interleaving::Slices { rounds, slice_ns, warm_up_ns } => write!(
                f,
                "all servers live and connected, all but one stopped; {rounds} shuffled rounds of \
                 slices of {} ms, the first {} ms of each not counted",
                ms(slice_ns),
                ms(warm_up_ns)
            ),
            Interleaving::Blocks { blocks, run_ns, warm_up_ns } => {
                let run = ms(run_ns);
                write!(f, "{blocks} randomised complete blocks, a fresh process for each run")?;
                match ms(warm_up_ns) {
                    0 => write!(f, " of at most {run} ms"),
                    warm_up => write!(f, " of {run} ms after {warm_up} ms that do not count"),
                }
            }
        }
    }
}

/// What varies from point to point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Its name for a chart, e.g. "idle connections".
    pub name: String,
    /// Its unit, e.g. "connections", "bytes", "messages/s"; empty when it is a pure number.
    pub unit: String,
    /// Whether a logarithmic axis suits it. Zero can still occur (no idle connections).
    pub log: bool,
}

/// One value on a scenario's axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Where it is on the axis.
    pub x: f64,
    /// The same as text, e.g. "900 idle" or "4 KiB".
    pub label: String,
    /// How the servers took turns here.
    pub interleaving: Interleaving,
    /// The A/A control here: the reference server against itself. No difference within `low ..=
    /// high` of 1 is claimed. `None` when the control could not be measured (then nothing is
    /// ranked).
    pub noise_floor: Option<Estimate>,
    /// One entry for each server of the run, in the order of [`Results::servers`](super::Results::servers).
    pub cases: Vec<Case>,
}

/// A straight line through a server's points: `y = intercept + slope · x`, where x is the axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// [`ServerInfo::name`](super::ServerInfo::name).
    pub server: String,
    /// What grows, e.g. "server CPU per message".
    pub quantity: String,
    /// Unit of the slope, e.g. "ns per message and idle connection".
    pub unit: String,
    /// Growth per unit of the axis.
    pub slope: f64,
    /// Lower end of the slope's 95 % interval; `None` in a report that was written without intervals.
    pub slope_low: Option<f64>,
    /// Upper end of the slope's 95 % interval; `None` in a report that was written without intervals.
    pub slope_high: Option<f64>,
    /// The value at 0.
    pub intercept: f64,
    /// Share of the variation that the line explains, 0 to 1. Meaningless where the slope is about
    /// 0.
    pub r_squared: f64,
    /// Number of points in the line.
    pub points: usize,
    /// x of each point that is not in the line, since it would decide the slope alone or since the
    /// servers took turns there in another way.
    #[serde(default)]
    pub left_out: Vec<f64>,
}

impl Scenario {
    /// The point at which the most servers were measured and have what `wanted` asks for. Of equals it is
    /// the last, where loads are highest and the models farthest apart. `None` when no server has it.
    pub(crate) fn telling_point(&self, wanted: impl Fn(&Case) -> bool) -> Option<&Point> {
        let count = |point: &&Point| {
            let measured = point.cases.iter().filter(|case| case.outcome == Outcome::Measured);
            measured.filter(|case| wanted(case)).count()
        };
        self.points.iter().max_by_key(count).filter(|point| count(point) > 0)
    }
}

impl Point {
    /// What was found of `server`.
    pub(crate) fn case(&self, server: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.server == server)
    }
}
