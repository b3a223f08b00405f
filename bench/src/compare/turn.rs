//! A running server with connected clients, and one turn of the server.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use loadgen::{Control, Latency, Plan, Sample, Session, Slice};
use nix::sys::signal::{Signal, killpg};
use server_process::catalogue::PerClient;
use server_process::process::Process;

use crate::cost::syscalls::Tracer;
use crate::cost::{Cost, CpuClock, Meter, Reading, Usage};
use crate::entrant::Entrant;
use crate::layout::Layout;
use crate::results::{LoadInfo, Metric, SyscallRate};
use crate::scenario::plan_of;

/// With fewer connections, the memory growth of a server does not show the memory per connection.
const CONNECTIONS_MIN: usize = 100;

/// Messages between the attachment of the tracer and the start of its count.
const TRACED_WARM_UP: u64 = 20;

/// The measurements of one turn.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// The scenario's metric.
    pub(super) value: f64,
    /// Messages per second.
    pub(super) messages_per_s: f64,
    /// Messages offered per second, in an open loop.
    pub(super) offered_per_s: Option<f64>,
    /// Messages per second of the server's CPU time. Both include warm-up and drain.
    pub(super) per_cpu_s: Option<f64>,
    /// The number of processors that the server kept busy.
    pub(super) server_cores: Option<f64>,
    /// Share of a core that the busiest generator thread used.
    pub(super) client_busy: f64,
    /// The generator's CPU time per message in nanoseconds.
    pub(super) client_ns_per_message: Option<f64>,
}

/// The costs of an uninterrupted run.
#[derive(Clone, Debug)]
pub(super) struct CostRun {
    pub(super) cost: Cost,
    pub(super) usage: Usage,
    pub(super) messages: u64,
}

/// A running server with its clients.
pub(super) struct Running {
    // The first field is dropped first: the clients disconnect before the server is killed.
    session: Option<Session>,
    process: Process,
    clock: CpuClock,
    control: Arc<Control>,
    /// Memory that each connection added, in bytes.
    pub(super) bytes_per_connection: Reading<f64>,
    /// The latencies of all turns together.
    pub(super) latency: Option<Latency>,
}

impl Turn {
    /// Returns a turn without a load: it has only the scenario's metric.
    pub(super) fn of(value: f64) -> Turn {
        Turn {
            value,
            messages_per_s: 0.0,
            offered_per_s: None,
            per_cpu_s: None,
            server_cores: None,
            client_busy: 0.0,
            client_ns_per_message: None,
        }
    }
}

impl Running {
    /// Starts the server and connects its clients.
    pub(super) fn start(
        entrant: &Entrant,
        load: &LoadInfo,
        layout: &Layout,
        control: &Arc<Control>,
        seed: u64,
    ) -> io::Result<Running> {
        let work = Duration::from_nanos(load.work_ns);
        let process = entrant.start(work, &layout.server)?;
        let meter = Meter::start(process.pid());
        let control = Arc::clone(control);
        let plan = Plan { seed, control, ..plan_of(load, layout, process.addr()) };
        let mut session = Session::open(&plan)?;
        if !load.churn {
            // When the last connections have an echo, the server has accepted every connection.
            let sample = session.run(&Slice::of_messages(plan.connections as u64))?;
            complain(&sample, &session.first_fault())?;
        }
        let connections = load.total_connections();
        let bytes_per_connection = if connections < CONNECTIONS_MIN || load.churn {
            Reading::unavailable("too few connections to measure")
        } else {
            meter.stop().growth.map(|growth| growth as f64 / connections as f64)
        };
        Ok(Running {
            session: Some(session),
            clock: CpuClock::of(process.pid(), entrant.traits.per_client == PerClient::Process)?,
            process,
            control: plan.control,
            bytes_per_connection,
            latency: None,
        })
    }

    /// Stops the server and all its children (SIGSTOP), so that another server can use the whole
    /// machine.
    pub(super) fn pause(&self) -> io::Result<()> {
        Ok(killpg(self.process.pid(), Signal::SIGSTOP)?)
    }

    /// Continues a stopped server (SIGCONT).
    pub(super) fn resume(&self) -> io::Result<()> {
        Ok(killpg(self.process.pid(), Signal::SIGCONT)?)
    }

    /// Starts to measure the process tree.
    pub(super) fn meter(&self) -> Meter {
        Meter::start(self.process.pid())
    }

