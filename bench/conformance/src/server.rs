//! A running server as a case sees it: its clients, its signals, and what a case expects of it.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use server_process::address::Address;
use server_process::proc::{self, Scheduled};
use server_process::process::{Ended, Process};

use crate::cause::Cause;
use crate::client::Client;
use crate::observe::{self, Holds};
use crate::pinned::Pinned;
use crate::stage::Stage;
use crate::subject::Subject;
use crate::verdict::{Trouble, Verdict, fails, fails_because};
use crate::watch::{ENDING, Watch};
use crate::words;

/// How often a condition is checked for which no event exists.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long a server that must not answer is watched. A wrong answer comes within a millisecond, so a
/// longer time finds no more.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// When all threads sleep and nothing has changed for this long, the server has finished reacting.
const DONE_IF_ASLEEP: Duration = Duration::from_millis(50);

/// When nothing has changed for this long, the server has finished reacting, even if its threads wait for
/// a CPU.
const DONE_FOR_CERTAIN: Duration = Duration::from_millis(500);

/// The bytes that the kernel buffers of one connection hold when they have grown to the default limits of
/// Linux: the largest tcp_wmem on both sides.
const KERNEL_FULL: u64 = 8 << 20;

/// The most bytes that the kernels of both sides may hold of one connection that nobody reads. It is more
/// than the largest tcp_wmem and tcp_rmem (tcp(7)) that a machine is likely to have.
const KERNEL_HOLDS: u64 = 128 << 20;

/// How often a server is checked during one measurement of its CPU share.
const SAMPLES: u32 = 20;

/// A server on the stage.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    stage: &'a Stage<'a>,
    addr: Address,
    process: Option<Process>,
    watch: Option<Watch>,
}

