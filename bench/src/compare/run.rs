//! Running the scenarios: in slices, or in randomised complete blocks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use loadgen::{Control, Rate, Slice};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::cost::Usage;
use crate::entrant::Entrant;
use crate::layout::{Home, Layout};
use crate::results::{LoadInfo, Metric};
use crate::scenario::Turns;
use crate::statistics::BLOCKS_MIN;

use super::effort::Effort;
use super::measured::Measured;
use super::served::clients_served;
use super::turn::{CostRun, Running, Turn};

/// How long a slice is, and the part at its start that does not count: a fifth where stopping and
/// continuing the servers is cheap, more where a thousand threads must be woken first, and longer
/// where a schedule has to get going or messages take long.
const SLICE: Slicing = Slicing { length_ms: 20, warm_up_ms: 4 };
const SLICE_CROWDED: Slicing = Slicing { length_ms: 50, warm_up_ms: 20 };
const SLICE_SLOW: Slicing = Slicing { length_ms: 60, warm_up_ms: 20 };
const SLICE_OPEN: Slicing = Slicing { length_ms: 50, warm_up_ms: 10 };
/// Connections from which on a ring counts as crowded.
const CROWDED: usize = 300;
/// Bytes that are on their way at once from which on a slice holds too few whole messages.
const BULKY: usize = 4 << 20;
/// Connections above which fewer messages are traced: a pass over all of them takes long.
const TRACED_FULLY: usize = 1000;
const TRACED_AT_MOST: u64 = 200;
/// Rounds of slices to learn the capacity of every server, of which the median is taken.
pub(super) const CAPACITY_ROUNDS: usize = 12;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slicing {
    length_ms: u64,
    warm_up_ms: u64,
}

/// What all scenarios share.
pub(super) struct Runner<'a> {
    /// The servers, the control last.
    pub(super) entrants: &'a [Entrant],
    pub(super) effort: Effort,
    pub(super) seed: u64,
    pub(super) control: Arc<Control>,
    pub(super) bar: ProgressBar,
    /// The order of turns.
    pub(super) rng: Xoshiro256PlusPlus,
    /// The processors that we may use when nobody pins us.
    pub(super) home: Home,
}

/// What one pass asks of the servers at one point.
#[derive(Clone, Copy)]
pub(super) struct Sitting<'a> {
    pub(super) metric: Metric,
    pub(super) turns: Turns,
    pub(super) layout: &'a Layout,
    /// The number of the pass, from 0.
    pub(super) pass: usize,
}

