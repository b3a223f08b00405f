//! A server that takes part in a benchmark: its name, its command and its traits.

use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use server_process::catalogue::{Concurrency, SERVERS, Server, Traits};
use server_process::process::{Process, command_for, free_addr};

use crate::layout::pinned;
use crate::results::Origin;
use crate::workspace::{Binaries, build};

/// Descriptors that a server needs in addition to the descriptors of its clients.
const DESCRIPTOR_RESERVE: u64 = 40;

/// The echo servers in `examples/` (bare loops and runtimes): name of the entrant, example,
/// arguments.
const YARDSTICKS: &[(&str, &str, &[&str])] = &[
    ("bare-epoll", "bare_epoll", &[]),
    ("bare-uring", "bare_uring", &[]),
    ("tokio-1", "tokio_echo", &["--threads", "1"]),
    ("tokio-n", "tokio_echo", &[]),
    ("smol", "smol_echo", &[]),
];

/// A server that takes part in a benchmark.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// The server's name in tables and filters.
    pub name: String,
    /// The origin of the server.
    pub origin: Origin,
    /// The server's traits, e.g. the number of clients that the server can serve.
    pub traits: Traits,
    /// Program and arguments, with `{addr}` for the address to listen on.
    pub command: Vec<String>,
    /// Whether the server prints `listening on ADDR`, as the contract requires. A server that does
    /// not print this line is started with a free port.
    pub announces: bool,
}

/// Builds servers of the catalogue and returns their entrants. With `all`, this function takes
/// every variant. Otherwise this function takes the plain form of each package, and the server that
/// serves one client at a time.
///
/// # Errors
///
/// When the build of the servers fails.
pub fn of_workspace(all: bool) -> io::Result<Vec<Entrant>> {
    let chosen: Vec<&Server> = SERVERS.iter().filter(|server| all || !server.variant).collect();
    let mut packages: Vec<&str> = chosen.iter().map(|server| server.package).collect();
    packages.dedup();
    let binaries = build(&packages, &[])?;
    let mut entrants = Vec::new();
    for server in chosen {
        let command = command(&binaries, server.package, server.args)?;
        if let Some(why) = server.unavailable(&mut Command::new(&command[0])) {
            let _ = writeln!(io::stderr(), "skipping {}: {why}", server.name);
            continue;
        }
        let (name, origin) = (server.name.to_owned(), Origin::Workspace);
        entrants.push(Entrant { name, origin, traits: server.traits, command, announces: true });
    }
    Ok(entrants)
}

/// Returns the names and traits of the servers of [`of_workspace`], without a build.
pub fn names_of_workspace(all: bool) -> impl Iterator<Item = (&'static str, Traits)> {
    let chosen = SERVERS.iter().filter(move |server| all || !server.variant);
    chosen.map(|server| (server.name, server.traits))
}

/// Builds the echo servers in `examples/` (bare loops and runtimes) and returns their entrants.
///
/// # Errors
///
/// When the build of the examples fails.
pub fn yardsticks() -> io::Result<Vec<Entrant>> {
    let mut examples: Vec<&str> = YARDSTICKS.iter().map(|(_, example, _)| *example).collect();
    examples.dedup();
    let binaries = build(&[], &examples)?;
    let entrants = YARDSTICKS.iter().map(|(name, example, args)| {
        let (name, origin) = ((*name).to_owned(), Origin::Yardstick);
        let command = command(&binaries, example, args)?;
        Ok(Entrant { name, origin, traits: Traits::UNLIMITED, command, announces: true })
    });
    entrants.collect()
}

/// Returns the names and traits of the servers of [`yardsticks`], without a build.
pub(crate) fn names_of_yardsticks() -> impl Iterator<Item = (&'static str, Traits)> {
    YARDSTICKS.iter().map(|(name, ..)| (*name, Traits::UNLIMITED))
}

