//! Tests of the evaluation and the reports with simulated measurements.

use server_process::catalogue::SERVERS;

use crate::baseline;
use crate::cost::{Cost, Reading, Usage};
use crate::entrant::Entrant;
use crate::layout::Layout;
use crate::report::terminal;
use crate::results::{
    Axis, Environment, Interleaving, LoadInfo, Method, Metric, Origin, Outcome, Point, Results,
    SCHEMA, Scenario, ServerInfo,
};
use crate::statistics::Verdict;

use super::measured::Measured;
use super::turn::{CostRun, Turn};
use super::{environment, judge, look_at};

const BLOCKS: usize = 20;
const INTERLEAVING: Interleaving =
    Interleaving::Blocks { blocks: BLOCKS, run_ns: 1, warm_up_ns: 1 };

fn entrant(name: &str, origin: Origin) -> Entrant {
    let command = vec!["server".to_owned(), "{addr}".to_owned()];
    Entrant { name: name.to_owned(), origin, traits: SERVERS[0].traits, command, announces: true }
}

/// Returns the measurements of a server with this rate. The blocks differ by a deterministic half
/// per cent. `server` and `client` are the shares of a core that server and generator use.
fn measured(rate: f64, shift: usize, (server, client): (f64, f64)) -> Measured {
    let turn = |block: usize| Turn {
        value: rate * (1.0 + 0.005 * (((block + shift) % 5) as f64 - 2.0) / 2.0),
        messages_per_s: rate,
        offered_per_s: None,
        per_cpu_s: Some(rate / server),
        server_cores: Some(server),
        client_busy: client,
        client_ns_per_message: Some(client * 1e9 / rate),
    };
    let load = LoadInfo { connections: 64, size_bytes: 64, depth: 1, ..LoadInfo::default() };
    Measured {
        turns: (0..BLOCKS).map(|block| Some(turn(block))).collect(),
        pass_ends: vec![BLOCKS / 2, BLOCKS],
        ..Measured::nothing(load, None)
    }
}

/// Returns a point with three servers: a reference with 100 000 messages per second, its control,
/// and a server with `rate`.
fn point(rate: f64, busy: (f64, f64)) -> Point {
    let names = [
        ("base", Origin::Workspace),
        ("other", Origin::Workspace),
        ("base (again)", Origin::Control),
    ];
    let entrants = names.map(|(name, origin)| entrant(name, origin));
    let all =
        [measured(1e5, 0, (0.95, 0.8)), measured(rate, 2, busy), measured(1e5, 3, (0.95, 0.8))];
    let place = (64.0, "64 connections".to_owned(), INTERLEAVING);
    judge::point(&entrants, &all, place, Metric::MessagesPerSecond, (0, 2), 1)
}

fn results(point: Point) -> Results {
    let environment: Environment = environment::before(&Layout::default());
    let server = |name: &str, origin| ServerInfo {
        name: name.to_owned(),
        origin,
        command: Vec::new(),
        reference: name == "base",
        spins: false,
        scans: false,
        concurrency: None,
    };
    let axis = Axis { name: "connections".to_owned(), unit: "connections".to_owned(), log: true };
    Results {
        schema: SCHEMA,
        started_unix_s: 0,
        elapsed_s: 1.0,
        complete: true,
        quick: false,
        command: Vec::new(),
        seed: 1,
        environment,
        servers: vec![
            server("base", Origin::Workspace),
            server("other", Origin::Workspace),
            server("base (again)", Origin::Control),
        ],
        scenarios: vec![Scenario {
            name: "active".to_owned(),
            question: "How fast?".to_owned(),
            method: Method { text: String::new(), passes: 2, elapsed_s: 1.0 },
            axis,
            metric: Metric::MessagesPerSecond,
            reference: "base".to_owned(),
            points: vec![point],
            fits: Vec::new(),
            notes: Vec::new(),
        }],
    }
}

#[test]
fn a_slower_server_is_called_so_and_the_control_is_not() {
    let point = point(9e4, (0.95, 0.8));
    let verdicts: Vec<_> =
        point.cases.iter().map(|case| case.comparisons.first().map(|c| c.verdict)).collect();
    assert_eq!(verdicts, [None, Some(Verdict::Slower), Some(Verdict::NotDistinguishable)]);
    assert!(point.noise_floor.unwrap().strays() < 1.02);
}

#[test]
fn a_server_is_not_ranked_by_its_rate_when_the_generator_was_the_limit() {
    let point = point(9e4, (0.5, 0.99));
    let comparisons = &point.cases[1].comparisons;
    assert!(comparisons[0].unranked.as_ref().unwrap().contains("generator was the limit"));
    assert_eq!(comparisons[0].verdict, Verdict::NotDistinguishable);
    // The ranking by the server's own CPU time is still valid.
    assert_eq!(comparisons[1].metric, Metric::MessagesPerCpuSecond);
    assert_eq!((comparisons[1].verdict, &comparisons[1].unranked), (Verdict::Faster, &None));
}

