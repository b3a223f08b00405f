//! What was measured of one server at one point, before it is summed up.

use loadgen::Latency;

use crate::cost::{Cost, Reading, Usage};
use crate::results::{LoadInfo, SyscallRate};
use crate::statistics::median;

use super::turn::{CostRun, Turn};

/// What was measured of one server at one point.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) load: LoadInfo,
    /// Why it was not tried.
    pub(super) skipped: Option<String>,
    /// The first thing that went wrong.
    pub(super) failure: Option<String>,
    /// One for each block.
    pub(super) turns: Vec<Option<Turn>>,
    /// How many blocks there were when each pass over the scenarios was over.
    pub(super) pass_ends: Vec<usize>,
    pub(super) latency: Option<Latency>,
    pub(super) cost_runs: Vec<CostRun>,
    /// The machine's, over the slices of each pass (all servers') or over each run.
    pub(super) usage: Vec<Usage>,
    /// Over all slices of each pass, for the split into user and system time only.
    pub(super) whole: Vec<Cost>,
    pub(super) syscalls: Reading<Vec<SyscallRate>>,
    pub(super) bytes_per_connection: Vec<Reading<f64>>,
}

impl Measured {
    /// Nothing yet, for each server; those that have a reason for it are skipped.
    pub(super) fn blank(load: &LoadInfo, skipped: &[Option<String>]) -> Vec<Measured> {
        skipped.iter().map(|skipped| Measured::nothing(load.clone(), skipped.clone())).collect()
    }

    /// Nothing yet.
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

    /// Whether it takes part.
    pub(super) fn is_in(&self) -> bool {
        self.skipped.is_none() && self.failure.is_none()
    }

    /// Notes what went wrong, if it is the first.
    pub(super) fn fail(&mut self, error: impl ToString) {
        self.failure.get_or_insert(error.to_string());
    }

    /// Takes in the latencies of more turns.
    pub(super) fn add_latency(&mut self, more: Option<Latency>) {
        match (&mut self.latency, more) {
            (Some(all), Some(more)) => all.add(&more),
            (all, more) => *all = all.take().or(more),
        }
    }

    /// The figures of `get` over all blocks, in their order.
    pub(super) fn per_block(&self, get: impl Fn(&Turn) -> Option<f64>) -> Vec<Option<f64>> {
        self.turns.iter().map(|turn| turn.as_ref().and_then(&get)).collect()
    }

    /// The median of `get` over the blocks.
    pub(super) fn median(&self, get: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.per_block(get).into_iter().flatten().collect();
        median(&values)
    }
}
