//! Runs the scenarios: in slices, or in randomised complete blocks.

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

/// The length of a slice, and the warm-up at its start that does not count. The warm-up is a fifth
/// of the slice if stopping and continuing the servers is cheap. The warm-up is a larger share if
/// the server must first wake a thousand threads. Slices are longer if an open-loop schedule must
/// start or messages take long.
const SLICE: Slicing = Slicing { length_ms: 20, warm_up_ms: 4 };
const SLICE_CROWDED: Slicing = Slicing { length_ms: 50, warm_up_ms: 20 };
const SLICE_SLOW: Slicing = Slicing { length_ms: 60, warm_up_ms: 20 };
const SLICE_OPEN: Slicing = Slicing { length_ms: 50, warm_up_ms: 10 };
/// With at least this many connections, a ring is crowded.
const CROWDED: usize = 300;
/// With more bytes in flight than this, a 20 ms slice completes too few messages; use the longer
/// slice.
const BULKY: usize = 4 << 20;
/// With more connections than this, at most [`TRACED_AT_MOST`] messages are traced, because a
/// message on each connection takes long.
const TRACED_FULLY: usize = 1000;
const TRACED_AT_MOST: u64 = 200;
/// Rounds of slices that measure the capacity of every server. The median is the capacity.
pub(super) const CAPACITY_ROUNDS: usize = 12;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slicing {
    length_ms: u64,
    warm_up_ms: u64,
}

/// The state that all scenarios share.
pub(super) struct Runner<'a> {
    /// The servers, the control last.
    pub(super) entrants: &'a [Entrant],
    pub(super) effort: Effort,
    pub(super) seed: u64,
    pub(super) control: Arc<Control>,
    pub(super) bar: ProgressBar,
    /// The generator of the random order of turns.
    pub(super) rng: Xoshiro256PlusPlus,
    /// The processors that this thread may use when it is not pinned.
    pub(super) home: Home,
}

/// The parameters of one pass at one point.
#[derive(Clone, Copy)]
pub(super) struct Sitting<'a> {
    pub(super) metric: Metric,
    pub(super) turns: Turns,
    pub(super) layout: &'a Layout,
    /// The number of the pass, from 0.
    pub(super) pass: usize,
}

impl Slicing {
    /// Returns the length and warm-up of slices for this load.
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

    /// Returns the rounds that fit into 1.5 times the duration of `rounds` shortest slices. Returns
    /// at most `rounds`, and at least [`BLOCKS_MIN`] of them if `rounds` is that large.
    pub(super) fn rounds(self, rounds: usize) -> usize {
        let fitting = rounds * 3 * SLICE.length_ms as usize / 2 / self.length_ms as usize;
        fitting.clamp(rounds.min(BLOCKS_MIN), rounds)
    }
}

impl Runner<'_> {
    /// Returns whether a stop was requested.
    pub(super) fn interrupted(&self) -> bool {
        self.control.stop_flag().load(Ordering::Relaxed)
    }

    /// Measures every server that takes part in slices of a few milliseconds. The other servers are
    /// stopped during a slice. The first pass also measures the costs.
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

    /// Starts every server that takes part and connects its clients. Each server is stopped
    /// (SIGSTOP) until its turn.
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

    /// Runs `rounds` rounds in which every server takes one turn, in a new random order.
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

    /// Runs one server's turn in a round. A server that fails leaves the ring.
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
            // An interrupted turn does not count.
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

    /// Measures the costs of a server in a run without stops.
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

    /// Measures every server that takes part in randomised complete blocks. Every block starts a
    /// fresh process for each server.
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

    /// Runs one server in a block. The server's first run also counts its system calls.
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

    /// Counts the system calls of a server in a closed loop. Skips open loops, because a traced
    /// server cannot achieve the offered rate.
    fn count_syscalls(&self, running: &mut Running, measured: &mut Measured) {
        let Measured { load, syscalls, .. } = measured;
        if load.offered_per_s.is_none() {
            *syscalls = running.syscalls(self.traced_messages(load), load);
        }
    }

    /// Measures the capacity of each server in a closed loop on the load's connections. Returns
    /// each capacity in messages per second, or the reason why the measurement failed.
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

    /// Ends a pass: removes the pinning of this thread and records the number of blocks. After an
    /// interruption, marks the servers without a turn as skipped.
    fn end_pass(&self, measured: &mut [Measured]) {
        // The generator pins this thread, and the next server would inherit its CPU affinity.
        let _ = self.home.restore();
        for measured in measured {
            measured.pass_ends.push(measured.turns.len());
            // A server that never had a turn did not fail.
            let never = measured.turns.iter().all(Option::is_none);
            if self.interrupted() && never && measured.is_in() {
                measured.skipped = Some("interrupted before the server's first turn".to_owned());
            }
        }
    }

    /// Returns the planned time of one run in a block, in milliseconds: start, warm-up and
    /// measurement.
    pub(super) fn block_ms(&self, load: &LoadInfo) -> u64 {
        (self.effort.run + self.effort.warm_up).as_millis() as u64 + start_ms(load)
    }

    /// Returns the number of messages to trace under this load.
    fn traced_messages(&self, load: &LoadInfo) -> u64 {
        let wanted = self.effort.traced_messages;
        if load.total_connections() > TRACED_FULLY { wanted.min(TRACED_AT_MOST) } else { wanted }
    }
}

/// Returns the planned time to start a server and open its connections, in milliseconds.
pub(super) fn start_ms(load: &LoadInfo) -> u64 {
    30 + load.total_connections() as u64 / 8
}

/// Returns a slice of this duration, at the offered rate in an open loop.
fn slice(duration: Duration, load: &LoadInfo) -> Slice {
    let slice = Slice::lasting(duration);
    match load.offered_per_s {
        Some(rate) => slice.at_rate(Rate::uniform(rate)),
        None => slice,
    }
}

/// Divides `whole` into `parts` and returns the share of part number `part`.
fn share(whole: usize, parts: usize, part: usize) -> usize {
    whole / parts + usize::from(part < whole % parts)
}

/// Returns a progress bar over the planned time, on stderr. The bar is visible only on a terminal.
pub(super) fn progress_bar(planned_ms: u64) -> ProgressBar {
    let bar = ProgressBar::new(planned_ms);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta:>4} left  {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
