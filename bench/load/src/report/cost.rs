//! The CPU time of a run: of the generator, of the server, and of everything else.

use std::time::Duration;

use serde::Serialize;

use crate::{Latency, MachineUse, Sample, ServerSide, Slice};

/// The CPU time of the generator.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// CPU time in user space, of all threads.
    pub user_seconds: f64,
    /// CPU time in the kernel, of all threads.
    pub system_seconds: f64,
    /// CPU time for one message. Time and messages include warm-up and drain.
    pub cpu_ns_per_message: Option<f64>,
    /// Share of one core that the busiest thread used.
    pub busiest_thread: f64,
    /// Whether a thread used a whole core. Then the generator was the limit. `null` for a generator
    /// that spins on request.
    pub saturated: Option<bool>,
    /// Share of the time that a thread was ready to run and waited for a core.
    pub waited: Option<f64>,
    /// Whether that share is so large that other programs delayed the messages; `null` if the share
    /// is unavailable.
    pub starved: Option<bool>,
    /// Whether the median of `own_lateness` is more than a tenth of the median response time. Then
    /// the response times are those of the generator. `null` in a closed loop.
    pub late: Option<bool>,
    /// Context switches because a thread waited.
    pub voluntary_switches: u64,
    /// Context switches because another thread wanted the core.
    pub involuntary_switches: u64,
}

/// The CPU time of the server, of its children, and of its children that have ended.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Where the server runs. Its CPU time is available if that is here.
    pub location: Location,
    /// The processes that were given, or that hold the listening socket.
    pub pids: Vec<i32>,
    /// CPU time, warm-up and drain included.
    pub cpu_seconds: Option<f64>,
    /// CPU time as a number of cores that were busy all the time.
    pub cores: Option<f64>,
    /// CPU time for one message. Time and messages include warm-up and drain.
    pub cpu_ns_per_message: Option<f64>,
    /// CPU time of server and client for one message. On loopback, the sender's CPU time contains
    /// the receive processing, so only the sum compares servers.
    pub with_client_cpu_ns_per_message: Option<f64>,
}

/// Where the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Location {
    /// On this machine, in known processes.
    Here,
    /// On another machine.
    Elsewhere,
    /// On this machine, but no process is visible that holds the listening socket.
    Unknown,
}

/// The machine of the generator during the run, warm-up and drain included. A number of cores says
/// how many would have been busy all the time.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that programs other than the generator and the server used.
    pub others_cores: Option<f64>,
    /// Cores that the hypervisor kept from this machine.
    pub steal_cores: Option<f64>,
    /// Cores that interrupts and soft interrupts used.
    pub interrupt_cores: Option<f64>,
    /// Whether others or steal used more than a twentieth of a core.
    pub disturbed: Option<bool>,
}

impl Client {
    pub(super) fn of(sample: &Sample, slice: &Slice, latency: &Latency) -> Client {
        let cpu = &sample.cpu;
        Client {
            user_seconds: cpu.user.as_secs_f64(),
            system_seconds: cpu.system.as_secs_f64(),
            cpu_ns_per_message: per_message(cpu.total(), sample.answered),
            busiest_thread: cpu.busiest_thread,
            saturated: (!slice.rate.is_some_and(|rate| rate.spin)).then(|| cpu.saturated()),
            waited: cpu.waited,
            starved: cpu.waited.map(|_| cpu.starved()),
            late: latency.is_late(),
            voluntary_switches: cpu.voluntary_switches,
            involuntary_switches: cpu.involuntary_switches,
        }
    }
}

impl Server {
    pub(super) fn of(side: &ServerSide, machine: &MachineUse, client: &Client) -> Server {
        let (location, pids) = match side {
            ServerSide::Here(pids) => (Location::Here, pids.as_slice()),
            ServerSide::Elsewhere => (Location::Elsewhere, [].as_slice()),
            ServerSide::Unknown => (Location::Unknown, [].as_slice()),
        };
        let cpu = machine.server;
        let cpu_ns_per_message = cpu.and_then(|cpu| per_message(cpu, machine.messages));
        let both = cpu_ns_per_message.zip(client.cpu_ns_per_message);
        Server {
            location,
            pids: pids.iter().map(|pid| pid.as_raw()).collect(),
            cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
            cores: cpu.map(|cpu| machine.cores(cpu)),
            cpu_ns_per_message,
            with_client_cpu_ns_per_message: both.map(|(server, client)| server + client),
        }
    }
}

impl Machine {
    pub(super) fn of(machine: &MachineUse) -> Machine {
        let cores = |time: Option<Duration>| time.map(|time| machine.cores(time));
        Machine {
            others_cores: cores(machine.others),
            steal_cores: cores(machine.steal),
            interrupt_cores: cores(machine.interrupts),
            disturbed: machine.disturbed(),
        }
    }
}

fn per_message(time: Duration, messages: u64) -> Option<f64> {
    (messages > 0).then(|| time.as_nanos() as f64 / messages as f64)
}
