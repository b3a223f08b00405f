//! Which servers take part where, how they take turns there, and how long it will take.

use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};

use crate::catalogue::Traits;
use crate::entrant::{self, Entrant};

use super::args::{Args, Effort};
use super::judge;
use super::result::{Interleaving, LoadInfo, Method, Origin, Point, Scenario};
use super::run::{Runner, Slicing};
use super::scenario::{SCENARIOS, Scenario as Spec, Turns};

/// Descriptors of the client that are not connections.
const DESCRIPTOR_RESERVE: u64 = 200;
/// Why a server is skipped that the filter leaves out.
pub(super) const NOT_ASKED_FOR: &str = "not asked for";
/// What counting system calls and starting a server take, roughly.
const EXTRA_MS: u64 = 400;

/// A scenario and those of its points at which somebody takes part.
pub(super) struct PlannedScenario {
    spec: &'static Spec,
    points: Vec<PlannedPoint>,
}

struct PlannedPoint {
    x: f64,
    load: LoadInfo,
    turns: Turns,
    /// For each entrant: why it does not take part, if it does not.
    skipped: Vec<Option<String>>,
    planned_ms: u64,
}

/// Prints what would be compared, as criterion prints its list.
pub(super) fn list(args: &Args) {
    let of_workspace = entrant::names_of_workspace(args.all);
    let yardsticks = entrant::names_of_yardsticks().filter(|_| args.yardsticks);
    let mut servers: Vec<(&str, Traits)> = of_workspace.chain(yardsticks).collect();
    servers.extend(args.server.iter().map(|given| (given.name.as_str(), given.traits)));
    for spec in SCENARIOS {
        for x in spec.points(Effort::of(args).few_points) {
            for (name, traits) in &servers {
                let id = spec.id(name, *x);
                let can = entrant::excuse(traits, spec.load(*x).served_at_once()).is_none();
                if can && args.filter.as_ref().is_none_or(|filter| filter.is_match(&id)) {
                    println!("{id}: benchmark");
                }
            }
        }
    }
}

/// Everything that the filter leaves.
pub(super) fn plan(
    args: &Args,
    runner: &Runner,
    positions: (usize, usize),
) -> Vec<PlannedScenario> {
    let plan = SCENARIOS.iter().map(|spec| {
        let points = spec.points(runner.effort.few_points).iter();
        let points = points.filter_map(|x| plan_point(args, runner, spec, *x, positions)).collect();
        PlannedScenario { spec, points }
    });
    plan.filter(|planned| !planned.points.is_empty()).collect()
}

fn plan_point(
    args: &Args,
    runner: &Runner,
    spec: &Spec,
    x: f64,
    (reference, control): (usize, usize),
) -> Option<PlannedPoint> {
    let load = spec.load(x);
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
        if load.work_ns > 0 && entrant.origin == Origin::Given {
            return Some("cannot be told to compute (--work)".to_owned());
        }
        entrant.excuse(load.served_at_once())
    };
    let skipped: Vec<Option<String>> = runner.entrants.iter().enumerate().map(skip).collect();
    let taking_part = skipped.iter().filter(|reason| reason.is_none()).count();
    let turns = turns(spec, x, &load, taking_part);
    let effort = &runner.effort;
    let each_ms = match turns {
        Turns::Slices => {
            let slicing = Slicing::of(&load);
            let rounds = slicing.rounds(effort.rounds) as u64;
            rounds * slicing.length().as_millis() as u64 + effort.cost_run.as_millis() as u64
        }
        _ => effort.blocks as u64 * runner.block_ms(),
    };
    let planned_ms = taking_part as u64 * (each_ms + if args.test { 0 } else { EXTRA_MS });
    wanted.then_some(PlannedPoint { x, load, turns, skipped, planned_ms })
}

/// Slices need all connections of all servers at once, in one client process.
fn turns(spec: &Spec, x: f64, load: &LoadInfo, servers: usize) -> Turns {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let needed = (servers * load.total_connections()) as u64 + DESCRIPTOR_RESERVE;
    match spec.turns_at(x) {
        Turns::Slices if needed > descriptors => Turns::Blocks,
        turns => turns,
    }
}

impl PlannedScenario {
    /// How long it will take, in milliseconds.
    pub(super) fn planned_ms(&self) -> u64 {
        self.points.iter().map(|point| point.planned_ms).sum()
    }

