//! Running the scenarios: in slices, or in randomised complete blocks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::entrant::Entrant;
use crate::load::{Control, Rate, Slice};

use super::args::{Effort, Layout};
use super::measured::Measured;
use super::result::{LoadInfo, Metric};
use super::scenario::{Scenario, Turns};
use super::turn::Running;

/// How long a slice is, and the part at its start that does not count: a fifth where stopping and
/// continuing the servers is cheap, more where a thousand threads must be woken first.
const SLICE: Slicing = Slicing { length_ms: 20, warm_up_ms: 4 };
const SLICE_CROWDED: Slicing = Slicing { length_ms: 50, warm_up_ms: 20 };
const SLICE_SLOW: Slicing = Slicing { length_ms: 60, warm_up_ms: 20 };
/// Connections from which on a ring counts as crowded.
const CROWDED: usize = 300;
/// Connections above which fewer messages are traced: a pass over all of them takes long.
const TRACED_FULLY: usize = 1000;
const TRACED_AT_MOST: u64 = 200;
/// Runs of a server to learn its capacity, of which the median is taken.
const CAPACITY_RUNS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slicing {
    length_ms: u64,
    warm_up_ms: u64,
}

/// What all scenarios share.
pub(super) struct Runner<'a> {
    /// The servers, the control last.
    pub(super) entrants: &'a [Entrant],
    pub(super) layout: &'a Layout,
    pub(super) effort: Effort,
    pub(super) seed: u64,
    pub(super) control: Arc<Control>,
    pub(super) bar: ProgressBar,
    /// The order of turns.
    pub(super) rng: Xoshiro256PlusPlus,
}

impl Slicing {
    pub(super) fn of(load: &LoadInfo) -> Slicing {
        if load.work_ns > 0 {
            SLICE_SLOW
        } else if load.total_connections() >= CROWDED {
            SLICE_CROWDED
        } else {
            SLICE
        }
    }

    pub(super) fn length(self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    pub(super) fn warm_up(self) -> Duration {
        Duration::from_millis(self.warm_up_ms)
    }

    fn slice(self) -> Slice {
        Slice::lasting(self.length() - self.warm_up()).after(self.warm_up())
    }

    /// As many rounds as fit into the time that `rounds` of the shortest slices take, by a half
    /// more.
    pub(super) fn rounds(self, rounds: usize) -> usize {
        let fitting = rounds * 3 * SLICE.length_ms as usize / 2 / self.length_ms as usize;
        fitting.clamp(rounds.min(crate::statistics::BLOCKS_MIN), rounds)
    }
}

impl Runner<'_> {
    /// Whether someone asked us to stop.
    pub(super) fn interrupted(&self) -> bool {
        self.control.stop_flag().load(Ordering::Relaxed)
    }

    /// Every server that takes part, in slices of a few milliseconds while the others are stopped.
    pub(super) fn slices(
        &mut self,
        scenario: &Scenario,
        load: &LoadInfo,
        takes_part: &[Option<String>],
    ) -> Vec<Measured> {
        let mut measured = self.blank(load, takes_part);
        let mut ring: Vec<Option<Running>> = Vec::new();
        for (entrant, measured) in self.entrants.iter().zip(&mut measured) {
            let started = measured.is_in().then(|| self.start_paused(entrant, load));
            ring.push(match started {
                Some(Ok(running)) => Some(running),
                Some(Err(error)) => {
                    measured.fail(error);
                    None
                }
                None => None,
            });
        }
        let slicing = Slicing::of(load);
        let meters: Vec<_> = ring.iter().map(|running| Some(running.as_ref()?.meter())).collect();
        let mut order: Vec<usize> = (0..ring.len()).collect();
        for _ in 0..slicing.rounds(self.effort.rounds) {
            order.shuffle(&mut self.rng);
            for &index in &order {
                self.one_slice(scenario.metric, slicing, &mut ring[index], &mut measured[index]);
            }
            if self.interrupted() {
                break;
            }
        }
        for (index, meter) in meters.into_iter().enumerate() {
            measured[index].whole = meter.map(|meter| meter.stop());
            if let Some(running) = &mut ring[index] {
                measured[index].bytes_per_connection.push(running.bytes_per_connection.clone());
                measured[index].latency = running.latency.take();
                self.cost_in_ring(running, load, &mut measured[index]);
            }
        }
        self.excuse_unfinished(&mut measured);
        measured
    }

    fn start_paused(&self, entrant: &Entrant, load: &LoadInfo) -> io::Result<Running> {
        let running = Running::start(entrant, load, self.layout, &self.control, self.seed)?;
        running.pause()?;
        Ok(running)
    }

    /// One server's turn in a round. A server that fails leaves the ring.
    fn one_slice(
        &self,
        metric: Metric,
        slicing: Slicing,
        place: &mut Option<Running>,
        measured: &mut Measured,
    ) {
        let Some(running) = place else { return measured.turns.push(None) };
        let turn = running.resume().and_then(|()| running.turn(&slicing.slice(), metric));
        let paused = running.pause();
        match turn.and_then(|turn| paused.map(|()| turn)) {
            // A turn that was cut short is not one.
            Ok(_) | Err(_) if self.interrupted() => measured.turns.push(None),
            Ok(turn) => measured.turns.push(turn),
            Err(error) => {
                measured.turns.push(None);
                measured.fail(error);
                *place = None;
            }
        }
        self.bar.inc(slicing.length_ms);
    }