/// Parses the value of `--server`: `name=command {addr}` for a server in any language. This
/// function splits the command into words by the shell's rules for quotes, but no shell runs.
///
/// # Errors
///
/// When the text lacks a name, a command or an address, or when a quote is not closed.
pub fn given(text: &str) -> Result<Entrant, String> {
    let (name, command) = text.split_once('=').ok_or("give it as name='command {addr}'")?;
    let command = shlex::split(command).ok_or("a quote in the command is not closed")?;
    if name.is_empty() || command.is_empty() {
        return Err("give it as name='command {addr}'".to_owned());
    }
    if !command.iter().any(|word| word.contains("{addr}") || word.contains("{port}")) {
        return Err("the command lacks the address: add {addr}, or {host} and {port}".to_owned());
    }
    let (name, origin) = (name.to_owned(), Origin::Given);
    Ok(Entrant { name, origin, traits: Traits::UNLIMITED, command, announces: false })
}

impl Entrant {
    /// Starts the server as a child process on `cpus`. With an empty `cpus`, the server may run on
    /// all CPUs of this process. If `work` is not zero, the command gets the option `--work`.
    ///
    /// # Errors
    ///
    /// When the server cannot be started or does not listen. After an error no server is running.
    pub fn start(&self, work: Duration, cpus: &[usize]) -> io::Result<Process> {
        let mut words = self.command.clone();
        if !work.is_zero() {
            words.extend(["--work".to_owned(), format!("{}ns", work.as_nanos())]);
        }
        pinned(cpus, || {
            let addr = if self.announces { ([127, 0, 0, 1], 0).into() } else { free_addr()? };
            let command = command_for(&words, addr);
            let mut command = command.ok_or_else(|| io::Error::other("no {addr} to listen on"))?;
            if self.announces {
                Ok(Process::start(&mut command)?)
            } else {
                Ok(Process::start_at(&mut command, addr)?)
            }
        })
    }

    /// Returns why the server cannot serve `connections` at the same time, or `None` if it can.
    pub fn excuse(&self, connections: usize) -> Option<String> {
        excuse(&self.traits, connections)
    }
}

/// Returns why a server with these traits cannot serve `connections` at the same time, or `None` if
/// the server can.
pub fn excuse(traits: &Traits, connections: usize) -> Option<String> {
    if let Concurrency::AtMost(most) = traits.concurrency
        && connections > most
    {
        return Some(format!("serves {} at a time", traits.concurrency));
    }
    if let Some(ceiling) = traits.descriptor_ceiling
        && connections as u64 + DESCRIPTOR_RESERVE > ceiling as u64
    {
        return Some(format!("cannot watch descriptors from {ceiling} up"));
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if connections as u64 + DESCRIPTOR_RESERVE > limit {
        return Some(format!("needs more than the {limit} descriptors of a process (ulimit -Hn)"));
    }
    None
}

fn command(binaries: &Binaries, target: &str, args: &[&str]) -> io::Result<Vec<String>> {
    let path = binaries.get(target).and_then(|path| path.to_str());
    let path = path.ok_or_else(|| io::Error::other(format!("cargo built no {target}")))?;
    let words = [path].into_iter().chain(args.iter().copied()).chain(["--addr", "{addr}"]);
    Ok(words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_server_needs_a_name_and_a_place_for_the_address() {
        let entrant = given("mine=python3 echo.py --listen {addr}").unwrap();
        assert_eq!((entrant.name.as_str(), entrant.command.len()), ("mine", 4));
        let quoted = given("mine=sh -c 'exec nc -l \"$0\"' {addr}").unwrap();
        assert_eq!(quoted.command[2], "exec nc -l \"$0\"");
        assert!(given("mine=sh -c 'open {addr}").unwrap_err().contains("quote"));
        assert!(given("python3 echo.py {addr}").is_err());
        assert!(given("mine=python3 echo.py").unwrap_err().contains("{addr}"));
        assert!(given("=x {addr}").is_err() && given("mine=").is_err());
    }

    #[test]
    fn a_server_is_excused_from_what_its_traits_exclude() {
        let one = Traits { concurrency: Concurrency::AtMost(1), ..Traits::UNLIMITED };
        assert_eq!(excuse(&one, 1), None);
        assert_eq!(excuse(&one, 2).unwrap(), "serves 1 client at a time");
        let select = Traits { descriptor_ceiling: Some(1024), ..Traits::UNLIMITED };
        assert_eq!(excuse(&select, 916), None);
        assert!(excuse(&select, 1016).is_some());
        assert!(excuse(&Traits::UNLIMITED, usize::MAX / 2).unwrap().contains("descriptors"));
    }
}