    /// Runs all points, or as many as are finished before someone asks to stop.
    pub(super) fn run(&self, runner: &mut Runner, positions: (usize, usize)) -> Scenario {
        let (spec, started) = (self.spec, Instant::now());
        let mut scenario = Scenario {
            name: spec.name.to_owned(),
            question: spec.question.to_owned(),
            method: self.method(runner),
            axis: spec.axis(),
            metric: spec.metric,
            reference: runner.entrants[positions.0].name.clone(),
            points: Vec::new(),
            fits: Vec::new(),
            notes: Vec::new(),
        };
        for planned in &self.points {
            let label = spec.label(planned.x);
            runner.bar.set_message(format!("{} {label}", spec.name));
            let point = planned.run(spec, label, runner, positions);
            if runner.interrupted() {
                scenario.notes.push("interrupted: some points or blocks are missing".to_owned());
            }
            if point.cases.iter().any(|case| case.value.is_some()) || !runner.interrupted() {
                scenario.points.push(point);
            }
            if runner.interrupted() {
                break;
            }
        }
        if spec.fitted {
            scenario.fits = judge::fits(&scenario);
        }
        scenario.method.elapsed_s = started.elapsed().as_secs_f64();
        scenario
    }

    fn method(&self, runner: &Runner) -> Method {
        let effort = &runner.effort;
        let sliced = self.points.iter().rfind(|point| point.turns == Turns::Slices);
        let blocks = format!(
            "{} randomised complete blocks, a fresh process for each run of {} ms",
            effort.blocks,
            effort.run.as_millis()
        );
        let (interleaving, text) = match sliced {
            Some(point) => {
                let slicing = Slicing::of(&point.load);
                let rounds = slicing.rounds(effort.rounds);
                let (slice_ns, warm_up_ns) =
                    (slicing.length().as_nanos() as u64, slicing.warm_up().as_nanos() as u64);
                let mut text = format!(
                    "All servers live and connected, all but one stopped; {rounds} shuffled rounds \
                     of slices of {} ms, the first {} ms of each not counted.",
                    slicing.length().as_millis(),
                    slicing.warm_up().as_millis()
                );
                if self.points.iter().any(|point| point.turns == Turns::Blocks) {
                    text += &format!(" Where the connections of all do not fit: {blocks}.");
                }
                (Interleaving::Slices { rounds, slice_ns, warm_up_ns }, text)
            }
            None => {
                let run_ns = effort.run.as_nanos() as u64;
                let warm_up_ns = effort.warm_up.as_nanos() as u64;
                let blocks_count = effort.blocks;
                let interleaving =
                    Interleaving::Blocks { blocks: blocks_count, run_ns, warm_up_ns };
                (interleaving, format!("{}.", blocks))
            }
        };
        Method { interleaving, text, elapsed_s: 0.0 }
    }
}

impl PlannedPoint {
    fn run(
        &self,
        spec: &Spec,
        label: String,
        runner: &mut Runner,
        positions: (usize, usize),
    ) -> Point {
        let measured = match self.turns {
            Turns::Slices => runner.slices(spec, &self.load, &self.skipped),
            Turns::Blocks | Turns::Silence => {
                runner.blocks(spec, &self.load, &self.skipped, &vec![None; self.skipped.len()])
            }
            Turns::ShareOfCapacity | Turns::ShareOfSlowest => {
                let mut rates = runner.capacities(&self.load, &self.skipped);
                // The reference and its control are one server, and must be offered the same.
                rates[positions.1] = rates[positions.0];
                if self.turns == Turns::ShareOfSlowest {
                    let slowest = rates.iter().flatten().copied().reduce(f64::min);
                    rates.iter_mut().for_each(|rate| *rate = rate.and(slowest));
                }
                rates.iter_mut().flatten().for_each(|rate| *rate *= self.x);
                let mut skipped = self.skipped.clone();
                for (skipped, rate) in skipped.iter_mut().zip(&rates) {
                    if skipped.is_none() && rate.is_none() {
                        *skipped = Some("its capacity could not be measured".to_owned());
                    }
                }
                runner.blocks(spec, &self.load, &skipped, &rates)
            }
        };
        let place = (self.x, label);
        judge::point(runner.entrants, &measured, place, spec.metric, positions, runner.seed)
    }
}
