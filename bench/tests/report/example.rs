//! Results that are made up for the tests by simple laws. Nothing here was measured.

use bench::results::*;
use bench::statistics::{Estimate, Verdict};
use server_process::catalogue::{Concurrency, SERVERS};

/// A name that a user may give to a server.
pub(crate) const EVIL: &str = "<script>alert('x')</script>&\"";

const REFERENCE: &str = "epoll-selector";
const CONTROL: &str = "epoll-selector (again)";

/// A whole run with everything that the report can show: skipped, failed, saturated and flagged
/// cases, and costs that are unavailable.
pub(crate) fn results() -> Results {
    let servers = servers();
    let herd = Plan {
        name: "idle_herd",
        question: "What do silent connections cost the ones that talk?",
        metric: Metric::MessagesPerSecond,
        axis: axis("idle connections", "connections", true),
        points: vec![
            (0.0, "0 idle"),
            (300.0, "300 idle"),
            (600.0, "600 idle"),
            (900.0, "900 idle"),
            (10e3, "10000 idle"),
        ],
    };
    let ping_pong = Plan {
        name: "ping_pong",
        question: "How long is one message on its way and back?",
        metric: Metric::LatencyP50,
        axis: axis("processors", "", false),
        points: vec![(1.0, "1 processor"), (2.0, "2 processors")],
    };
    let active = Plan {
        name: "active",
        question: "What do more busy clients bring?",
        metric: Metric::MessagesPerSecond,
        axis: axis("connections", "connections", true),
        points: [1.0, 16.0, 64.0, 256.0].into_iter().zip(["1", "16", "64", "256"]).collect(),
    };
    let payload = Plan {
        name: "payload",
        question: "When does the copying outweigh the model?",
        metric: Metric::BytesPerSecond,
        axis: axis("message size", "bytes", true),
        points: vec![
            (64.0, "64 B"),
            (4096.0, "4 KiB"),
            (65536.0, "64 KiB"),
            (1_048_576.0, "1 MiB"),
        ],
    };
    let offered = Plan {
        name: "offered_load",
        question: "How long do users wait at a load that does not wait for them?",
        metric: Metric::LatencyP50,
        axis: axis("share of own capacity", "", false),
        points: vec![(0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (0.9, "90 %"), (1.1, "110 %")],
    };
    let quiet = Plan {
        name: "quiet",
        question: "What does doing nothing cost?",
        metric: Metric::CpuPerSecond,
        axis: axis("idle connections", "connections", true),
        points: vec![(1000.0, "1000 idle")],
    };
    let served = Plan {
        name: "served",
        question: "How many of 64 clients are served at the same time?",
        metric: Metric::ClientsServed,
        axis: axis("clients", "connections", false),
        points: vec![(64.0, "64 clients")],
    };
    let plans = [ping_pong, active, herd, payload, offered, served, quiet];
    Results {
        schema: SCHEMA,
        started_unix_s: 951_782_400,
        elapsed_s: 612.5,
        complete: true,
        quick: false,
        command: vec!["compare".to_owned(), "--seed".to_owned(), "42".to_owned()],
        seed: 42,
        environment: environment(),
        scenarios: plans.iter().map(|plan| plan.scenario(&servers)).collect(),
        servers,
    }
}

fn servers() -> Vec<ServerInfo> {
    let server = |name: &str, origin| ServerInfo {
        name: name.to_owned(),
        origin,
        command: vec![name.to_owned(), "--addr".to_owned(), "{addr}".to_owned()],
        reference: name == REFERENCE,
        spins: false,
        scans: false,
        concurrency: None,
    };
    let mut servers: Vec<ServerInfo> = SERVERS
        .iter()
        .filter(|entry| !entry.variant)
        .map(|entry| ServerInfo {
            spins: entry.traits.spins,
            scans: entry.traits.scans,
            concurrency: match entry.traits.concurrency {
                Concurrency::Unbounded => None,
                Concurrency::AtMost(limit) => Some(limit),
            },
            ..server(entry.name, Origin::Workspace)
        })
        .collect();
    servers.push(server(CONTROL, Origin::Control));
    servers.push(server("tokio-current-thread", Origin::Yardstick));
    servers.push(server("tokio-multi-thread", Origin::Yardstick));
    servers.push(server(EVIL, Origin::Given));
    servers
}

fn axis(name: &str, unit: &str, log: bool) -> Axis {
    Axis { name: name.to_owned(), unit: unit.to_owned(), log }
}

fn environment() -> Environment {
    Environment {
        kernel: Reading::Measured("Linux 0.0.0-example x86_64".to_owned()),
        cpu_model: Reading::Measured("An Imagined Processor".to_owned()),
        cpus: Reading::Measured(2),
        memory_bytes: Reading::Measured(8 << 30),
        descriptor_limit: Reading::Measured(20_000),
        somaxconn: Reading::Measured(4096),
        congestion_control: Reading::Measured("cubic".to_owned()),
        layout: "unpinned".to_owned(),
        load_before: Reading::Measured(0.1),
        load_after: Reading::Measured(1.9),
        steal_share: Reading::Measured(0.012),
        softirq_share: Reading::unavailable("no /proc/stat here"),
        rustc: Reading::Measured("rustc 0.0.0 (example)".to_owned()),
        version: "0.1.0".to_owned(),
        commit: Reading::unavailable("not a git repository"),
    }
}

/// The plan of a made-up scenario.
struct Plan {
    name: &'static str,
    question: &'static str,
    metric: Metric,
    axis: Axis,
    points: Vec<(f64, &'static str)>,
}

impl Plan {
    fn scenario(&self, servers: &[ServerInfo]) -> Scenario {
        let points = self.points.iter().map(|(x, label)| self.point(servers, *x, label));
        Scenario {
            name: self.name.to_owned(),
            question: self.question.to_owned(),
            method: Method {
                text: "Made up for a test; nothing was measured.".to_owned(),
                passes: 4,
                elapsed_s: 61.0,
            },
            axis: self.axis.clone(),
            metric: self.metric,
            reference: REFERENCE.to_owned(),
            points: points.collect(),
            fits: if self.name == "idle_herd" { fits(servers) } else { vec![] },
            notes: if self.name == "payload" {
                vec!["Two blocks ran while something else kept a processor busy.".to_owned()]
            } else {
                vec![]
            },
        }
    }

    fn point(&self, servers: &[ServerInfo], x: f64, label: &str) -> Point {
        let floor =
            Estimate { median: 0.998, low: 0.984, high: 1.011 + x.log10() / 400.0, blocks: 80 };
        let floor = if floor.high.is_finite() { floor } else { Estimate { high: 1.01, ..floor } };
        let reference = self.value(servers, index_of(servers, REFERENCE), x);
        let cases = (0..servers.len()).map(|index| self.case(servers, index, x, reference));
        let interleaving =
            Interleaving::Slices { rounds: 80, slice_ns: 20_000_000, warm_up_ns: 4_000_000 };
        let label = label.to_owned();
        Point { x, label, interleaving, noise_floor: Some(floor), cases: cases.collect() }
    }

    fn case(&self, servers: &[ServerInfo], index: usize, x: f64, reference: f64) -> Case {
        let server = &servers[index];
        let value = self.value(servers, index, x);
        let outcome = self.outcome(server, x);
        let measured = matches!(outcome, Outcome::Measured | Outcome::Saturated);
        let offered = (self.name == "offered_load").then_some(x * (130e3 - 9e3 * index as f64));
        let latency = value_to_latency(self.metric, value);
        Case {
            server: server.name.clone(),
            load: LoadInfo { offered_per_s: offered, ..LoadInfo::default() },
            blocks: vec![],
            value: measured.then(|| estimate(value)),
            messages_per_s: measured.then(|| offered.map_or(value, |rate| rate / x * x.min(0.98))),
            comparisons: if server.reference || !measured {
                vec![]
            } else {
                compare(self.metric, value / reference, server)
            },
            latency: if measured { vec![curve(latency, offered.is_some())] } else { vec![] },
            cost: measured.then(|| cost(server, index, x)),
            flags: if self.name == "active" && x > 100.0 && index == 1 {
                vec!["the generator was the limit".to_owned()]
            } else {
                vec![]
            },
            outcome,
        }
    }

    fn outcome(&self, server: &ServerInfo, x: f64) -> Outcome {
        if self.name == "offered_load" && x > 1.0 {
            Outcome::Saturated
        } else if self.name == "idle_herd" && server.name == "select" && x > 1000.0 {
            Outcome::Skipped("select(2) ends at descriptor 1023".to_owned())
        } else if !["ping_pong", "served"].contains(&self.name) && server.concurrency == Some(1) {
            Outcome::Skipped("it serves one client at a time".to_owned())
        } else if self.name == "payload" && server.name == EVIL {
            Outcome::Failed("connection reset by <b>peer</b>".to_owned())
        } else {
            Outcome::Measured
        }
    }

    /// The made-up law of the scenario's metric.
    fn value(&self, servers: &[ServerInfo], index: usize, x: f64) -> f64 {
        let own = 1.0 + 0.06 * index as f64;
        match self.metric {
            Metric::MessagesPerSecond if self.name == "idle_herd" => {
                let scan = match (servers[index].scans, servers[index].spins) {
                    (true, true) => 0.5,
                    (true, false) => 0.08,
                    _ => 0.0,
                };
                1e9 / (7000.0 * own + scan * 1000.0 * x)
            }
            Metric::MessagesPerSecond => 120e3 / own * x / (x + 3.0),
            Metric::BytesPerSecond => x * 1e9 / (8000.0 * own + x * 0.6),
            Metric::LatencyP50 if self.name.starts_with("offered") => {
                20e3 * own / (1.02 - x.min(1.0)).powf(1.5)
            }
            Metric::ClientsServed => servers[index].concurrency.map_or(64.0, |limit| limit as f64),
            Metric::CpuPerSecond => [2e3, 0.0, 9.9e8, 4e3, 1e3][index % 5],
            _ => 14e3 * own,
        }
    }
}

fn index_of(servers: &[ServerInfo], name: &str) -> usize {
    servers.iter().position(|server| server.name == name).unwrap()
}

fn estimate(median: f64) -> Estimate {
    Estimate { median, low: median * 0.965, high: median * 1.03, blocks: 80 }
}

fn compare(metric: Metric, ratio: f64, server: &ServerInfo) -> Vec<Comparison> {
    let better = (ratio > 1.0) == metric.more_is_better();
    let verdict = match (ratio - 1.0).abs() < 0.03 || server.name == CONTROL {
        true => Verdict::NotDistinguishable,
        false if better => Verdict::Faster,
        false => Verdict::Slower,
    };
    let ratio = if server.name == CONTROL { 1.002 } else { ratio };
    let ratio = Estimate { median: ratio, low: ratio * 0.985, high: ratio * 1.015, blocks: 80 };
    let unranked =
        server.name.starts_with("tokio-multi").then(|| "the generator was the limit".to_owned());
    vec![
        Comparison { metric, ratio, verdict, unranked },
        Comparison { metric: Metric::MessagesPerCpuSecond, ratio, verdict, unranked: None },
    ]
}

fn value_to_latency(metric: Metric, value: f64) -> f64 {
    match metric {
        Metric::LatencyP50 => value,
        _ => 64e9 / value.max(1.0),
    }
}

fn curve(median: f64, open: bool) -> Latency {
    let quantiles = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
    let grow = |quantile: f64| 0.6 + 0.4 * (1.0f64 / (1.0 - quantile)).powf(0.45);
    let percentile = |quantile| Percentile { quantile, ns: (median * grow(quantile)) as u64 };
    Latency {
        kind: if open { LatencyKind::Response } else { LatencyKind::Service },
        samples: 400_000,
        mean_ns: median * 1.2,
        max_ns: (median * 90.0) as u64,
        percentiles: quantiles.map(percentile).to_vec(),
    }
}

fn cost(server: &ServerInfo, index: usize, x: f64) -> CaseCost {
    let call = |name: &str, per_message| SyscallRate { name: name.to_owned(), per_message };
    let mut calls = vec![call("recvfrom", 1.0), call("sendto", 1.0)];
    match server.name.as_str() {
        "nonblocking" => calls[0].per_message += x,
        "select" => calls.push(call("pselect6", 1.0)),
        "epoll-selector" | CONTROL => calls.push(call("epoll_wait", 1.0)),
        "threadpool" => calls.push(call("futex", 0.02)),
        name if name.starts_with("blocking") => {}
        _ => calls.extend([call("epoll_wait", 0.9), call("epoll_ctl", 0.2), call("brk", 0.05)]),
    }
    let measured = Reading::Measured;
    CaseCost {
        server_cpu_ns_per_message: measured(3500.0 + if server.scans { 40.0 * x } else { 0.0 }),
        server_user_ns_per_message: measured(600.0),
        server_system_ns_per_message: measured(2900.0),
        voluntary_switches_per_message: measured(match server.spins {
            true => 0.0,
            false => 1.0 / (index + 1) as f64,
        }),
        involuntary_switches_per_message: measured(if server.spins { 0.003 } else { 0.001 }),
        syscalls_per_message: if server.name == EVIL {
            Reading::unavailable("ptrace(2): operation not permitted")
        } else {
            Reading::Measured(calls)
        },
        server_cores: measured(0.9),
        client_cores: measured(0.8),
        client_cpu_ns_per_message: measured(2100.0),
        softirq_cores: measured(0.2),
        steal_cores: measured(0.0),
        rss_bytes: measured(3e6),
        peak_rss_bytes: measured(4e6),
        bytes_per_connection: match x >= 900.0 {
            true if index == 1 => measured(9000.0),
            true => measured(180.0 + 40.0 * index as f64),
            false => Reading::unavailable("too few connections to tell"),
        },
        threads: measured(if index == 1 { x + 17.0 } else { 1.0 }),
        processes: measured(1.0),
    }
}

fn fits(servers: &[ServerInfo]) -> Vec<Fit> {
    let fit = |server: &ServerInfo| Fit {
        server: server.name.clone(),
        quantity: "server CPU per message".to_owned(),
        unit: "ns per message and idle connection".to_owned(),
        slope: if server.scans { 40.0 } else { 0.002 },
        slope_low: Some(if server.scans { 37.9 } else { -0.05 }),
        slope_high: Some(if server.scans { 42.1 } else { 0.054 }),
        intercept: 3500.0,
        r_squared: if server.scans { 0.998 } else { 0.1 },
        points: 4,
        left_out: vec![10e3],
    };
    servers.iter().map(fit).collect()
}

/// Makes the reference and the control fail everywhere, so that nothing has a ratio.
pub(crate) fn fail_the_reference(results: &mut Results) {
    for point in results.scenarios.iter_mut().flat_map(|scenario| &mut scenario.points) {
        point.noise_floor = None;
        for case in &mut point.cases {
            case.comparisons.clear();
            if [REFERENCE, CONTROL].contains(&case.server.as_str()) {
                case.outcome = Outcome::Failed("it did not start".to_owned());
                (case.value, case.cost, case.messages_per_s) = (None, None, None);
                case.latency.clear();
            }
        }
    }
}
