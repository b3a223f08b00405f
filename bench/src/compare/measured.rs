//! The measurements of one server at one point, before they are summarised.

use loadgen::Latency;

use crate::cost::{Cost, Reading, Usage};
use crate::results::{LoadInfo, SyscallRate};
use crate::statistics::median;

use super::turn::{CostRun, Turn};

/// The measurements of one server at one point.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) load: LoadInfo,
    /// Why the server was skipped.
    pub(super) skipped: Option<String>,
    /// The first error.
    pub(super) failure: Option<String>,
    /// One turn for each block; `None` if the server has no result in the block.
    pub(super) turns: Vec<Option<Turn>>,
    /// The number of blocks at the end of each pass over the scenarios.
    pub(super) pass_ends: Vec<usize>,
    pub(super) latency: Option<Latency>,
    pub(super) cost_runs: Vec<CostRun>,
    /// The machine's usage: over the slices of all servers in each pass, or over each run.
    pub(super) usage: Vec<Usage>,
    /// The cost over all slices of each pass. Only the split into user and system time is used.
    pub(super) whole: Vec<Cost>,
    pub(super) syscalls: Reading<Vec<SyscallRate>>,
    pub(super) bytes_per_connection: Vec<Reading<f64>>,
}

impl Measured {
    /// Returns empty measurements for each server. A server with a reason in `skipped` is skipped.
    pub(super) fn blank(load: &LoadInfo, skipped: &[Option<String>]) -> Vec<Measured> {
        skipped.iter().map(|skipped| Measured::nothing(load.clone(), skipped.clone())).collect()
    }

    /// Returns empty measurements of one server.
    pub(super) fn nothing(load: LoadInfo, skipped: Option<String>) -> Measured {
        Measured {
            load,
            skipped,
            failure: None,
            turns: Vec::new(),
            pass_ends: Vec::new(),
            latency: None,
            cost_runs: Vec::new(),
            usage: Vec::new(),
            whole: Vec::new(),
            syscalls: Reading::unavailable("not counted in this scenario"),
            bytes_per_connection: Vec::new(),
        }
    }

    /// Returns whether the server takes part: it is not skipped and has not failed.
    pub(super) fn is_in(&self) -> bool {
        self.skipped.is_none() && self.failure.is_none()
    }

    /// Records the error if it is the first error.
    pub(super) fn fail(&mut self, error: impl ToString) {
        self.failure.get_or_insert(error.to_string());
    }

    /// Adds the latencies of more turns.
    pub(super) fn add_latency(&mut self, more: Option<Latency>) {
        match (&mut self.latency, more) {
            (Some(all), Some(more)) => all.add(&more),
            (all, more) => *all = all.take().or(more),
        }
    }

    /// Returns the value of `get` for each block, in the order of the blocks.
    pub(super) fn per_block(&self, get: impl Fn(&Turn) -> Option<f64>) -> Vec<Option<f64>> {
        self.turns.iter().map(|turn| turn.as_ref().and_then(&get)).collect()
    }

    /// Returns the median of `get` over the blocks.
    pub(super) fn median(&self, get: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.per_block(get).into_iter().flatten().collect();
        median(&values)
    }
}
