//! Plans a comparison: the servers at each point, their way of taking turns, and the planned time.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use server_process::catalogue::Traits;

use crate::entrant::{self, Entrant};
use crate::layout::Layout;
use crate::results::{Interleaving, LoadInfo, Method, NOT_ASKED_FOR, Origin, Scenario};
use crate::scenario::{SCENARIOS, Scenario as Spec, Turns};

use super::args::Args;
use super::effort::Effort;
use super::measured::Measured;
use super::run::{CAPACITY_ROUNDS, Runner, Sitting, Slicing, start_ms};
use super::{judge, served};

/// Descriptors that the client needs for other purposes than connections.
const DESCRIPTOR_RESERVE: u64 = 200;
/// Approximate time to count system calls, in milliseconds.
const COUNTING_MS: u64 = 300;
/// The reason to skip a server if the layout needs more processors than the machine has.
const NO_PROCESSOR: &str = "needs more processors than the machine has";

/// A scenario, its points at which at least one server takes part, and their measurements.
pub(super) struct PlannedScenario {
    spec: &'static Spec,
    points: Vec<PlannedPoint>,
    elapsed: Duration,
}

struct PlannedPoint {
    x: f64,
    load: LoadInfo,
    turns: Turns,
    layout: Layout,
    planned_ms: u64,
    /// The measurements of each entrant.
    measured: Vec<Measured>,
}

/// Returns the cases that would be compared, a line for each, in the format of criterion's list.
pub(super) fn list(args: &Args) -> Vec<String> {
    let servers = names(args);
    let mut list = Vec::new();
    for spec in SCENARIOS {
        for x in spec.points(Effort::of(args).few_points) {
            for (name, traits) in &servers {
                let id = spec.id(name, *x);
                let can = entrant::excuse(traits, spec.served_at_once(*x)).is_none();
                if can && args.filter.as_ref().is_none_or(|filter| filter.is_match(&id)) {
                    list.push(format!("{id}: benchmark"));
                }
            }
        }
    }
    list
}

/// Returns the names and traits of the servers that could take part. Builds no server.
pub(super) fn names(args: &Args) -> Vec<(&str, Traits)> {
    let of_workspace = entrant::names_of_workspace(args.all);
    let yardsticks = entrant::names_of_yardsticks().filter(|_| args.yardsticks);
    let mut servers: Vec<(&str, Traits)> = of_workspace.chain(yardsticks).collect();
    servers.extend(args.server.iter().map(|given| (given.name.as_str(), given.traits)));
    servers
}

