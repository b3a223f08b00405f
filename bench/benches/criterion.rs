//! Measures the servers with criterion: groups are scenarios, functions are servers.
//!
//! ```text
//! cargo bench --bench criterion                         # everything, at most 10 minutes
//! cargo bench --bench criterion -- --quick              # fewer points, at most 2 minutes
//! cargo bench --bench criterion -- 'idle_herd.*select'  # matching cases
//! ```
//!
//! Criterion detects whether one server changed between two runs (`--save-baseline`, `--baseline`).
//! Criterion measures the servers one after the other, so its results cannot rank servers on a
//! noisy machine. Use `compare` to rank servers. Criterion also times samples, not single messages.
//! This benchmark therefore records the percentiles of single messages itself, and prints them at
//! the end.
//!
//! The servers come from the catalogue, one for each package. With ECHO_BENCH_ALL=1 in the
//! environment, every variant is measured.

use std::env;
use std::io;
use std::process::{ExitCode, exit};
use std::time::Duration;

use bench::bench_args;
use bench::entrant::{self, Entrant};
use bench::layout::{Home, Layout};
use bench::report::terminal;
use bench::results::{LoadInfo, Metric};
use bench::scenario::{SCENARIOS, plan_of};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use loadgen::report::duration;
use loadgen::{Session, Slice};
use server_process::catalogue::Traits;
use server_process::process::{Process, raise_descriptor_limit};

