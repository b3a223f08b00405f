//! The place of one run of a case: it starts the servers that the case asks for, and ends them after it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use server_process::address::{Address, Transport};
use server_process::process::{self, Ended, Process};

use crate::cause::Cause;
use crate::error::Error;
use crate::server::Server;
use crate::subject::{Access, Subject};
use crate::verdict::{Trouble, Verdict, fails, fails_because, not_applicable};

/// One run of a case.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    subject: &'a Subject,
    clients: Cell<usize>,
    /// The servers that the case has dropped. They run until the end of the case.
    dropped: RefCell<Vec<Process>>,
    /// The files of Unix-domain sockets. A server that is killed does not remove its file.
    files: RefCell<Vec<PathBuf>>,
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch<'a> {
    /// Options of the contract. A server that does not take them is started without them.
    pub(crate) options: &'a [&'a str],
    /// The address to listen on. By default, a free address of the subject's transport.
    pub(crate) addr: Option<String>,
    /// RLIMIT_NOFILE, soft and hard.
    pub(crate) descriptor_limit: Option<u64>,
    /// The number of descriptors that the server inherits, so that its own have higher numbers.
    pub(crate) inherited_descriptors: usize,
}

/// Checks whether a server can be started and reached.
///
/// # Errors
///
/// [`Error::Unreachable`] when the server does not start, or does not take a connection.
pub fn probe(subject: &Subject) -> Result<(), Error> {
    let stage = Stage::new(subject);
    let takes_a_client = |server: Server| match subject.transport {
        // Without connections, only an exchange shows whether a server is there.
        Transport::Udp => Ok(()),
        Transport::Tcp | Transport::Unix => server.connect().map(drop),
    };
    stage.start().and_then(takes_a_client).map_err(|trouble| Error::Unreachable {
        subject: subject.name.clone(),
        why: match trouble {
            Trouble::Fails(failure) => match failure.cause.and_then(|cause| cause.last_words()) {
                Some(words) if !words.is_empty() => format!("{}:\n{words}", failure.seen),
                _ => failure.seen,
            },
            Trouble::NotApplicable(why) => why,
            Trouble::NoLocalPort => NO_LOCAL_PORT.to_owned(),
        },
    })
}

/// What [`Trouble::NoLocalPort`] means.
pub(crate) const NO_LOCAL_PORT: &str = "all local ports to the server's address are in use; those of ended connections are free again \
     after a minute";

impl<'a> Stage<'a> {
    /// An empty stage.
    pub(crate) fn new(subject: &'a Subject) -> Stage<'a> {
        Stage {
            subject,
            clients: Cell::new(0),
            dropped: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// The server under test.
    pub(crate) fn subject(&self) -> &'a Subject {
        self.subject
    }

    /// Starts a server without further options.
    pub(crate) fn start(&self) -> Verdict<Server<'_>> {
        self.launch(&Launch::default())
    }

    /// Starts a server with options of the contract.
    pub(crate) fn start_with(&self, options: &[&str]) -> Verdict<Server<'_>> {
        self.launch(&Launch { options, ..Launch::default() })
    }

    /// Starts a server as `launch` says. For a subject that runs already, returns that server.
    pub(crate) fn launch(&self, launch: &Launch) -> Verdict<Server<'_>> {
        let process = match &self.subject.access {
            Access::Address(addr) => return Ok(Server::new(self, addr.clone(), None)),
            Access::Contract(_) => Process::start(&mut self.command(launch)?),
            Access::Command(words) => {
                let addr = match launch.addr.as_ref().map(|addr| addr.parse()) {
                    Some(Ok(addr)) => addr,
                    Some(Err(_)) => return not_applicable("the command takes IP addresses only"),
                    None => process::free_addr()?,
                };
                let Some(mut command) = process::command_for(words, addr) else {
                    return not_applicable("the command has no {addr} or {port}");
                };
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
                Ok(Server::new(self, addr, Some(process)))
            }
            Err(server_process::Error::EndedEarly { status, stderr, .. }) => fails_because(
                Some(Cause::Ended { status: status.to_string(), stderr }),
                "a server that starts and listens",
                format_args!("the server ended before it listened ({status})"),
            ),
            Err(error) => fails("a server that starts and listens", error),
        }
    }

    /// Runs the server's program with `options` that make it end by itself, and waits for its end.
    pub(crate) fn run_to_end(&self, options: &[&str]) -> Verdict<Ended> {
        self.run_command_to_end(&mut self.contract_command(options)?)
    }

    /// Runs a command made by [`command`](Stage::command), and waits for its end.
    pub(crate) fn run_command_to_end(&self, command: &mut Command) -> Verdict<Ended> {
        match Process::run_to_end(command, self.subject.timeout) {
            Ok(ended) => Ok(ended),
            Err(error) => fails("a program that ends by itself", error),
        }
    }

    /// The command that starts a server which keeps the contract.
    pub(crate) fn command(&self, launch: &Launch) -> Verdict<Command> {
        let addr = launch.addr.clone().unwrap_or_else(|| self.subject.free_address());
        let mut options = vec!["--addr", &addr];
        options.extend(launch.options);
        let mut command = self.contract_command(&options)?;
        launch.limit(&mut command);
        Ok(command)
    }

    fn contract_command(&self, options: &[&str]) -> Verdict<Command> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        match self.subject.contract_command(&options) {
            Some(command) => Ok(command),
            None => not_applicable("the command does not take the contract's options"),
        }
    }

    /// The number of the next client, from 0 on.
    pub(crate) fn next_client(&self) -> usize {
        self.clients.replace(self.clients.get() + 1)
    }

    /// Keeps a server that the case has dropped running: its clients may still use it.
    pub(crate) fn keep(&self, process: Process) {
        self.dropped.borrow_mut().push(process);
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // The servers are killed first, so that none makes its file again.
        self.dropped.take().clear();
        for file in self.files.take() {
            let _ = fs::remove_file(file);
        }
    }
}

impl Launch<'_> {
    /// Applies the limits in the child, before it becomes the server.
    fn limit(&self, command: &mut Command) {
        let (limit, inherited) = (self.descriptor_limit, self.inherited_descriptors);
        let in_child = move || {
            // Copies that outlive execve(2) take all numbers from 3 on. This also closes the pipe by
            // which std reports a failed exec. The suite then finds that the child ended early.
            for number in (3..).take(inherited) {
                // SAFETY: this process is about to become another, and nothing in it owns `number`.
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