/// Returns a line for each scenario with its points: the names that a filter can match.
pub(super) fn points(args: &Args) -> String {
    let few = Effort::of(args).few_points;
    let line = |spec: &Spec| {
        let points: Vec<String> = spec.points(few).iter().map(f64::to_string).collect();
        format!("  {}/SERVER/{{{}}}", spec.name, points.join(","))
    };
    SCENARIOS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the scenarios and points that match the filter.
pub(super) fn plan(
    args: &Args,
    runner: &Runner,
    positions: (usize, usize),
) -> Vec<PlannedScenario> {
    let plan = SCENARIOS.iter().map(|spec| {
        let points = spec.points(runner.effort.few_points).iter();
        let points = points.filter_map(|x| plan_point(args, runner, spec, *x, positions)).collect();
        PlannedScenario { spec, points, elapsed: Duration::ZERO }
    });
    plan.filter(|planned| !planned.points.is_empty()).collect()
}

/// Plans one point. Returns `None` if the filter matches none of its cases.
fn plan_point(
    args: &Args,
    runner: &Runner,
    spec: &Spec,
    x: f64,
    (reference, control): (usize, usize),
) -> Option<PlannedPoint> {
    let load = spec.load(x);
    let layout = spec.layout(x, &args.pin);
    let matches = |entrant: &Entrant| {
        let id = spec.id(&entrant.name, x);
        args.filter.as_ref().is_none_or(|filter| filter.is_match(&id))
    };
    let mut wanted = false;
    let skip = |(index, entrant): (usize, &Entrant)| {
        let chosen = entrant.origin != Origin::Control && matches(entrant);
        wanted |= chosen;
        if !chosen && index != reference && index != control {
            return Some(NOT_ASKED_FOR.to_owned());
        }
        if load.work_ns > 0 && !entrant.announces {
            return Some("has no option to compute (--work)".to_owned());
        }
        if layout.is_none() {
            return Some(NO_PROCESSOR.to_owned());
        }
        entrant.excuse(spec.served_at_once(x))
    };
    let skipped: Vec<Option<String>> = runner.entrants.iter().enumerate().map(skip).collect();
    let taking_part = skipped.iter().filter(|reason| reason.is_none()).count();
    let turns = turns(spec, x, &load, taking_part);
    let effort = &runner.effort;
    let each_ms = if turns.are_blocks() {
        effort.blocks_with(load.total_connections()) as u64 * runner.block_ms(&load)
    } else {
        let slicing = Slicing::of(&load, turns);
        let slice_ms = slicing.length().as_millis() as u64;
        let rounds = slicing.rounds(effort.rounds) as u64;
        let starts = effort.passes as u64 * start_ms(&load);
        let cost_ms = effort.cost_run.as_millis() as u64;
        let closed_ms = Slicing::of(&load, Turns::Slices).length().as_millis() as u64;
        let capacity_ms =
            if turns.are_open() { starts + CAPACITY_ROUNDS as u64 * closed_ms } else { 0 };
        rounds * slice_ms + cost_ms + starts + capacity_ms
    };
    let counting_ms = if args.test { 0 } else { COUNTING_MS };
    let planned_ms = taking_part as u64 * (each_ms + counting_ms);
    let measured = Measured::blank(&load, &skipped);
    let layout = layout.unwrap_or_default();
    wanted.then_some(PlannedPoint { x, load, turns, layout, planned_ms, measured })
}

/// Returns how the servers take turns at a point. Slices need all connections of all servers at the
/// same time, in one client process. If the descriptors are too few for slices, returns blocks.
fn turns(spec: &Spec, x: f64, load: &LoadInfo, servers: usize) -> Turns {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let needed = (servers * load.total_connections()) as u64 + DESCRIPTOR_RESERVE;
    match spec.turns_at(x) {
        Turns::Slices if needed > descriptors => Turns::Blocks,
        turns => turns,
    }
}

impl PlannedScenario {
    /// Returns the planned time of all points in milliseconds.
    pub(super) fn planned_ms(&self) -> u64 {
        self.points.iter().map(|point| point.planned_ms).sum()
    }

    /// Runs one pass over all points. A stop request ends the pass early.
    pub(super) fn pass(&mut self, pass: usize, runner: &mut Runner) {
        let started = Instant::now();
        if self.spec.turns.are_open() {
            self.offer(runner);
        }
        for point in &mut self.points {
            let label = self.spec.label(point.x);
            runner.bar.set_message(format!("{} {label}", self.spec.name));
            point.pass(pass, self.spec, runner);
            if runner.interrupted() {
                break;
            }
        }
        self.elapsed += started.elapsed();
    }

    /// Measures the capacity of each server and sets the rates of an open loop to shares of the
    /// capacity. Every pass measures again, because the machine may be slower or faster by then.
    fn offer(&mut self, runner: &mut Runner) {
        let Some(first) = self.points.first() else { return };
        let left_out = |index: usize| {
            let mut points = self.points.iter();
            let nowhere = points.all(|point| !point.measured[index].is_in());
            nowhere.then(|| NOT_ASKED_FOR.to_owned())
        };
        let skipped: Vec<_> = (0..first.measured.len()).map(left_out).collect();
        let mut capacities = runner.capacities(&first.layout, &first.load, &skipped);
        if self.spec.turns == Turns::ShareOfSlowest {
            let slowest = capacities.iter().flatten().copied().reduce(f64::min);
            let slowest = slowest.unwrap_or_default();
            capacities.iter_mut().flatten().for_each(|capacity| *capacity = slowest);
        }
        for point in &mut self.points {
            for (measured, capacity) in point.measured.iter_mut().zip(&capacities) {
                match capacity {
                    Ok(capacity) => measured.load.offered_per_s = Some(capacity * point.x),
                    Err(why) if measured.is_in() && !runner.interrupted() => {
                        measured.fail(format!("cannot measure the capacity: {why}"));
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Returns the results of all passes, or `None` if no point has a result.
    pub(super) fn summary(
        &self,
        runner: &Runner,
        (reference, control): (usize, usize),
    ) -> Option<Scenario> {
        let spec = self.spec;
        let found = self.points.iter().filter(|point| point.has_result() || !runner.interrupted());
        let points: Vec<_> = found
            .map(|point| {
                let way = point.interleaving(&runner.effort);
                let (place, measured) = ((point.x, spec.label(point.x), way), &point.measured);
                let positions = (reference, control);
                judge::point(runner.entrants, measured, place, spec.metric, positions, runner.seed)
            })
            .collect();
        let mut scenario = Scenario {
            name: spec.name.to_owned(),
            question: spec.question.to_owned(),
            method: self.method(runner),
            axis: spec.axis(),
            metric: spec.metric,
            reference: runner.entrants[reference].name.clone(),
            points,
            fits: Vec::new(),
            notes: Vec::new(),
        };
        if runner.interrupted() {
            scenario.notes.push("interrupted: some points or blocks are missing".to_owned());
        }
        if spec.fitted {
            scenario.fits = judge::fits(&scenario);
        }
        (!scenario.points.is_empty()).then_some(scenario)
    }

    /// Describes how the points were measured: ways of taking turns, passes and layouts.
    fn method(&self, runner: &Runner) -> Method {
        let mut ways: Vec<(Interleaving, Vec<String>)> = Vec::new();
        for point in &self.points {
            let (way, label) = (point.interleaving(&runner.effort), self.spec.label(point.x));
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, labels)) => labels.push(label),
                None => ways.push((way, vec![label])),
            }
        }
        let mut text = match ways.as_slice() {
            [(way, _)] => format!("{way}."),
            ways => {
                let each =
                    ways.iter().map(|(way, labels)| format!("{}: {way}.", labels.join(", ")));
                each.collect::<Vec<_>>().join(" ")
            }
        };
        let passes = runner.effort.passes;
        if passes > 1 {
            text += &format!(" Measured in {passes} passes over all scenarios.");
        }
        let pinned = self.points.iter().filter(|point| point.layout != Layout::default());
        let mut layouts: Vec<String> = pinned.map(|point| point.layout.describe()).collect();
        layouts.dedup();
        if !layouts.is_empty() {
            text += &format!(" Pinned: {}.", layouts.join("; "));
        }
        Method { text, passes, elapsed_s: self.elapsed.as_secs_f64() }
    }
}

impl PlannedPoint {
    /// Returns how the servers take turns at this point.
    fn interleaving(&self, effort: &Effort) -> Interleaving {
        let ns = |duration: Duration| duration.as_nanos() as u64;
        if !self.turns.are_blocks() {
            let slicing = Slicing::of(&self.load, self.turns);
            let (slice_ns, warm_up_ns) = (ns(slicing.length()), ns(slicing.warm_up()));
            let rounds = slicing.rounds(effort.rounds);
            return Interleaving::Slices { rounds, slice_ns, warm_up_ns };
        }
        let (run, warm_up) = match self.turns {
            Turns::Served => (served::PATIENCE, Duration::ZERO),
            Turns::Silence => (effort.run, Duration::ZERO),
            _ => (effort.run, effort.warm_up),
        };
        let blocks = effort.blocks_with(self.load.total_connections());
        Interleaving::Blocks { blocks, run_ns: ns(run), warm_up_ns: ns(warm_up) }
    }

    /// Runs one pass of this point.
    fn pass(&mut self, pass: usize, spec: &Spec, runner: &mut Runner) {
        let (turns, layout) = (self.turns, &self.layout);
        let sitting = Sitting { metric: spec.metric, turns, layout, pass };
        if turns.are_blocks() {
            runner.blocks(sitting, &mut self.measured);
        } else {
            runner.slices(sitting, &mut self.measured);
        }
    }

    /// Returns whether any server has a measured turn or a failure.
    fn has_result(&self) -> bool {
        let measured = |one: &Measured| one.turns.iter().any(Option::is_some);
        self.measured.iter().any(|one| measured(one) || one.failure.is_some())
    }
}
