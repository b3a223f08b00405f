//! What is measured: the scenarios of both benchmarks, each with the question it answers.

use std::time::Duration;

use loadgen::Plan;
use server_process::address::Address;

use crate::layout::Layout;
use crate::results::{Axis, LoadInfo, Metric};

/// One question, and the loads that answer it.
pub struct Scenario {
    /// Its name in filters and reports.
    pub name: &'static str,
    pub(crate) question: &'static str,
    /// Name, unit, and whether it suits a logarithmic scale.
    axis: (&'static str, &'static str, bool),
    /// What is compared.
    pub metric: Metric,
    pub(crate) turns: Turns,
    points: &'static [f64],
    few_points: &'static [f64],
    load: fn(f64) -> LoadInfo,
    /// Where server and client run, unless the command line says; `None` if there are too few
    /// processors for it.
    layout: fn(f64) -> Option<Layout>,
    /// What grows along the axis and is worth a straight line.
    pub(crate) fitted: bool,
    /// Whether criterion measures it too: a closed loop whose figure is the time of a message.
    pub criterion: bool,
}

/// How the servers take turns, and what a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turns {
    /// Closed loop in slices where the connections of all servers fit into one process, else in
    /// blocks.
    Slices,
    /// Closed loop in blocks of fresh processes.
    Blocks,
    /// Open loop in slices; x is the share of each server's own capacity.
    ShareOfCapacity,
    /// Open loop in slices; x is the share of the capacity of the slowest server.
    ShareOfSlowest,
    /// Connections that say nothing, in blocks.
    Silence,
    /// Clients who send one message each and stay, in blocks.
    Served,
}

/// A server with more connections than this takes its turns in blocks: opening them, and waking as
/// many threads, takes longer than a slice.
pub(crate) const SLICED_CONNECTIONS_MAX: usize = 1500;

/// The kernel decides who runs where.
fn anywhere(_: f64) -> Option<Layout> {
    Some(Layout::default())
}

const SMALL: LoadInfo = LoadInfo {
    connections: 1,
    idle: 0,
    slow_readers: 0,
    size_bytes: 64,
    depth: 1,
    offered_per_s: None,
    churn: false,
    work_ns: 0,
};

/// CPU time that each request of `slow_handler` takes.
const SLOW_HANDLER: Duration = Duration::from_millis(1);

