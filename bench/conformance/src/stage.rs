//! Where a case meets its servers: started as it asks, watched, and gone with it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use server_process::address::{Address, Transport};
use server_process::proc::{self, Scheduled};
use server_process::process::{self, Ended, Process};

use crate::client::Client;
use crate::observe::{self, Holds};
use crate::subject::{Access, Subject};
use crate::verdict::{Trouble, Verdict, fails};

/// How often something is looked at that cannot be waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long a server that must not answer is given to do so all the same. A longer time finds no more:
/// a wrong answer comes within a millisecond.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// A server that is asleep has done what it will do if nothing has changed for so long.
const DONE_IF_ASLEEP: Duration = Duration::from_millis(50);

/// A server that may be waiting for a CPU has done what it will do if nothing has changed for so long.
const DONE_FOR_CERTAIN: Duration = Duration::from_millis(500);

/// What the buffers of the kernel hold together when they have grown to the size that Linux allows by
/// default: the largest tcp_wmem, on both sides.
const KERNEL_FULL: u64 = 8 << 20;

/// How often a server is looked at while it is watched for whether it sleeps.
const SAMPLES: u32 = 20;

/// The most that the kernels of both sides may hold of one connection that nobody reads, in bytes: the
/// largest tcp_wmem and tcp_rmem (tcp(7)) that a server is likely to have, with room to spare.
const KERNEL_HOLDS: u64 = 128 << 20;

/// A process that ends closes its connections a moment before it is gone.
const DYING: Duration = Duration::from_millis(50);

/// The most that is shown of what a server wrote to stderr, in bytes.
const STDERR_SHOWN: usize = 400;

/// One case's run.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    subject: &'a Subject,
    clients: Cell<usize>,
    /// The servers that a case is done with.
    done: RefCell<Vec<Process>>,
    /// The files of Unix-domain sockets: a server that is killed leaves its own behind.
    files: RefCell<Vec<PathBuf>>,
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch<'a> {
    /// Options of the contract; a server that does not keep it is started without them.
    pub(crate) options: &'a [&'a str],
    /// Where it is to listen; by default on any free address of the subject's transport.
    pub(crate) addr: Option<String>,
    /// RLIMIT_NOFILE, soft and hard.
    pub(crate) descriptor_limit: Option<u64>,
    /// Open descriptors that it inherits, so that its own have higher numbers.
    pub(crate) inherited_descriptors: usize,
}

/// A server on the stage.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    stage: &'a Stage<'a>,
    addr: Address,
    process: Option<Process>,
}

/// Finds out whether there is a server to be checked at all.
///
/// # Errors
///
/// Why there is none, in a line: it does not start, or does not take a connection.
pub fn probe(subject: &Subject) -> Result<(), String> {
    let stage = Stage::new(subject);
    let takes_a_client = |server: Server| match subject.transport {
        // Without connections, whether anybody is there is what the cases find out.
        Transport::Udp => Ok(()),
        Transport::Tcp | Transport::Unix => server.connect().map(drop),
    };
    match stage.start().and_then(takes_a_client) {
        Ok(()) => Ok(()),
        Err(Trouble::NotApplicable(why)) => Err(why),
        Err(Trouble::Fails { seen, .. }) => Err(seen),
    }
}

impl<'a> Stage<'a> {
    /// An empty stage.
    pub(crate) fn new(subject: &'a Subject) -> Stage<'a> {
        Stage {
            subject,
            clients: Cell::new(0),
            done: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// What is being checked.
    pub(crate) fn subject(&self) -> &Subject {
        self.subject
    }

    /// What became of the servers that ended unasked: it says more than the client that noticed.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |mut process: Process| {
            let ended = process.wait(DYING).ok()??;
            Some(format!("it had ended ({}); stderr: {}", ended.status, shown(&ended.stderr)))
        };
        self.done.take().into_iter().filter_map(note).collect()
    }

    /// A server as it comes.
    pub(crate) fn start(&self) -> Verdict<Server<'_>> {
        self.launch(&Launch::default())
    }