#[test]
fn an_offered_rate_that_was_not_achieved_is_saturation_or_the_generators_fault() {
    let outcome = |busy| {
        let mut late = measured(9e4, 0, busy);
        late.turns.iter_mut().flatten().for_each(|turn| turn.offered_per_s = Some(1e5));
        let entrants = [entrant("base", Origin::Workspace)];
        let place = (1.0, "100 %".to_owned(), INTERLEAVING);
        let point = judge::point(&entrants, &[late], place, Metric::LatencyP50, (0, 0), 1);
        point.cases[0].outcome.clone()
    };
    assert_eq!(outcome((0.98, 0.7)), Outcome::Saturated);
    assert!(matches!(outcome((0.4, 0.99)), Outcome::Invalid(_)));
}

#[test]
fn a_regression_against_the_baseline_is_found_and_equality_is_not_one() {
    let then = results(point(1e5, (0.95, 0.8)));
    let (found, compared) = baseline::regressions(&then, &then);
    assert_eq!((found.len(), compared), (0, 1), "{found:?}");
    let (found, _) = baseline::regressions(&results(point(9e4, (0.95, 0.8))), &then);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("active/other/64 connections: messages/s"), "{found:?}");
    let (found, _) = baseline::regressions(&results(point(11e4, (0.95, 0.8))), &then);
    assert!(found.is_empty(), "{found:?}");
}

/// Returns a point of one server. Its CPU time per message is 5000 ns, and 22 ns more for each idle
/// connection.
fn scanned(idle: f64, interleaving: Interleaving) -> Point {
    let none = Reading::unavailable("not in this test");
    let cost = Cost {
        cpu: Reading::unavailable("measured in the turns"),
        user: Reading::unavailable("not in this test"),
        voluntary_switches: none.clone(),
        involuntary_switches: none.clone(),
        rss: none.clone(),
        peak_rss: none.clone(),
        growth: Reading::unavailable("not in this test"),
        threads: none.clone(),
        processes: none,
    };
    let mut measured = measured(1e5, 0, (0.95, 0.8));
    measured.cost_runs.push(CostRun { cost, usage: Usage::now(), messages: 1 });
    let per_cpu_s = 1e9 / (5000.0 + 22.0 * idle);
    measured.turns.iter_mut().flatten().for_each(|turn| turn.per_cpu_s = Some(per_cpu_s));
    let entrants = [entrant("base", Origin::Workspace)];
    let place = (idle, format!("{idle} idle"), interleaving);
    judge::point(&entrants, &[measured], place, Metric::MessagesPerSecond, (0, 0), 1)
}

#[test]
fn a_line_has_only_points_with_the_same_turns_and_of_moderate_leverage() {
    let slices = |slice_ns| Interleaving::Slices { rounds: 20, slice_ns, warm_up_ns: 4 };
    let mut scenario = results(scanned(0.0, slices(20))).scenarios.remove(0);
    scenario.points.extend([300.0, 600.0, 900.0].map(|idle| scanned(idle, slices(20))));
    scenario.points.extend([scanned(1200.0, slices(50)), scanned(10_000.0, slices(20))]);
    let fit = judge::fits(&scenario).remove(0);
    assert!((fit.slope - 22.0).abs() < 1e-6 && (fit.intercept - 5000.0).abs() < 1e-3, "{fit:?}");
    assert_eq!((fit.points, fit.left_out), (4, vec![10_000.0, 1200.0]));
    scenario.points.remove(1);
    assert!(judge::fits(&scenario).is_empty());
}

#[test]
fn what_happens_to_all_is_said_once() {
    let mut point = point(9e4, (0.95, 0.8));
    point.cases.iter_mut().for_each(|case| case.flags = vec!["a bad moment".to_owned()]);
    let text = terminal::text(&results(point).scenarios[0], None);
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(text.contains("\n! base, other, base (again): a bad moment\n"), "{text}");
    assert_eq!(text.matches("a bad moment").count(), 1, "{text}");
}

#[test]
fn the_reports_can_be_read_again() {
    let dir = std::env::temp_dir().join(format!("compare-test-{}", std::process::id()));
    let results = results(point(9e4, (0.95, 0.8)));
    results.write(&dir).unwrap();
    let read = Results::read(&dir.join("report.json"));
    let csv = std::fs::read_to_string(dir.join("report.csv"));
    std::fs::remove_dir_all(&dir).unwrap();
    let text = |results: &Results| serde_json::to_string(results).unwrap();
    assert_eq!(text(&read.unwrap()), text(&results));
    let csv = csv.unwrap();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [columns[0]; 4]);
}

#[test]
fn a_given_server_that_is_none_is_refused_by_name_before_anything_is_measured() {
    let given = crate::entrant::given("mine=false {addr}").unwrap();
    let complaint = look_at(&given).unwrap_err().to_string();
    assert!(complaint.starts_with("--server mine: false ended before it listened"), "{complaint}");
}
