//! The scenarios of both benchmarks. Each scenario has a question that it answers.

use std::time::Duration;

use loadgen::Plan;
use server_process::address::Address;

use crate::layout::Layout;
use crate::results::{Axis, LoadInfo, Metric};

/// One question, and the loads that answer it.
pub struct Scenario {
    /// The scenario's name in filters and reports.
    pub name: &'static str,
    pub(crate) question: &'static str,
    /// Name, unit, and whether the chart uses a logarithmic scale.
    axis: (&'static str, &'static str, bool),
    /// The compared metric.
    pub metric: Metric,
    pub(crate) turns: Turns,
    points: &'static [f64],
    few_points: &'static [f64],
    load: fn(f64) -> LoadInfo,
    /// The processors of server and client, unless the command line sets them. `None` if this
    /// process may use too few processors for the layout.
    layout: fn(f64) -> Option<Layout>,
    /// Whether the report fits a straight line to the cost along the axis.
    pub(crate) fitted: bool,
    /// Whether criterion measures the scenario too: a closed loop whose figure is the time of a
    /// message.
    pub criterion: bool,
}

/// How the servers take turns, and the kind of each turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turns {
    /// Closed loop in slices. With more than [`SLICED_CONNECTIONS_MAX`] connections: in blocks.
    Slices,
    /// Closed loop in blocks of fresh processes.
    Blocks,
    /// Open loop in slices. x is the share of each server's own capacity.
    ShareOfCapacity,
    /// Open loop in slices. x is the share of the capacity of the slowest server.
    ShareOfSlowest,
    /// Idle connections, in blocks.
    Silence,
    /// Clients that each send one message and stay connected, in blocks.
    Served,
}

/// With more connections than this, a server takes its turns in blocks. To open the connections and
/// to wake a thread for each connection takes longer than a slice.
pub(crate) const SLICED_CONNECTIONS_MAX: usize = 1500;

/// The kernel chooses the processors of server and client.
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

/// All scenarios, in the order of their runs.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ping_pong",
        question: "How long does a single client wait for each reply, on the server's processor \
                   and on another processor?",
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
        question: "How many messages per second does a server echo with all connections active?",
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
        question: "How much do idle connections slow down 16 active connections?",
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
        question: "How many bytes per second does a server echo at each message size?",
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
        // A new connection costs the client more CPU time than the server. A rate would measure the
        // generator.
        question: "How much CPU time does a client with one message per connection cost?",
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
        question: "How does the latency of scheduled messages grow as a server approaches its own \
                   capacity?",
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
        question: "How long do messages take when every server receives the same rate?",
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
        question: "How much does a request that computes for 1 ms delay the other requests?",
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
        question: "How much do clients that send without reading slow down 16 normal clients?",
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
        question: "How much CPU time does a server use while no client sends?",
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
    /// Returns whether the load is an open loop.
    pub(crate) fn are_open(self) -> bool {
        matches!(self, Turns::ShareOfCapacity | Turns::ShareOfSlowest)
    }

    /// Returns whether the turns are blocks, with a fresh process for each run.
    pub(crate) fn are_blocks(self) -> bool {
        matches!(self, Turns::Blocks | Turns::Silence | Turns::Served)
    }
}

impl Scenario {
    /// Returns the points on the axis: a selection with `few`, otherwise all points.
    pub fn points(&self, few: bool) -> &'static [f64] {
        if few { self.few_points } else { self.points }
    }

    /// Returns the load at the point `x`.
    pub fn load(&self, x: f64) -> LoadInfo {
        (self.load)(x)
    }

    /// Returns the processors of server and client. The layout `given` on the command line takes
    /// precedence. Returns `None` if this process may use too few processors.
    pub fn layout(&self, x: f64, given: &Layout) -> Option<Layout> {
        if *given == Layout::default() { (self.layout)(x) } else { Some(given.clone()) }
    }

    pub(crate) fn axis(&self) -> Axis {
        let (name, unit, log) = self.axis;
        Axis { name: name.to_owned(), unit: unit.to_owned(), log }
    }

    /// Returns how the servers take turns at the point `x`.
    pub(crate) fn turns_at(&self, x: f64) -> Turns {
        let load = self.load(x);
        if self.turns == Turns::Slices && load.total_connections() > SLICED_CONNECTIONS_MAX {
            Turns::Blocks
        } else {
            self.turns
        }
    }

    /// Returns the number of connections that the server must serve at the same time. With fewer,
    /// the load does not proceed.
    pub fn served_at_once(&self, x: f64) -> usize {
        match (self.turns, self.load(x)) {
            // Clients that the server does not serve wait in the backlog.
            (Turns::Served, _) => 1,
            (_, load) if load.churn => 1,
            (_, load) => load.total_connections(),
        }
    }

    /// Returns the point in words.
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

    /// Returns the text that filters match. The form is criterion's form of benchmark names.
    pub(crate) fn id(&self, server: &str, x: f64) -> String {
        format!("{}/{server}/{x}", self.name)
    }
}

/// Returns the plan for `load` on a server at `address`, with the client on the CPUs of `layout`.
pub fn plan_of(load: &LoadInfo, layout: &Layout, address: &Address) -> Plan {
    Plan {
        // A session has at least one connection that can send.
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