impl<'a> Server<'a> {
    /// A server at `addr`. `process` is `None` when the suite has not started it.
    pub(crate) fn new(stage: &'a Stage<'a>, addr: Address, process: Option<Process>) -> Server<'a> {
        let mut server = Server { stage, addr, process, watch: None };
        server.watch = server.watch_with(stage.subject().timeout);
        server
    }

    /// The server under test, as it was declared.
    pub(crate) fn subject(&self) -> &'a Subject {
        self.stage.subject()
    }

    /// The address on which the server listens.
    pub(crate) fn addr(&self) -> &Address {
        &self.addr
    }

    /// The watch over the server's process, for its clients.
    pub(crate) fn watch(&self) -> Option<Watch> {
        self.watch.clone()
    }

    /// A watch for clients with another timeout than that of the subject.
    pub(crate) fn watch_with(&self, timeout: Duration) -> Option<Watch> {
        self.process.as_ref().map(|process| Watch::new(process.witness(), timeout))
    }

    /// A new client whose connection is established.
    pub(crate) fn connect(&self) -> Verdict<Client> {
        let pattern = self.subject().pattern().of_client(self.stage.next_client());
        Client::connect(&self.addr, pattern, self.subject().timeout, self.watch())
    }

    /// A new client that may still be connecting.
    pub(crate) fn begin(&self) -> Verdict<Client> {
        let pattern = self.subject().pattern().of_client(self.stage.next_client());
        Client::begin(&self.addr, pattern, self.subject().timeout, self.watch())
    }

    /// A new client that has had an answer: the server has accepted it.
    pub(crate) fn served(&self) -> Verdict<Client> {
        let mut client = self.connect()?;
        client.exchange(16)?;
        Ok(client)
    }

    /// `count` clients that have had an answer, all connected at the same time.
    ///
    /// Where the server serves fewer clients at a time, the failure says how many.
    pub(crate) fn served_many(&self, count: usize) -> Verdict<Vec<Client>> {
        let mut served = Vec::new();
        while served.len() < count {
            let mut next = self.connect()?;
            match next.exchange(16) {
                Ok(()) => served.push(next),
                Err(Trouble::Fails(failure)) if failure.cause.is_none() && !served.is_empty() => {
                    let limit = served.len();
                    drop(served);
                    if !next.is_answered_within(self.subject().timeout) {
                        return Err(Trouble::Fails(failure));
                    }
                    return fails_because(
                        Some(Cause::Concurrency(limit)),
                        format_args!("{count} clients are served at the same time"),
                        format_args!("{limit} of them; the next had no answer until these left"),
                    );
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(served)
    }

    /// `count` new clients that have sent until the server read no more, and that read nothing. The server
    /// is left with bytes that it cannot write. Fails when the server continues to read.
    pub(crate) fn stuck(&self, count: usize) -> Verdict<Vec<Client>> {
        let mut clients = self.served_many(count)?;
        // The first client finds out whether there is a bound, before many clients fill the memory.
        self.get_stuck(&mut clients[..count.min(1)])?;
        self.get_stuck(&mut clients)?;
        Ok(clients)
    }

    /// Lets clients send until the server reads no more.
    pub(crate) fn get_stuck(&self, clients: &mut [Client]) -> Verdict {
        let mut moved = Instant::now();
        let deadline = moved + self.subject().timeout;
        while Instant::now() < deadline {
            for client in &mut *clients {
                // On a busy machine, loopback drops packets and sends them again some time later.
                if client.send_what_fits(KERNEL_HOLDS)? > 0 || client.is_in_flight() {
                    moved = Instant::now();
                }
            }
            // The send buffers of TCP grow with use (tcp_wmem): soon, more bytes may fit.
            let is_tcp = matches!(self.addr, Address::Tcp(_));
            let is_full = !is_tcp || clients.iter().all(|client| client.unread() > KERNEL_FULL);
            let quiet = moved.elapsed();
            if quiet >= DONE_FOR_CERTAIN || is_full && self.is_done(moved) {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Expects the server to serve a new client.
    pub(crate) fn expect_service(&self) -> Verdict {
        self.served().map(drop)
    }

    /// The process of the server.
    pub(crate) fn process(&self) -> Verdict<&Process> {
        self.process.as_ref().ok_or_else(not_ours)
    }

    /// Sends a signal to the server.
    pub(crate) fn signal(&self, signal: Signal) -> Verdict {
        Ok(self.process()?.signal(signal)?)
    }

    /// Sends a signal to the server, and waits until the server has received it.
    pub(crate) fn signal_and_wait(&self, signal: Signal) -> Verdict {
        self.signal(signal)?;
        // A server that the signal ended has received it too.
        self.wait_until("the server receives the signal", |pid| {
            Ok(!proc::has_signal_pending(pid).unwrap_or(false))
        })
    }

    /// Stops the server with SIGSTOP, and waits until it has stopped: it then does nothing at all.
    pub(crate) fn freeze(&self) -> Verdict {
        self.signal(Signal::SIGSTOP)?;
        self.wait_until("SIGSTOP stops the server", |pid| Ok(proc::state(pid)? == 'T'))
    }

    /// Continues the server after [`freeze`](Server::freeze).
    pub(crate) fn thaw(&self) -> Verdict {
        self.signal(Signal::SIGCONT)
    }

    /// What the server holds now. `None` when its process is not ours.
    pub(crate) fn holds(&self) -> Verdict<Option<Holds>> {
        match &self.process {
            Some(_) if cfg!(target_os = "linux") => self.observe(observe::holds).map(Some),
            _ => Ok(None),
        }
    }

    /// The CPU time that the server has used so far.
    pub(crate) fn cpu_time(&self) -> Verdict<Duration> {
        self.observe(observe::cpu_time)
    }

    /// Lets the server and this thread run on one CPU only, until the returned value is dropped.
    pub(crate) fn pin_with_this_thread(&self) -> Verdict<Pinned> {
        let threads = self.observe(observe::threads)?.into_iter().map(|(_, thread)| thread);
        Ok(Pinned::to_one_cpu(threads)?)
    }

    /// Waits until the server has reacted to the clients that wait for it: until the number of its
    /// descriptors stays the same.
    pub(crate) fn wait_until_settled(&self) -> Verdict {
        let (mut descriptors, mut since) = (0, Instant::now());
        self.wait_until("the number of the server's descriptors stays the same", |pid| {
            let now = observe::holds(pid)?.descriptors;
            if now != descriptors {
                (descriptors, since) = (now, Instant::now());
            }
            Ok(self.is_done(since))
        })
    }

    /// Whether the server has finished reacting to a change at `since`. A thread that does not sleep may
    /// still wait for a CPU, or may spin.
    fn is_done(&self, since: Instant) -> bool {
        let quiet = since.elapsed();
        let spins = self.subject().traits.spins;
        let sleeps = || self.watch.as_ref().is_none_or(|watch| spins || watch.is_asleep());
        quiet >= DONE_FOR_CERTAIN || quiet >= DONE_IF_ASLEEP && sleeps()
    }

    /// What the server holds after it has reacted, such as by forking and reaping children. `None` when
    /// its process is not ours.
    pub(crate) fn settled(&self) -> Verdict<Option<Holds>> {
        if self.holds()?.is_some() {
            self.wait_until_settled()?;
        }
        self.holds()
    }

    /// Expects the server to hold soon no more descriptors, threads and processes than `before`.
    pub(crate) fn expect_holds_no_more_than(&self, before: Option<Holds>) -> Verdict {
        let Some(before) = before else { return Ok(()) };
        let (mut now, deadline) = (before, Instant::now() + self.subject().timeout);
        while Instant::now() < deadline {
            now = self.observe(observe::holds)?;
            if now.descriptors <= before.descriptors
                && now.threads <= before.threads
                && now.processes <= before.processes
            {
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        let words = |holds: Holds| {
            let Holds { descriptors, threads, processes, .. } = holds;
            format!("descriptors {descriptors}, threads {threads}, processes {processes}")
        };
        self.fails(format_args!("{}, as before", words(before)), words(now))
    }

    /// The share of a CPU that the server uses during `duration`, out of the time in which it could have
    /// run. The share is 1 when the server never sleeps: on a busy machine, a thread that spins may get
    /// little CPU time.
    pub(crate) fn cpu_share(&self, duration: Duration) -> Verdict<f64> {
        let (before, start) = (self.observe(observe::scheduled)?, Instant::now());
        let mut slept = false;
        while start.elapsed() < duration {
            thread::sleep(duration / SAMPLES);
            slept |= self.observe(observe::is_asleep)?;
        }
        if !slept {
            return Ok(1.0);
        }
        let after = self.observe(observe::scheduled)?;
        let elapsed = start.elapsed();
        let share = |(thread, ran): (&Pid, &Scheduled)| {
            let before = before.get(thread).copied().unwrap_or_default();
            let on_cpu = ran.on_cpu.saturating_sub(before.on_cpu);
            let waiting = ran.waiting.saturating_sub(before.waiting);
            let could_run = elapsed.saturating_sub(waiting).max(on_cpu);
            on_cpu.as_secs_f64() / could_run.as_secs_f64().max(f64::MIN_POSITIVE)
        };
        Ok(after.iter().map(share).sum())
    }

    /// Waits for the end of the server.
    pub(crate) fn expect_ended(mut self) -> Verdict<Ended> {
        let timeout = self.subject().timeout;
        let mut process = self.process.take().ok_or_else(not_ours)?;
        match process.wait(timeout)? {
            Some(ended) => Ok(ended),
            None => {
                let cause = self.watch.as_ref().and_then(|watch| watch.cause(Duration::ZERO));
                let limit = words::duration(timeout);
                let seen = format!("the server was still running after {limit}");
                fails_because(cause, "the server ends", seen)
            }
        }
    }

    /// Waits for the server to end with exit status 0, and without children that still run.
    pub(crate) fn expect_exit_0(self) -> Verdict<Ended> {
        let ended = self.expect_ended()?;
        if !ended.is_success() {
            let seen = format!("{}, {}", ended.status, words::stderr(&ended.stderr));
            return fails_because(Cause::of_stderr(ended.stderr), "exit status 0", seen);
        }
        if ended.left_children {
            return fails("no child outlives the server", "children that were still running");
        }
        Ok(ended)
    }

    /// A failure that a case sees while it talks to this server.
    pub(crate) fn fails<T>(
        &self,
        expected: impl fmt::Display,
        seen: impl fmt::Display,
    ) -> Verdict<T> {
        let cause = self.watch.as_ref().and_then(|watch| watch.cause(Duration::ZERO));
        fails_because(cause, expected, seen)
    }

    /// Looks at the server's process. Fails when the server has ended.
    fn observe<T>(&self, look: impl FnOnce(Pid) -> io::Result<T>) -> Verdict<T> {
        look(self.process()?.pid()).or_else(|error| {
            let cause = self.watch.as_ref().and_then(|watch| watch.cause(ENDING));
            fails_because(cause, "a server that runs", error)
        })
    }

    /// Checks `condition` until it holds.
    fn wait_until(
        &self,
        expected: &str,
        mut condition: impl FnMut(Pid) -> io::Result<bool>,
    ) -> Verdict {
        let timeout = self.subject().timeout;
        let deadline = Instant::now() + timeout;
        while !self.observe(&mut condition)? {
            if Instant::now() >= deadline {
                let limit = words::duration(timeout);
                return self.fails(expected, format_args!("this did not happen within {limit}"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            self.stage.keep(process);
        }
    }
}

fn not_ours() -> Trouble {
    Trouble::NotApplicable("the suite has not started the server's process".to_owned())
}
