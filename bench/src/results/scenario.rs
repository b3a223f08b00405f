//! One question, and the measurements that answer it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::statistics::Estimate;

use super::case::{Case, Outcome};
use super::metric::Metric;

/// One question, and the measurements that answer it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// The scenario's name in filters, e.g. "idle_herd".
    pub name: String,
    /// The question that the scenario answers, in one sentence.
    pub question: String,
    /// The method of measurement.
    pub method: Method,
    /// The quantity that varies from point to point.
    pub axis: Axis,
    /// The compared metric.
    pub metric: Metric,
    /// The name of the reference server of all ratios.
    pub reference: String,
    /// The points, in ascending order of [`Point::x`].
    pub points: Vec<Point>,
    /// The growth of each server's cost along the axis. Empty where the scenario does not ask for
    /// the growth.
    pub fits: Vec<Fit>,
    /// Notes on the figures, e.g. on a contaminated run. Each note is one sentence.
    pub notes: Vec<String>,
}

/// The method by which a scenario was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    /// The method in one or two sentences, with its durations.
    pub text: String,
    /// Number of passes over all scenarios. The blocks are divided among the passes.
    pub passes: usize,
    /// Wall-clock time of the scenario, in seconds.
    pub elapsed_s: f64,
}

/// How servers take turns. Turns spread a change of the machine's speed over all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Interleaving {
    /// All servers live and connected; all except one are stopped (SIGSTOP). Each server runs for
    /// short slices in shuffled rounds. A block is one round.
    Slices {
        /// Number of rounds. Each server had one slice in each round.
        rounds: usize,
        /// Length of a slice including its warm-up, in nanoseconds.
        slice_ns: u64,
        /// Length of the warm-up at the start of a slice, in nanoseconds. The warm-up is not
        /// counted.
        warm_up_ns: u64,
    },
    /// Randomised complete blocks. In each block, every server ran once in a fresh process. The
    /// order of the servers was shuffled.
    Blocks {
        /// Number of blocks.
        blocks: usize,
        /// Measured time of one run, in nanoseconds.
        run_ns: u64,
        /// Warm-up before the measured time, in nanoseconds.
        warm_up_ns: u64,
    },
}

impl Interleaving {
    /// Returns whether the turns have the same kind, length and warm-up as the turns of `other`.
    /// The length of a turn alone changes the figures. So points with different turns are neither
    /// compared nor joined by a line.
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
                 slices of {} ms, without the first {} ms of each slice",
                ms(slice_ns),
                ms(warm_up_ns)
            ),
            Interleaving::Blocks { blocks, run_ns, warm_up_ns } => {
                let run = ms(run_ns);
                write!(f, "{blocks} randomised complete blocks, a fresh process for each run")?;
                match ms(warm_up_ns) {
                    0 => write!(f, " of at most {run} ms"),
                    warm_up => write!(f, " of {run} ms after a warm-up of {warm_up} ms"),
                }
            }
        }
    }
}

/// The quantity that varies from point to point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// The axis's name in a chart, e.g. "idle connections".
    pub name: String,
    /// The axis's unit, e.g. "connections", "bytes", "messages/s"; empty for a pure number.
    pub unit: String,
    /// Whether the chart uses a logarithmic axis. The value 0 can still occur (no idle
    /// connections).
    pub log: bool,
}

/// One value on a scenario's axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The position on the axis.
    pub x: f64,
    /// The position as text, e.g. "900 idle" or "4 KiB".
    pub label: String,
    /// How the servers took turns at this point.
    pub interleaving: Interleaving,
    /// The A/A control at this point: the ratio of the reference server to itself. A ratio
    /// within `low ..= high` is no evidence of a difference. `None` when the control could
    /// not be measured; then no server is ranked.
    pub noise_floor: Option<Estimate>,
    /// One entry for each server of the run, in the order of
    /// [`Results::servers`](super::Results::servers).
    pub cases: Vec<Case>,
}

/// A straight line through a server's points: `y = intercept + slope · x`, where x is the axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// [`ServerInfo::name`](super::ServerInfo::name).
    pub server: String,
    /// The growing quantity, e.g. "server CPU per message".
    pub quantity: String,
    /// Unit of the slope, e.g. "ns per message and idle connection".
    pub unit: String,
    /// Growth per unit of the axis.
    pub slope: f64,
    /// Lower end of the slope's 95 % interval; `None` in a report without intervals.
    pub slope_low: Option<f64>,
    /// Upper end of the slope's 95 % interval; `None` in a report without intervals.
    pub slope_high: Option<f64>,
    /// The value at x = 0.
    pub intercept: f64,
    /// Share of the variation that the line explains, 0 to 1. The share is meaningless where the
    /// slope is about 0.
    pub r_squared: f64,
    /// Number of points that the line uses.
    pub points: usize,
    /// x of each point that the line does not use. Such a point would determine the slope alone, or
    /// the servers took different turns at the point.
    #[serde(default)]
    pub left_out: Vec<f64>,
}

impl Scenario {
    /// Returns the point with the most measured cases that fulfil `wanted`. Among equal points,
    /// returns the last point, where the load is highest and the models differ most. Returns `None`
    /// when no case fulfils `wanted`.
    pub(crate) fn telling_point(&self, wanted: impl Fn(&Case) -> bool) -> Option<&Point> {
        let count = |point: &&Point| {
            let measured = point.cases.iter().filter(|case| case.outcome == Outcome::Measured);
            measured.filter(|case| wanted(case)).count()
        };
        self.points.iter().max_by_key(count).filter(|point| count(point) > 0)
    }
}

impl Point {
    /// Returns the case of `server`.
    pub(crate) fn case(&self, server: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.server == server)
    }
}
