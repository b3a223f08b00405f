//! Connections that are opened once, for many runs.

use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::Socket;

use crate::churn::Churn;
use crate::connection::Connection;
use crate::datagrams::Datagrams;
use crate::dialer::Dialer;
use crate::engine::Engine;
use crate::idle::IdleHerd;
use crate::latency::Latency;
use crate::ping_pong::PingPong;
use crate::recorder::Recorder;
use crate::series::Series;
use crate::{Error, Faults, Interval, Plan, Result, Sample, Slice, Until, closed, limits, open};

/// The open connections of a [`Plan`].
///
/// All runs use the same connections. Every run ends drained: all sent messages have come back, so
/// a stopped server (SIGSTOP) owes nothing until the next run. A run opens no connection, and a
/// closed loop allocates nothing. With several threads, each run starts its threads again.
pub struct Session {
    plan: Plan,
    workers: Vec<Worker>,
    idle: IdleHerd,
}

/// How one thread drives its connections.
enum Worker {
    Blocking(Box<PingPong>),
    Epoll(Box<Engine>),
    Churn(Box<Churn>),
    Datagrams(Box<Datagrams>),
}

impl Session {
    /// Opens the plan's connections, the idle ones first.
    ///
    /// Raises the soft limit of descriptors if the plan needs more. Pins the calling thread if the
    /// plan has one thread and a CPU for it.
    ///
    /// # Errors
    ///
    /// A plan that makes no sense, a limit that is too low, or a connection that cannot be opened.
    /// The message says on which side, and what to do.
    pub fn open(plan: &Plan) -> Result<Session> {
        plan.check()?;
        limits::prepare(plan)?;
        if plan.threads == 1 {
            pin(plan, 0)?;
        }
        let mut dialer = Dialer::new(plan);
        let idle = IdleHerd::new(dialer.dial(plan.idle)?)?;
        let mut workers = Vec::with_capacity(plan.threads);
        let mut next_id = 0;
        for thread in 0..plan.threads {
            let count = share(plan.connections as u64, plan.threads, thread) as usize;
            let slow = share(plan.slow_readers as u64, plan.threads, thread) as usize;
            let slow = dialer.dial(slow)?;
            workers.push(if plan.churn {
                // Each thread has numbers of its own: it opens fewer than 2^48 connections.
                Worker::Churn(Box::new(Churn::new(plan, count, (thread as u64) << 48)?))
            } else {
                Worker::over(plan, dialer.dial(count)?, slow, next_id)?
            });
            next_id += (count + plan.slow_readers) as u64;
        }
        Ok(Session { plan: plan.clone(), workers, idle })
    }

    /// Runs one slice, and drains.
    ///
    /// A failed connection is counted and closed, and not replaced. A slice ends early when no
    /// connection is left.
    ///
    /// # Errors
    ///
    /// A rate that is not above 0, a rate with churn or UDP, and errors of epoll.
    pub fn run(&mut self, slice: &Slice) -> Result<Sample> {
        if let Some(rate) = &slice.rate {
            rate.check()?;
            if self.plan.churn || self.plan.is_udp() {
                let text = "churn and UDP have a closed loop only: leave out the rate";
                return Err(Error::BadPlan(text.to_owned()));
            }
            for worker in &mut self.workers {
                worker.unblock(&self.plan)?;
            }
        }
        let mut total = match &mut self.workers[..] {
            [worker] => worker.run(&self.plan, slice, 0)?,
            workers => {
                let total = run_threads(&self.plan, workers, slice)?;
                self.gather();
                total
            }
        };
        total.faults += self.idle.check();
        Ok(total)
    }

    /// The distributions of all runs since the last [`clear`](Session::clear), of all threads.
    pub fn latency(&mut self) -> &Latency {
        &self.workers[0].recorder().latency
    }

    /// Forgets the distributions.
    pub fn clear(&mut self) {
        self.workers[0].recorder().latency.clear();
    }

    /// The intervals of the last run, of all threads; none if the plan has no interval.
    ///
    /// The iterator unpacks one interval at a time, because an [`Interval`] has several hundred
    /// kilobytes.
    pub fn intervals(&mut self) -> impl Iterator<Item = Result<Interval>> {
        let recorders = self.workers.iter_mut().map(Worker::recorder);
        let series: Vec<&Series> = recorders.filter_map(|r| r.series.as_deref()).collect();
        let count = series.iter().map(|series| series.count()).max().unwrap_or(0);
        (0..count).map(move |index| {
            let mut whole = Interval::empty()?;
            for part in series.iter().filter(|part| index < part.count()) {
                whole.add(&part.unpack(index)?);
            }
            Ok(whole)
        })
    }

    /// The first fault and its place, in words.
    pub fn first_fault(&mut self) -> Option<String> {
        let firsts = self.workers.iter_mut().map(|worker| worker.recorder().first_fault.clone());
        firsts.flatten().next().or_else(|| self.idle.first_fault().map(str::to_owned))
    }

    /// Ends the connections if the plan has `half_close`: each sends a last message and shuts down
    /// its sending half. Returns the connections on which the server did not return every byte, or
    /// did not close its side.
    ///
    /// # Errors
    ///
    /// Errors of epoll.
    pub fn close(&mut self) -> Result<Faults> {
        let mut faults = Faults::default();
        if self.plan.half_close {
            for worker in &mut self.workers {
                let recorder = worker.recorder();
                recorder.begin(&Slice::of_messages(0));
                worker.half_close()?;
                faults += worker.recorder().faults();
            }
        }
        Ok(faults)
    }