/// All of them, in the order they are run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ping_pong",
        question: "How long does one client wait for each message when nobody else is there, on \
                   the server's processor and on its own?",
        axis: ("processors", "", false),
        metric: Metric::LatencyP50,
        turns: Turns::Slices,
        points: &[1.0, 2.0],
        few_points: &[1.0, 2.0],
        load: |_| SMALL,
        layout: |x| Layout::on(x as usize),
        fitted: false,
        criterion: true,
    },
    Scenario {
        name: "active",
        question: "How many messages per second when every connection is busy?",
        axis: ("connections", "connections", true),
        metric: Metric::MessagesPerSecond,
        turns: Turns::Slices,
        points: &[4.0, 16.0, 64.0, 256.0],
        few_points: &[64.0],
        load: |x| LoadInfo { connections: x as usize, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: true,
    },
    Scenario {
        name: "idle_herd",
        question: "What do idle connections cost the 16 that are active?",
        axis: ("idle connections", "connections", true),
        metric: Metric::MessagesPerSecond,
        turns: Turns::Slices,
        points: &[0.0, 100.0, 400.0, 900.0, 10_000.0],
        few_points: &[0.0, 900.0],
        load: |x| LoadInfo { connections: 16, idle: x as usize, ..SMALL },
        layout: anywhere,
        fitted: true,
        criterion: true,
    },
    Scenario {
        name: "payload",
        question: "How many bytes per second, by size of message?",
        axis: ("message size", "bytes", true),
        metric: Metric::BytesPerSecond,
        turns: Turns::Slices,
        points: &[64.0, 4096.0, 65536.0, 1048576.0],
        few_points: &[65536.0],
        load: |x| LoadInfo { connections: 16, size_bytes: x as usize, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: true,
    },
    Scenario {
        name: "churn",
        // Clients come at the price of more CPU time on their side: a rate would be the generator's.
        question: "What does a client cost that connects, sends one message and leaves?",
        axis: ("connections at a time", "connections", false),
        metric: Metric::MessagesPerCpuSecond,
        turns: Turns::Blocks,
        points: &[4.0],
        few_points: &[4.0],
        load: |x| LoadInfo { connections: x as usize, churn: true, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: true,
    },
    Scenario {
        name: "offered_load",
        question: "How long do messages take that arrive by the clock, the closer to its own \
                   capacity a server runs?",
        axis: ("share of own capacity", "", false),
        metric: Metric::LatencyP50,
        turns: Turns::ShareOfCapacity,
        points: &[0.25, 0.5, 0.75, 0.9, 1.25],
        few_points: &[0.5],
        load: |_| LoadInfo { connections: 16, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
    Scenario {
        name: "offered_load_common",
        question: "How long do messages take that arrive at the same rate at every server?",
        axis: ("share of the slowest server's capacity", "", false),
        metric: Metric::LatencyP50,
        turns: Turns::ShareOfSlowest,
        points: &[0.5],
        few_points: &[0.5],
        load: |_| LoadInfo { connections: 16, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
    Scenario {
        name: "slow_handler",
        question: "What does a request that computes for 1 ms do to the others?",
        axis: ("connections", "connections", true),
        metric: Metric::LatencyP50,
        turns: Turns::Slices,
        points: &[1.0, 4.0, 16.0],
        few_points: &[4.0],
        load: |x| LoadInfo {
            connections: x as usize,
            work_ns: SLOW_HANDLER.as_nanos() as u64,
            ..SMALL
        },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
    Scenario {
        name: "slow_readers",
        question: "What do clients that send without reading do to the 16 that behave?",
        axis: ("slow readers", "connections", true),
        metric: Metric::MessagesPerSecond,
        turns: Turns::Slices,
        points: &[16.0, 64.0],
        few_points: &[16.0],
        load: |x| LoadInfo { connections: 16, slow_readers: x as usize, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
    Scenario {
        name: "served",
        question: "How many of 64 clients are served at the same time?",
        axis: ("clients", "connections", false),
        metric: Metric::ClientsServed,
        turns: Turns::Served,
        points: &[64.0],
        few_points: &[64.0],
        load: |x| LoadInfo { connections: x as usize, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
    Scenario {
        name: "quiet",
        question: "What does a server cost while nobody says anything?",
        axis: ("idle connections", "connections", true),
        metric: Metric::CpuPerSecond,
        turns: Turns::Silence,
        points: &[900.0],
        few_points: &[900.0],
        load: |x| LoadInfo { connections: 0, idle: x as usize, ..SMALL },
        layout: anywhere,
        fitted: false,
        criterion: false,
    },
];

impl Turns {
    /// Whether messages are due by the clock.
    pub(crate) fn are_open(self) -> bool {
        matches!(self, Turns::ShareOfCapacity | Turns::ShareOfSlowest)
    }

    /// Whether they are blocks, a fresh process for each run, and not slices.
    pub(crate) fn are_blocks(self) -> bool {
        matches!(self, Turns::Blocks | Turns::Silence | Turns::Served)
    }
}

impl Scenario {
    /// The points on the axis: a `few` of them, or all.
    pub fn points(&self, few: bool) -> &'static [f64] {
        if few { self.few_points } else { self.points }
    }

    /// The load at the point `x`.
    pub fn load(&self, x: f64) -> LoadInfo {
        (self.load)(x)
    }

    /// Where server and client run; `given` on the command line goes before. `None` if there are too few
    /// processors for it.
    pub fn layout(&self, x: f64, given: &Layout) -> Option<Layout> {
        if *given == Layout::default() { (self.layout)(x) } else { Some(given.clone()) }
    }

    pub(crate) fn axis(&self) -> Axis {
        let (name, unit, log) = self.axis;
        Axis { name: name.to_owned(), unit: unit.to_owned(), log }
    }

    /// How the servers take turns at one point.
    pub(crate) fn turns_at(&self, x: f64) -> Turns {
        let load = self.load(x);
        if self.turns == Turns::Slices && load.total_connections() > SLICED_CONNECTIONS_MAX {
            Turns::Blocks
        } else {
            self.turns
        }
    }

    /// Connections that the server must serve at the same time for the load to proceed.
    pub fn served_at_once(&self, x: f64) -> usize {
        match (self.turns, self.load(x)) {
            // Without places for all, these merely wait in the backlog.
            (Turns::Served, _) => 1,
            (_, load) if load.churn => 1,
            (_, load) => load.total_connections(),
        }
    }

    /// The point in words.
    pub(crate) fn label(&self, x: f64) -> String {
        match (self.name, self.turns) {
            (_, Turns::ShareOfCapacity | Turns::ShareOfSlowest) => format!("{:.0} %", x * 100.0),
            ("idle_herd" | "quiet", _) => format!("{x} idle"),
            ("served", _) => format!("{x} clients"),
            ("slow_readers", _) => format!("{x} slow"),
            ("ping_pong", _) if x == 1.0 => "1 processor".to_owned(),
            ("ping_pong", _) => format!("{x} processors"),
            ("payload", _) if x >= 1048576.0 => format!("{} MiB", x / 1048576.0),
            ("payload", _) if x >= 1024.0 => format!("{} KiB", x / 1024.0),
            ("payload", _) => format!("{x} B"),
            _ if x == 1.0 => "1 connection".to_owned(),
            _ => format!("{x} connections"),
        }
    }

    /// What filters match: as criterion names its benchmarks.
    pub(crate) fn id(&self, server: &str, x: f64) -> String {
        format!("{}/{server}/{x}", self.name)
    }
}

/// The connections of `load` to a server at `address`, with the client where `layout` has it.
pub fn plan_of(load: &LoadInfo, layout: &Layout, address: &Address) -> Plan {
    Plan {
        // A session has at least one connection that could talk.
        connections: load.connections.max(1),
        idle: if load.connections == 0 { load.idle.saturating_sub(1) } else { load.idle },
        slow_readers: load.slow_readers,
        size: load.size_bytes,
        depth: load.depth,
        churn: load.churn,
        pin: layout.client.clone(),
        ..Plan::new(address.clone())
    }
}