    /// A server with options of the contract.
    pub(crate) fn start_with(&self, options: &[&str]) -> Verdict<Server<'_>> {
        self.launch(&Launch { options, ..Launch::default() })
    }

    /// A server as `launch` says, or the one that runs already.
    pub(crate) fn launch(&self, launch: &Launch) -> Verdict<Server<'_>> {
        let process = match &self.subject.access {
            Access::Address(addr) => {
                return Ok(Server { stage: self, addr: addr.clone(), process: None });
            }
            Access::Contract(_) => Process::start(&mut self.command(launch)?),
            Access::Command(words) => {
                let addr = match &launch.addr {
                    Some(addr) => addr.parse().map_err(io::Error::other)?,
                    None => process::free_addr()?,
                };
                let no_place =
                    || Trouble::NotApplicable("the command has no {addr} or {port}".to_owned());
                let mut command = process::command_for(words, addr).ok_or_else(no_place)?;
                launch.limit(&mut command);
                match self.subject.transport {
                    Transport::Udp => Process::start_datagrams_at(&mut command, addr),
                    Transport::Tcp | Transport::Unix => Process::start_at(&mut command, addr),
                }
            }
        };
        match process {
            Ok(process) => {
                let mut addr = process.addr().clone();
                if let Address::Unix(path) = &addr {
                    self.files.borrow_mut().push(path.clone());
                } else if self.subject.transport == Transport::Udp {
                    addr = addr.over_udp()?;
                }
                Ok(Server { stage: self, addr, process: Some(process) })
            }
            Err(error) => fails("a server that starts and listens", error),
        }
    }

    /// Runs the server's program with `options`, with which it should end by itself.
    pub(crate) fn run_to_end(&self, options: &[&str]) -> Verdict<Ended> {
        self.run_command_to_end(&mut self.bare_command(options)?)
    }

    /// The same with a command made by [`command`](Stage::command).
    pub(crate) fn run_command_to_end(&self, command: &mut Command) -> Verdict<Ended> {
        match Process::run_to_end(command, self.subject.patience) {
            Ok(ended) => Ok(ended),
            Err(error) => fails("a program that ends by itself", error),
        }
    }

    /// The command that starts a server which keeps the contract.
    pub(crate) fn command(&self, launch: &Launch) -> Verdict<Command> {
        let addr = launch.addr.clone().unwrap_or_else(|| self.subject.free_address());
        let mut options = vec!["--addr", &addr];
        options.extend(launch.options);
        let mut command = self.bare_command(&options)?;
        launch.limit(&mut command);
        Ok(command)
    }

    fn bare_command(&self, options: &[&str]) -> Verdict<Command> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let no_contract = || Trouble::NotApplicable("does not keep the contract".to_owned());
        self.subject.contract_command(&options).ok_or_else(no_contract)
    }

    /// The number of the next client, from 0 on.
    fn next_client(&self) -> usize {
        self.clients.replace(self.clients.get() + 1)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // They are killed, so that none makes its file again.
        self.done.take().clear();
        for file in self.files.take() {
            let _ = fs::remove_file(file);
        }
    }
}

impl Launch<'_> {
    /// Has the child limit itself before it becomes the server.
    fn limit(&self, command: &mut Command) {
        let (limit, inherited) = (self.descriptor_limit, self.inherited_descriptors);
        let in_child = move || {
            // All numbers from 3 on are taken, by copies that outlive execve(2). Among the descriptors
            // that this closes is the pipe by which std reports a failed exec: such a child is found to
            // have ended before it listened.
            for number in (3..).take(inherited) {
                // SAFETY: nothing in this process, which is about to become another, owns `number`.
                nix::errno::Errno::result(unsafe { nix::libc::dup2(0, number) })?;
            }
            match limit {
                Some(limit) => Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?),
                None => Ok(()),
            }
        };
        // SAFETY: dup2(2) and setrlimit(2) are plain system calls, and nothing is allocated.
        unsafe { command.pre_exec(in_child) };
    }
}

impl<'a> Server<'a> {
    /// What is being checked.
    pub(crate) fn subject(&self) -> &'a Subject {
        self.stage.subject
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> &Address {
        &self.addr
    }