    /// What a server costs, in a run that is not interrupted by stops.
    fn cost_in_ring(&self, running: &mut Running, load: &LoadInfo, measured: &mut Measured) {
        if self.interrupted() || !measured.is_in() {
            return;
        }
        let run = Slice::lasting(self.effort.cost_run);
        let cost = running.resume().and_then(|()| running.cost_run(&run));
        self.bar.inc(self.effort.cost_run.as_millis() as u64);
        match cost {
            Ok(_) | Err(_) if self.interrupted() => {}
            Ok(cost) => {
                measured.cost_runs.push(cost);
                measured.syscalls = running.syscalls(self.traced_messages(load), load);
            }
            Err(error) => measured.fail(error),
        }
        let _ = running.pause();
    }

    /// Every server that takes part, a fresh process for each in every block.
    pub(super) fn blocks(
        &mut self,
        scenario: &Scenario,
        load: &LoadInfo,
        takes_part: &[Option<String>],
        rates: &[Option<f64>],
    ) -> Vec<Measured> {
        let mut measured = self.blank(load, takes_part);
        for (measured, rate) in measured.iter_mut().zip(rates) {
            measured.load.offered_per_s = *rate;
        }
        let mut order: Vec<usize> = (0..measured.len()).collect();
        for block in 0..self.effort.blocks {
            order.shuffle(&mut self.rng);
            for &index in &order {
                let ours = &mut measured[index];
                if ours.is_in() && !self.interrupted() {
                    let entrant = &self.entrants[index];
                    if let Err(error) = self.one_run(scenario, entrant, block, ours) {
                        ours.fail(error);
                    }
                    self.bar.inc(self.block_ms());
                }
                if ours.turns.len() == block {
                    ours.turns.push(None);
                }
            }
            if self.interrupted() {
                break;
            }
        }
        self.excuse_unfinished(&mut measured);
        measured
    }

    /// A server whose turn never came did not fail.
    fn excuse_unfinished(&self, measured: &mut [Measured]) {
        for measured in measured.iter_mut().filter(|measured| measured.is_in()) {
            if self.interrupted() && measured.turns.iter().all(Option::is_none) {
                measured.skipped = Some("interrupted before it was measured".to_owned());
            }
        }
    }

    /// One server's run in a block; in the last one its system calls are counted too.
    fn one_run(
        &self,
        scenario: &Scenario,
        entrant: &Entrant,
        block: usize,
        measured: &mut Measured,
    ) -> io::Result<()> {
        let load = measured.load.clone();
        let mut running = Running::start(entrant, &load, self.layout, &self.control, self.seed)?;
        measured.bytes_per_connection.push(running.bytes_per_connection.clone());
        if scenario.turns == Turns::Silence {
            let (turn, cost) = running.silence(self.effort.run)?;
            measured.turns.push(Some(turn));
            measured.cost_runs.push(cost);
            return Ok(());
        }
        let mut slice = Slice::lasting(self.effort.run).after(self.effort.warm_up);
        if let Some(rate) = load.offered_per_s {
            slice = slice.at_rate(Rate::uniform(rate));
        }
        let meter = (running.meter(), crate::cost::Usage::now(), self.control.answered());
        let turn = running.turn(&slice, scenario.metric)?;
        if self.interrupted() {
            return Ok(());
        }
        let (meter, before, answered) = meter;
        measured.cost_runs.push(super::turn::CostRun {
            usage: crate::cost::Usage::now().since(&before),
            cost: meter.stop(),
            messages: self.control.answered() - answered,
        });
        measured.turns.push(turn);
        match (&mut measured.latency, running.latency.take()) {
            (Some(all), Some(one)) => all.add(&one),
            (all, one) => *all = all.take().or(one),
        }
        if block + 1 == self.effort.blocks && scenario.metric != Metric::LatencyP99 {
            measured.syscalls = running.syscalls(self.traced_messages(&load), &load);
        }
        Ok(())
    }

    /// The capacity of each server in messages per second in a closed loop on the load's
    /// connections.
    pub(super) fn capacities(
        &self,
        load: &LoadInfo,
        takes_part: &[Option<String>],
    ) -> Vec<Option<f64>> {
        let capacity = |entrant: &Entrant| {
            let mut rates = Vec::new();
            for _ in 0..CAPACITY_RUNS {
                let slice = Slice::lasting(self.effort.run).after(self.effort.warm_up);
                let control = &self.control;
                let mut running =
                    Running::start(entrant, load, self.layout, control, self.seed).ok()?;
                rates.push(running.turn(&slice, Metric::MessagesPerSecond).ok()??.value);
            }
            crate::statistics::median(&rates)
        };
        let servers = self.entrants.iter().zip(takes_part);
        servers.map(|(entrant, skip)| skip.is_none().then(|| capacity(entrant)).flatten()).collect()
    }

    /// Planned time of one run in a block, in milliseconds: what is measured, and what surrounds
    /// it.
    pub(super) fn block_ms(&self) -> u64 {
        (self.effort.run + self.effort.warm_up).as_millis() as u64 + 50
    }

    fn traced_messages(&self, load: &LoadInfo) -> u64 {
        let wanted = self.effort.traced_messages;
        if load.total_connections() > TRACED_FULLY { wanted.min(TRACED_AT_MOST) } else { wanted }
    }

    fn blank(&self, load: &LoadInfo, takes_part: &[Option<String>]) -> Vec<Measured> {
        let blank = |skipped: &Option<String>| Measured {
            skipped: skipped.clone(),
            ..Measured::nothing(load.clone())
        };
        takes_part.iter().map(blank).collect()
    }
}

/// A progress bar over the planned time, on stderr, and only where somebody can see it.
pub(super) fn progress_bar(planned_ms: u64) -> ProgressBar {
    let bar = ProgressBar::new(planned_ms);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta:>4} left  {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