    /// Runs one slice and returns its measurements as a turn. Returns `None` if no message came
    /// back in the slice.
    ///
    /// # Errors
    ///
    /// Fails on any fault of any connection.
    pub(super) fn turn(&mut self, slice: &Slice, metric: Metric) -> io::Result<Option<Turn>> {
        let Some(session) = &mut self.session else { return Err(io::Error::other("no clients")) };
        session.clear();
        let (started, answered) = (Instant::now(), self.control.answered());
        let cpu_before = self.clock.now();
        let sample = session.run(slice)?;
        let (cpu_after, elapsed) = (self.clock.now(), started.elapsed());
        complain(&sample, &session.first_fault())?;
        let all_messages = self.control.answered() - answered;
        let cpu = cpu_before.and_then(|before| Ok(cpu_after?.saturating_sub(before)));
        let cpu = cpu.ok().filter(|cpu| !cpu.is_zero());
        let latency = session.latency();
        let turn = Turn {
            value: match metric {
                Metric::MessagesPerSecond => sample.rate(),
                Metric::BytesPerSecond => sample.bytes as f64 / sample.elapsed.as_secs_f64(),
                Metric::LatencyP50 => latency.response.value_at_quantile(0.5) as f64,
                Metric::MessagesPerCpuSecond => {
                    all_messages as f64 / cpu.unwrap_or_default().as_secs_f64()
                }
                Metric::CpuPerSecond | Metric::ClientsServed => {
                    return Err(io::Error::other("measured without a load"));
                }
            },
            messages_per_s: sample.rate(),
            offered_per_s: slice.rate.map(|rate| rate.per_second),
            per_cpu_s: cpu.map(|cpu| all_messages as f64 / cpu.as_secs_f64()),
            server_cores: cpu.map(|cpu| cpu.as_secs_f64() / elapsed.as_secs_f64()),
            client_busy: sample.cpu.busiest_thread,
            client_ns_per_message: (all_messages > 0)
                .then(|| sample.cpu.total().as_secs_f64() * 1e9 / all_messages as f64),
        };
        match &mut self.latency {
            Some(all) => all.add(latency),
            None => self.latency = Some(latency.clone()),
        }
        // Without a message, another process used the machine during the whole turn. The turn is
        // neither a fault nor a measurement.
        Ok(Some(turn).filter(|turn| sample.messages > 0 && turn.value.is_finite()))
    }

    /// Runs without interruption and returns the costs that slices would disturb: context switches
    /// and memory.
    pub(super) fn cost_run(&mut self, slice: &Slice) -> io::Result<CostRun> {
        let Some(session) = &mut self.session else { return Err(io::Error::other("no clients")) };
        let (meter, before) = (Meter::start(self.process.pid()), Usage::now());
        let answered = self.control.answered();
        let sample = session.run(slice)?;
        let messages = self.control.answered() - answered;
        let usage = Usage::now().since(&before);
        let cost = meter.stop();
        complain(&sample, &session.first_fault())?;
        Ok(CostRun { cost, usage, messages })
    }

    /// Measures the server for `duration` while no client sends a message.
    pub(super) fn silence(&self, duration: Duration) -> io::Result<(Turn, CostRun)> {
        let (meter, before) = (Meter::start(self.process.pid()), Usage::now());
        let (started, cpu_before) = (Instant::now(), self.clock.now()?);
        thread::sleep(duration);
        let cpu = self.clock.now()?.saturating_sub(cpu_before);
        let cores = cpu.as_secs_f64() / started.elapsed().as_secs_f64();
        let usage = Usage::now().since(&before);
        let turn = Turn { server_cores: Some(cores), ..Turn::of(cores * 1e9) };
        Ok((turn, CostRun { cost: meter.stop(), usage, messages: 0 }))
    }

    /// Counts the system calls by name over a fixed number of messages. No time is measured during
    /// the count.
    pub(super) fn syscalls(&mut self, messages: u64, load: &LoadInfo) -> Reading<Vec<SyscallRate>> {
        if load.work_ns > 0 {
            return Reading::unavailable("--work reads the clock in a loop");
        }
        Reading::from(self.count_syscalls(messages))
    }

    /// Traces the server over `messages` messages. Returns the most frequent system calls first.
    fn count_syscalls(&mut self, messages: u64) -> io::Result<Vec<SyscallRate>> {
        let Some(session) = &mut self.session else { return Err(io::Error::other("no clients")) };
        let tracer = Tracer::attach(self.process.pid())?;
        session.run(&Slice::of_messages(TRACED_WARM_UP))?;
        tracer.reset();
        let sample = session.run(&Slice::of_messages(messages))?;
        let counts = tracer.counts();
        complain(&sample, &session.first_fault())?;
        if sample.messages == 0 {
            return Err(io::Error::other("no message came back while system calls were counted"));
        }
        let mut rates: Vec<SyscallRate> = counts
            .into_iter()
            .map(|(name, count)| SyscallRate {
                name,
                per_message: count as f64 / sample.messages as f64,
            })
            .collect();
        rates.sort_by(|a, b| b.per_message.total_cmp(&a.per_message));
        Ok(rates)
    }
}

/// Fails if any connection had a fault, because a fault makes the measurement invalid.
fn complain(sample: &Sample, first_fault: &Option<String>) -> io::Result<()> {
    if sample.faults.total() == 0 {
        return Ok(());
    }
    let place = first_fault.as_deref().unwrap_or_default();
    Err(io::Error::other(format!("faults: {} ({place})", sample.faults)))
}