    /// A new client, connected.
    pub(crate) fn connect(&self) -> Verdict<Client> {
        let subject = self.stage.subject;
        let pattern = subject.pattern().of_client(self.stage.next_client());
        Client::connect(&self.addr, pattern, subject.patience)
    }

    /// A new client that may still be connecting.
    pub(crate) fn begin(&self) -> Verdict<Client> {
        let subject = self.stage.subject;
        let pattern = subject.pattern().of_client(self.stage.next_client());
        Client::begin(&self.addr, pattern, subject.patience)
    }

    /// A new client that has had an answer, and so is accepted.
    pub(crate) fn served(&self) -> Verdict<Client> {
        let mut client = self.connect()?;
        client.exchange(16)?;
        Ok(client)
    }

    /// So many clients that have had an answer.
    pub(crate) fn served_many(&self, count: usize) -> Verdict<Vec<Client>> {
        (0..count).map(|_| self.served()).collect()
    }

    /// New clients that have sent until the server took no more, and read nothing: it is left with bytes
    /// that it cannot get rid of. Fails when it takes them all the same.
    pub(crate) fn stuck(&self, count: usize) -> Verdict<Vec<Client>> {
        let mut clients = self.served_many(count)?;
        // One alone finds out whether there is a bound, before many take the machine's memory.
        self.get_stuck(&mut clients[..count.min(1)])?;
        self.get_stuck(&mut clients)?;
        Ok(clients)
    }