/// Time of warm-up and of measurement for a case. About 100 cases must fit into 10 minutes.
const WARM_UP: Duration = Duration::from_millis(800);
const MEASUREMENT: Duration = Duration::from_millis(3000);
/// The longest measurement of a case with `--quick`, which has no warm-up.
const MEASUREMENT_QUICK: Duration = Duration::from_millis(300);
/// Timeout to stop a server; then the server is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The percentiles that were recorded for a case.
struct Percentiles {
    scenario: &'static str,
    server: String,
    point: f64,
    messages: u64,
    /// p50, p90, p99, p99.9 and the maximum in nanoseconds.
    ns: [u64; 5],
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let Some(flag) = bench_args::compare_only(&args) {
        eprintln!(
            "criterion does nothing: {flag} is a flag of compare (cargo bench --bench compare)"
        );
        return ExitCode::SUCCESS;
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let quick = has("--quick");
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(if quick { MEASUREMENT_QUICK } else { MEASUREMENT })
        .sample_size(20)
        .nresamples(10_000)
        .noise_threshold(0.05)
        .configure_from_args();
    match run(&mut criterion, quick, has("--list")) {
        Ok(recorded) => {
            criterion.final_summary();
            if !has("--test") {
                print_percentiles(&recorded);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all cases that the filter matches. Returns their percentiles.
fn run(criterion: &mut Criterion, quick: bool, list_only: bool) -> io::Result<Vec<Percentiles>> {
    let all = env::var_os("ECHO_BENCH_ALL").is_some();
    raise_descriptor_limit()?;
    let home = Home::of_this_thread()?;
    let entrants = if list_only { Vec::new() } else { entrant::of_workspace(all)? };
    let names: Vec<(&str, Traits)> = entrant::names_of_workspace(all).collect();
    let mut recorded = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.criterion) {
        let mut group = criterion.benchmark_group(scenario.name);
        group.sampling_mode(SamplingMode::Flat);
        for point in scenario.points(quick) {
            // A point is skipped if its layout needs more processors than the machine has.
            let Some(layout) = scenario.layout(*point, &Layout::default()) else { continue };
            let load = scenario.load(*point);
            group.throughput(match scenario.metric {
                Metric::BytesPerSecond => {
                    Throughput::Bytes((load.connections * load.size_bytes) as u64)
                }
                _ => Throughput::Elements(load.connections as u64),
            });
            for (name, traits) in &names {
                // `of_workspace` has left out the servers that cannot run here, and has printed a
                // line for each. With --list, no server is built and no server is started.
                let entrant = entrants.iter().find(|entrant| entrant.name == *name);
                let can = entrant::excuse(traits, scenario.served_at_once(*point)).is_none();
                if can && (list_only || entrant.is_some()) {
                    let id = BenchmarkId::new(*name, point);
                    let case = measure(&mut group, id, entrant, &load, &layout);
                    home.restore()?;
                    recorded.extend(case.map(|(messages, ns)| Percentiles {
                        scenario: scenario.name,
                        server: (*name).to_owned(),
                        point: *point,
                        messages,
                        ns,
                    }));
                }
            }
        }
        group.finish();
    }
    Ok(recorded)
}

/// Measures one case: starts a server, opens the connections, and runs the rounds that criterion
/// requests. A round is one message on each active connection, so a single round is a valid
/// measurement: criterion warms up with 1, 2, 4 … rounds. Returns the number of messages and their
/// percentiles, or `None` if the filter left the case out.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    entrant: Option<&Entrant>,
    load: &LoadInfo,
    layout: &Layout,
) -> Option<(u64, [u64; 5])> {
    let mut started: Option<(Process, Session)> = None;
    let mut rounds_before = 0;
    group.bench_function(id, |bencher| {
        let Some(entrant) = entrant else { return };
        bencher.iter_custom(|rounds| {
            let (_, session) = started.get_or_insert_with(|| {
                start(entrant, load, layout).unwrap_or_else(|error| fail(entrant, &error))
            });
            // All samples have the same number of rounds. A different number means warm-up.
            if rounds != rounds_before {
                session.clear();
                rounds_before = rounds;
            }
            let slice = Slice::of_messages(rounds * load.connections as u64);
            match session.run(&slice) {
                Ok(sample) if sample.faults.total() == 0 => sample.elapsed,
                Ok(sample) => {
                    let place = session.first_fault().unwrap_or_default();
                    fail(entrant, &io::Error::other(format!("{}: {place}", sample.faults)))
                }
                Err(error) => fail(entrant, &error.into()),
            }
        });
    });
    let (process, mut session) = started?;
    let times = &session.latency().response;
    let ns = [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| times.value_at_quantile(quantile));
    let messages = times.len();
    drop(session);
    if let (Err(error), Some(entrant)) = (process.stop(STOP_LIMIT), entrant) {
        fail(entrant, &error.into());
    }
    Some((messages, ns))
}

/// Starts a server and opens its connections.
fn start(entrant: &Entrant, load: &LoadInfo, layout: &Layout) -> io::Result<(Process, Session)> {
    let process = entrant.start(Duration::ZERO, &layout.server)?;
    let session = Session::open(&plan_of(load, layout, process.addr()))?;
    Ok((process, session))
}

/// Prints the error and ends the process. Criterion has no way to report a failed case, and any
/// number would be false. The kernel ends the server when this process ends.
fn fail(entrant: &Entrant, error: &io::Error) -> ! {
    eprintln!("error: {}: {error}", entrant.name);
    exit(1)
}

/// Prints a table of the percentiles for each scenario.
fn print_percentiles(recorded: &[Percentiles]) {
    const HEADS: [&str; 8] = ["server", "point", "messages", "p50", "p90", "p99", "p99.9", "max"];
    for scenario in SCENARIOS {
        let of_scenario = recorded.iter().filter(|case| case.scenario == scenario.name);
        let rows = of_scenario.map(|case| {
            let mut row =
                vec![case.server.clone(), case.point.to_string(), case.messages.to_string()];
            // A percentile is valid only with enough samples beyond it.
            let supported = [10, 100, 1_000, 10_000, 1];
            row.extend(case.ns.iter().zip(supported).map(|(ns, needed)| {
                if case.messages >= needed { duration(*ns) } else { "-".to_owned() }
            }));
            row
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if !rows.is_empty() {
            let title =
                format!("{}: time of one message, recorded in the samples above", scenario.name);
            terminal::print_table(&title, &HEADS, &[0, 1, 3, 5, 6, 7, 4, 2], &rows);
        }
    }
}