impl Slicing {
    pub(super) fn of(load: &LoadInfo, turns: Turns) -> Slicing {
        if load.work_ns > 0 || load.connections * load.size_bytes > BULKY {
            SLICE_SLOW
        } else if turns.are_open() {
            SLICE_OPEN
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

    /// As many rounds as fit into the time that `rounds` of the shortest slices take, by a half
    /// more.
    pub(super) fn rounds(self, rounds: usize) -> usize {
        let fitting = rounds * 3 * SLICE.length_ms as usize / 2 / self.length_ms as usize;
        fitting.clamp(rounds.min(BLOCKS_MIN), rounds)
    }
}

impl Runner<'_> {
    /// Whether someone asked us to stop.
    pub(super) fn interrupted(&self) -> bool {
        self.control.stop_flag().load(Ordering::Relaxed)
    }

    /// Every server that takes part, in slices of a few milliseconds while the others are stopped.
    /// What they cost is counted in the first pass.
    pub(super) fn slices(&mut self, sitting: Sitting, measured: &mut [Measured]) {
        let Some(load) = measured.first().map(|first| first.load.clone()) else { return };
        let slicing = Slicing::of(&load, sitting.turns);
        let rounds = share(slicing.rounds(self.effort.rounds), self.effort.passes, sitting.pass);
        let mut ring = self.ring(sitting.layout, measured);
        let meters: Vec<_> = ring.iter().map(|running| Some(running.as_ref()?.meter())).collect();
        let before = Usage::now();
        self.rounds(rounds, slicing, sitting.metric, &mut ring, measured);
        let usage = Usage::now().since(&before);
        for ((running, meter), measured) in ring.iter_mut().zip(meters).zip(&mut *measured) {
            measured.whole.extend(meter.map(|meter| meter.stop()));
            measured.usage.push(usage.clone());
            if let Some(running) = running {
                measured.bytes_per_connection.push(running.bytes_per_connection.clone());
                measured.add_latency(running.latency.take());
                if sitting.pass == 0 {
                    self.cost_in_ring(running, measured);
                }
            }
        }
        self.end_pass(measured);
    }

    /// Starts every server that takes part and connects its clients. They are stopped (SIGSTOP)
    /// until it is their turn.
    fn ring(&self, layout: &Layout, measured: &mut [Measured]) -> Vec<Option<Running>> {
        let start = |(entrant, measured): (&Entrant, &mut Measured)| {
            if !measured.is_in() || self.interrupted() {
                return None;
            }
            let (load, control) = (&measured.load, &self.control);
            let running = Running::start(entrant, load, layout, control, self.seed);
            let paused = running.and_then(|running| running.pause().map(|()| running));
            paused.map_err(|error| measured.fail(error)).ok()
        };
        self.entrants.iter().zip(measured).map(start).collect()
    }

    /// Lets all take a turn in each of `rounds` shuffled rounds.
    fn rounds(
        &mut self,
        rounds: usize,
        slicing: Slicing,
        metric: Metric,
        ring: &mut [Option<Running>],
        measured: &mut [Measured],
    ) {
        let mut order: Vec<usize> = (0..ring.len()).collect();
        for _ in 0..rounds {
            order.shuffle(&mut self.rng);
            for &index in &order {
                self.one_slice(metric, slicing, &mut ring[index], &mut measured[index]);
            }
            if self.interrupted() {
                break;
            }
        }
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
        let length = slicing.length() - slicing.warm_up();
        let slice = slice(length, &measured.load).after(slicing.warm_up());
        let turn = running.resume().and_then(|()| running.turn(&slice, metric));
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
    fn cost_in_ring(&self, running: &mut Running, measured: &mut Measured) {
        if self.interrupted() || !measured.is_in() {
            return;
        }
        let run = slice(self.effort.cost_run, &measured.load);
        let cost = running.resume().and_then(|()| running.cost_run(&run));
        self.bar.inc(self.effort.cost_run.as_millis() as u64);
        match cost {
            Ok(_) | Err(_) if self.interrupted() => {}
            Ok(cost) => {
                measured.cost_runs.push(cost);
                self.count_syscalls(running, measured);
            }
            Err(error) => measured.fail(error),
        }
        let _ = running.pause();
    }

    /// Every server that takes part, a fresh process for each in every block.
    pub(super) fn blocks(&mut self, sitting: Sitting, measured: &mut [Measured]) {
        let connections = measured.first().map_or(0, |first| first.load.total_connections());
        let blocks = self.effort.blocks_with(connections);
        let blocks = share(blocks, self.effort.passes, sitting.pass);
        let mut order: Vec<usize> = (0..measured.len()).collect();
        for _ in 0..blocks {
            order.shuffle(&mut self.rng);
            for &index in &order {
                let (entrant, ours) = (&self.entrants[index], &mut measured[index]);
                let mut turn = None;
                if ours.is_in() && !self.interrupted() {
                    turn = self.one_run(sitting, entrant, ours).unwrap_or_else(|error| {
                        ours.fail(error);
                        None
                    });
                    self.bar.inc(self.block_ms(&ours.load));
                }
                ours.turns.push(turn);
            }
            if self.interrupted() {
                break;
            }
        }
        self.end_pass(measured);
    }

    /// One server's run in a block; in the first one its system calls are counted too.
    fn one_run(
        &self,
        sitting: Sitting,
        entrant: &Entrant,
        measured: &mut Measured,
    ) -> io::Result<Option<Turn>> {
        let (load, control) = (&measured.load, &self.control);
        if sitting.turns == Turns::Served {
            let server = entrant.start(Duration::ZERO, &sitting.layout.server)?;
            let started = Instant::now();
            let served = clients_served(server.addr().socket_addr()?, load.connections)? as f64;
            let messages_per_s = served / started.elapsed().as_secs_f64();
            return Ok(Some(Turn { messages_per_s, ..Turn::of(served) }));
        }
        let mut running = Running::start(entrant, load, sitting.layout, control, self.seed)?;
        measured.bytes_per_connection.push(running.bytes_per_connection.clone());
        if sitting.turns == Turns::Silence {
            let (turn, cost) = running.silence(self.effort.run)?;
            measured.usage.push(cost.usage.clone());
            measured.cost_runs.push(cost);
            return Ok(Some(turn));
        }
        let slice = slice(self.effort.run, load).after(self.effort.warm_up);
        let (meter, before, answered) = (running.meter(), Usage::now(), control.answered());
        let turn = running.turn(&slice, sitting.metric)?;
        if self.interrupted() {
            return Ok(None);
        }
        let first = measured.cost_runs.is_empty();
        let (usage, cost) = (Usage::now().since(&before), meter.stop());
        let messages = control.answered() - answered;
        measured.usage.push(usage.clone());
        measured.cost_runs.push(CostRun { usage, cost, messages });
        measured.add_latency(running.latency.take());
        if first {
            self.count_syscalls(&mut running, measured);
        }
        Ok(turn)
    }

    /// Messages that arrive by the clock are not counted: a traced server cannot keep up.
    fn count_syscalls(&self, running: &mut Running, measured: &mut Measured) {
        let Measured { load, syscalls, .. } = measured;
        if load.offered_per_s.is_none() {
            *syscalls = running.syscalls(self.traced_messages(load), load);
        }
    }

    /// The capacity of each server in messages per second in a closed loop on the load's
    /// connections, or why it could not be measured.
    pub(super) fn capacities(
        &mut self,
        layout: &Layout,
        load: &LoadInfo,
        skipped: &[Option<String>],
    ) -> Vec<Result<f64, String>> {
        let mut measured = Measured::blank(load, skipped);
        let mut ring = self.ring(layout, &mut measured);
        let slicing = Slicing::of(load, Turns::Slices);
        let rounds = CAPACITY_ROUNDS.min(self.effort.rounds);
        self.rounds(rounds, slicing, Metric::MessagesPerSecond, &mut ring, &mut measured);
        let capacity = |one: Measured| {
            let rate = one.median(|turn| Some(turn.messages_per_s));
            let why = one.skipped.or(one.failure).unwrap_or("no message came back".to_owned());
            rate.ok_or(why)
        };
        measured.into_iter().map(capacity).collect()
    }

    /// What every pass ends with.
    fn end_pass(&self, measured: &mut [Measured]) {
        // The generator runs on this thread, and what is started next would inherit its place.
        let _ = self.home.restore();
        for measured in measured {
            measured.pass_ends.push(measured.turns.len());
            // A server whose turn never came did not fail.
            let never = measured.turns.iter().all(Option::is_none);
            if self.interrupted() && never && measured.is_in() {
                measured.skipped = Some("interrupted before it was measured".to_owned());
            }
        }
    }

    /// Planned time of one run in a block, in milliseconds: what is measured, and what surrounds
    /// it.
    pub(super) fn block_ms(&self, load: &LoadInfo) -> u64 {
        (self.effort.run + self.effort.warm_up).as_millis() as u64 + start_ms(load)
    }

    fn traced_messages(&self, load: &LoadInfo) -> u64 {
        let wanted = self.effort.traced_messages;
        if load.total_connections() > TRACED_FULLY { wanted.min(TRACED_AT_MOST) } else { wanted }
    }
}

/// Planned time of starting a server and opening its connections, in milliseconds.
pub(super) fn start_ms(load: &LoadInfo) -> u64 {
    30 + load.total_connections() as u64 / 8
}

/// So much of a load.
fn slice(duration: Duration, load: &LoadInfo) -> Slice {
    let slice = Slice::lasting(duration);
    match load.offered_per_s {
        Some(rate) => slice.at_rate(Rate::uniform(rate)),
        None => slice,
    }
}

/// The part of `whole` that falls to part number `part` of `parts`.
fn share(whole: usize, parts: usize, part: usize) -> usize {
    whole / parts + usize::from(part < whole % parts)
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