    /// Has clients send until the server takes no more.
    pub(crate) fn get_stuck(&self, clients: &mut [Client]) -> Verdict {
        let mut moved = Instant::now();
        let deadline = moved + self.stage.subject.patience;
        while Instant::now() < deadline {
            for client in &mut *clients {
                // On a busy machine loopback drops packets too, and sends them again a while later.
                if client.send_what_fits(KERNEL_HOLDS)? > 0 || client.is_in_flight() {
                    moved = Instant::now();
                }
            }
            // The send buffers of TCP grow with use (tcp_wmem): what does not fit now may fit soon.
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

    /// Expects it to be alive and to serve a new client.
    pub(crate) fn expect_service(&self) -> Verdict {
        self.served().map(drop)
    }

    /// Its process.
    pub(crate) fn process(&self) -> Verdict<&Process> {
        let none = || Trouble::NotApplicable("its process is not ours".to_owned());
        self.process.as_ref().ok_or_else(none)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Verdict {
        Ok(self.process()?.signal(signal)?)
    }

    /// Sends it a signal, and waits until it has taken it.
    pub(crate) fn signal_and_wait(&self, signal: Signal) -> Verdict {
        let pid = self.process()?.pid();
        self.signal(signal)?;
        // One that has ended of it has taken it.
        self.wait_until("the signal to be taken", || {
            Ok(!proc::has_signal_pending(pid).unwrap_or(false))
        })
    }

    /// Stops it with SIGSTOP, and waits until it has stopped: from then on it can notice nothing.
    pub(crate) fn freeze(&self) -> Verdict {
        let pid = self.process()?.pid();
        self.signal(Signal::SIGSTOP)?;
        self.wait_until("SIGSTOP to stop it", || Ok(proc::state(pid)? == 'T'))
    }

    /// Lets it go on after [`freeze`](Server::freeze).
    pub(crate) fn thaw(&self) -> Verdict {
        self.signal(Signal::SIGCONT)
    }

    /// What it holds now, or `None` when it is not a process of ours.
    pub(crate) fn holds(&self) -> Verdict<Option<Holds>> {
        match &self.process {
            Some(process) if cfg!(target_os = "linux") => Ok(Some(observe::holds(process.pid())?)),
            _ => Ok(None),
        }
    }

    /// Waits until it has done what it will do about the clients at its door: until the number of its
    /// descriptors stays as it is.
    pub(crate) fn wait_until_settled(&self) -> Verdict {
        let pid = self.process()?.pid();
        let (mut descriptors, mut since) = (0, Instant::now());
        self.wait_until("its descriptors stay as they are", || {
            let now = observe::holds(pid)?.descriptors;
            if now != descriptors {
                (descriptors, since) = (now, Instant::now());
            }
            Ok(self.is_done(since))
        })
    }

    /// Whether it will do nothing more about what was last seen to change at `since`. A server that is
    /// not asleep may only be waiting for a CPU, or may spin.
    fn is_done(&self, since: Instant) -> bool {
        let quiet = since.elapsed();
        let asleep = || match &self.process {
            Some(process) if !self.stage.subject.traits.spins => observe::is_asleep(process.pid()),
            _ => Ok(true),
        };
        quiet >= DONE_FOR_CERTAIN || quiet >= DONE_IF_ASLEEP && asleep().unwrap_or(true)
    }

    /// What it holds when it has done what it has to do, such as forking and reaping children, or `None`
    /// when it is not a process of ours.
    pub(crate) fn settled(&self) -> Verdict<Option<Holds>> {
        if self.holds()?.is_some() {
            self.wait_until_settled()?;
        }
        self.holds()
    }

    /// Expects it to hold, soon, no more descriptors, threads and processes than `before`.
    pub(crate) fn expect_holds_no_more_than(&self, before: Option<Holds>) -> Verdict {
        let (Some(before), Some(process)) = (before, &self.process) else { return Ok(()) };
        let mut now = before;
        let settled = self.wait_until("", || {
            now = observe::holds(process.pid())?;
            Ok(now.descriptors <= before.descriptors
                && now.threads <= before.threads
                && now.processes <= before.processes)
        });
        let words = |holds: Holds| {
            let Holds { descriptors, threads, processes, .. } = holds;
            format!("{descriptors} descriptors, {threads} threads, {processes} processes")
        };
        settled.or_else(|_| fails(format_args!("{}, as before", words(before)), words(now)))
    }

    /// The share of a CPU that it uses during `duration` of the time in which it could have one. It
    /// counts as all of one when it never sleeps: on a busy machine, or one whose hypervisor is busy, a
    /// thread that spins may get little of it.
    pub(crate) fn cpu_share(&self, duration: Duration) -> Verdict<f64> {
        let pid = self.process()?.pid();
        let (before, start) = (observe::scheduled(pid)?, Instant::now());
        let mut slept = false;
        while start.elapsed() < duration {
            thread::sleep(duration / SAMPLES);
            slept |= observe::is_asleep(pid)?;
        }
        if !slept {
            return Ok(1.0);
        }
        let after = observe::scheduled(pid)?;
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

    /// Waits for it to end, which it should.
    pub(crate) fn expect_ended(mut self) -> Verdict<Ended> {
        let patience = self.stage.subject.patience;
        let none = || Trouble::NotApplicable("its process is not ours".to_owned());
        let mut process = self.process.take().ok_or_else(none)?;
        match process.wait(patience)? {
            Some(ended) => Ok(ended),
            None => fails("it ends", format_args!("it was still running after {patience:?}")),
        }
    }

    /// Waits for it to end with exit status 0, and to leave nobody behind.
    pub(crate) fn expect_exit_0(self) -> Verdict<Ended> {
        let ended = self.expect_ended()?;
        if !ended.is_success() {
            return fails(
                "exit status 0",
                format_args!("{}; stderr: {}", ended.status, shown(&ended.stderr)),
            );
        }
        if ended.left_children {
            return fails("no child outlives it", "children that were still running");
        }
        Ok(ended)
    }

    /// Asks again and again until `condition` holds.
    fn wait_until(&self, what: &str, mut condition: impl FnMut() -> io::Result<bool>) -> Verdict {
        let patience = self.stage.subject.patience;
        let deadline = Instant::now() + patience;
        while !condition()? {
            if Instant::now() >= deadline {
                return fails(what, format_args!("not within {patience:?}"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.stage.done.borrow_mut().extend(self.process.take());
    }
}

/// The end of what a server wrote, in one line.
pub(crate) fn shown(stderr: &str) -> String {
    let text = stderr.trim();
    let from = text.len().saturating_sub(STDERR_SHOWN);
    let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{:?}", &text[from..])
}