    /// Moves the distributions of all threads into those of the first thread.
    fn gather(&mut self) {
        let Some((first, others)) = self.workers.split_first_mut() else { return };
        for worker in others {
            let latency = &mut worker.recorder().latency;
            first.recorder().latency.add(latency);
            latency.clear();
        }
    }
}

impl Worker {
    /// A worker for open sockets. Connection numbers count up from `first_id`.
    fn over(plan: &Plan, sockets: Vec<Socket>, slow: Vec<Socket>, first_id: u64) -> Result<Worker> {
        let recorder = Recorder::new(plan)?;
        if plan.is_udp() {
            return Ok(Worker::Datagrams(Box::new(Datagrams::new(
                plan, recorder, sockets, first_id,
            )?)));
        }
        let mut ids = first_id..;
        let mut number = |sockets: Vec<Socket>| -> Vec<Connection> {
            let pairs = sockets.into_iter().zip(&mut ids);
            pairs.map(|(socket, id)| Connection::new(socket, plan, id)).collect()
        };
        let (mut connections, slow) = (number(sockets), number(slow));
        if plan.is_ping_pong()
            && let Some(only) = connections.pop()
        {
            return Ok(Worker::Blocking(Box::new(PingPong::new(plan, recorder, only)?)));
        }
        Ok(Worker::Epoll(Box::new(Engine::new(plan, recorder, connections, slow)?)))
    }

    /// Replaces blocking calls by epoll. An open loop must send while it waits for answers.
    fn unblock(&mut self, plan: &Plan) -> Result<()> {
        if let Worker::Blocking(ping_pong) = self {
            let connections = ping_pong.give_up()?.into_iter().collect();
            let recorder = Recorder::new(plan)?;
            *self = Worker::Epoll(Box::new(Engine::new(plan, recorder, connections, Vec::new())?));
        }
        Ok(())
    }

    fn run(&mut self, plan: &Plan, slice: &Slice, thread: usize) -> Result<Sample> {
        let mut slice = *slice;
        let mut faults = Faults::default();
        if let Until::Messages(count) = slice.until {
            // A number of messages has no start time, so its warm-up is another slice.
            let warmup = Slice { until: Until::Elapsed(Duration::ZERO), ..slice };
            let count = share(count, plan.threads, thread);
            slice = Slice { until: Until::Messages(count), warmup: Duration::ZERO, ..slice };
            if !warmup.warmup.is_zero() {
                faults = self.drive(plan, &warmup, thread)?.faults;
            }
        }
        let mut sample = self.drive(plan, &slice, thread)?;
        sample.faults += faults;
        Ok(sample)
    }

    fn drive(&mut self, plan: &Plan, slice: &Slice, thread: usize) -> Result<Sample> {
        self.recorder().begin(slice);
        match self {
            Worker::Blocking(ping_pong) => ping_pong.run(slice),
            Worker::Epoll(engine) => match &slice.rate {
                None => closed::run(engine, slice)?,
                Some(rate) => open::run(engine, plan, slice, rate, thread)?,
            },
            Worker::Churn(churn) => churn.run(slice)?,
            Worker::Datagrams(datagrams) => datagrams.run(slice)?,
        }
        Ok(self.recorder().end(plan.size))
    }

    fn half_close(&mut self) -> Result<()> {
        match self {
            Worker::Blocking(ping_pong) => ping_pong.half_close(),
            Worker::Epoll(engine) => engine.half_close()?,
            Worker::Churn(_) => {}     // Each connection has ended so already.
            Worker::Datagrams(_) => {} // UDP has no end of stream.
        }
        Ok(())
    }

    fn recorder(&mut self) -> &mut Recorder {
        match self {
            Worker::Blocking(ping_pong) => &mut ping_pong.recorder,
            Worker::Epoll(engine) => &mut engine.recorder,
            Worker::Churn(churn) => &mut churn.recorder,
            Worker::Datagrams(datagrams) => &mut datagrams.recorder,
        }
    }
}

/// Runs one slice with a thread for each worker.
fn run_threads(plan: &Plan, workers: &mut [Worker], slice: &Slice) -> Result<Sample> {
    let mut total = Sample::default();
    thread::scope(|scope| {
        let mut running = Vec::with_capacity(workers.len());
        for (thread, worker) in workers.iter_mut().enumerate() {
            let started = thread::Builder::new().spawn_scoped(scope, move || {
                pin(plan, thread)?;
                worker.run(plan, slice, thread)
            });
            running.push(started.map_err(|error| {
                // The threads that run already must end.
                plan.control.stop_flag().store(true, Ordering::Relaxed);
                Error::generator("starting a thread")(error)
            })?);
        }
        for thread in running {
            // A panic of a thread goes on in this one.
            total += thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(total)
    })
}

/// The part of `whole` for thread number `thread`.
fn share(whole: u64, threads: usize, thread: usize) -> u64 {
    let threads = threads as u64;
    whole / threads + u64::from((thread as u64) < whole % threads)
}

/// Pins the calling thread, which is thread number `thread`, to its CPU of the plan.
fn pin(plan: &Plan, thread: usize) -> Result<()> {
    if plan.pin.is_empty() {
        return Ok(());
    }
    let cpu = plan.pin[thread % plan.pin.len()];
    let mut cpus = CpuSet::new();
    let pinned = cpus.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus));
    pinned.map_err(|source| Error::Pin { cpu, source })
}
