//! The command line, and what it asks to check.

use std::path::PathBuf;

use clap::Parser;
use conformance::{Access, PATIENCE, Subject};
use server_process::address::{Address, Transport};
use server_process::catalogue::{self, Concurrency};

/// Check an echo server against the contract, case by case
///
/// The cases that only need an address run on any server. Those that signal the server, limit its
/// descriptors or look at its memory need a COMMAND, so that the process is ours. Those about
/// --max-connections, --drain, the output and the exit status need a command that takes the contract's
/// options: say --contract.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[arg(
        long,
        value_name = "ADDR",
        group = "subject",
        help = "A server that runs already: HOST:PORT, [IPV6]:PORT or unix:PATH"
    )]
    pub(crate) addr: Option<Address>,

    /// A server of this workspace, built beside this program, or `all` of them
    #[arg(long, value_name = "NAME", group = "subject")]
    pub(crate) server: Option<String>,

    /// A command that starts a server; {addr} (HOST:PORT), or {host} and {port}, is where to listen
    #[arg(last = true, value_name = "COMMAND", group = "subject")]
    pub(crate) command: Vec<String>,

    /// COMMAND takes the contract's options and prints `listening on ADDR`; it needs no {addr}
    #[arg(long, requires = "command")]
    pub(crate) contract: bool,

    /// Have the server listen on a Unix-domain socket instead of a TCP port
    #[arg(long, conflicts_with = "addr")]
    pub(crate) unix: bool,

    /// It echoes datagrams: run the cases about those
    #[arg(long, conflicts_with_all = [
        "server", "concurrency", "scans", "descriptor_ceiling", "unix", "soak",
    ])]
    pub(crate) udp: bool,

    /// How many clients it serves at the same time [default: any number]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..),
          conflicts_with = "server")]
    pub(crate) concurrency: Option<u32>,

    /// It burns CPU while it has nothing to do, and is meant to
    #[arg(long, conflicts_with = "server")]
    pub(crate) spins: bool,

    /// It asks about every client for each message, and is meant to
    #[arg(long, conflicts_with = "server")]
    pub(crate) scans: bool,

    /// It cannot serve descriptors numbered from here on (1024 for select)
    #[arg(long, value_name = "NUMBER", conflicts_with = "server")]
    pub(crate) descriptor_ceiling: Option<usize>,

    /// Run only cases whose name or topic contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,

    /// Seed of everything random; a failure is repeated with the same one [default: a new one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Instead of the cases: do everything that clients do, at random, for so long (such as 5m), in a
    /// weather of signals and descriptor shortage; compare every byte, and what the server holds
    /// before and after
    #[arg(long, value_name = "DURATION", conflicts_with = "filter")]
    pub(crate) soak: Option<humantime::Duration>,

    /// How long to wait for the server to do what it should
    #[arg(long, value_name = "DURATION", default_value_t = PATIENCE.into())]
    pub(crate) patience: humantime::Duration,

    /// Print JSON, one object for each server, and nothing else on stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// List the cases with what the contract says, and run none
    #[arg(long)]
    pub(crate) list: bool,
}

const EXAMPLES: &str = "\
Examples:
  check -- python3 server.py {port}
  check --filter half_close --filter reset -- ./my-server --listen {addr}
  check --concurrency 1 -- ./one-at-a-time {addr}
  check --contract -- target/release/blocking --per-client thread
  check --addr 127.0.0.1:7000 --json
  check --soak 5m --seed 1 --server all
  check --addr unix:/tmp/echo.sock
  check --udp --addr 127.0.0.1:7000
  check --udp --contract -- target/release/blocking --udp";

/// What is to be checked.
pub(crate) fn subjects(args: &Args) -> Result<Vec<Subject>, String> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut subjects = match (&args.addr, &args.server) {
        (Some(addr), _) => {
            let mut addr = addr.clone();
            if args.udp {
                addr = addr.over_udp().map_err(|error| error.to_string())?;
            }
            vec![Subject::new(addr.to_string(), Access::Address(addr), seed)]
        }
        (None, Some(name)) => of_catalogue(name, seed)?,
        (None, None) if args.command.is_empty() => {
            return Err(
                "nothing to check: give --addr, --server or -- COMMAND; see --help".to_owned()
            );
        }
        (None, None) if args.unix && !args.contract => {
            return Err("--unix needs --server or a COMMAND with --contract".to_owned());
        }
        (None, None) => vec![of_command(args, seed)?],
    };
    for subject in &mut subjects {
        subject.patience = args.patience.into();
        if let Some(count) = args.concurrency {
            subject.traits.concurrency = Concurrency::AtMost(count as usize);
        }
        if args.unix {
            subject.transport = Transport::Unix;
        } else if args.udp {
            subject.transport = Transport::Udp;
        }
        subject.traits.spins |= args.spins;
        subject.traits.scans |= args.scans;
        subject.traits.descriptor_ceiling =
            args.descriptor_ceiling.or(subject.traits.descriptor_ceiling);
    }
    Ok(subjects)
}

fn of_command(args: &Args, seed: u64) -> Result<Subject, String> {
    let words = args.command.clone();
    let name = words.join(" ");
    if args.contract {
        return Ok(Subject::new(name, Access::Contract(words), seed));
    }
    if !words.iter().any(|word| word.contains("{addr}") || word.contains("{port}")) {
        return Err("the command must say where it is told to listen: put {addr}, or {host} and \
                    {port}, into it"
            .to_owned());
    }
    Ok(Subject::new(name, Access::Command(words), seed))
}

/// Servers of the catalogue, from the directory that this program is in: what `cargo build` has put
/// beside it.
fn of_catalogue(name: &str, seed: u64) -> Result<Vec<Subject>, String> {
    let directory = std::env::current_exe().map_err(|error| error.to_string())?;
    let directory = directory.parent().map(PathBuf::from).unwrap_or_default();
    let mut subjects = Vec::new();
    for server in catalogue::SERVERS.iter().filter(|server| name == "all" || server.name == name) {
        let executable = directory.join(server.package);
        if !executable.is_file() {
            let build = format!("cargo build -p {}", server.package);
            return Err(format!(
                "{} is not there; build it as you built check, with `{build}`",
                executable.display()
            ));
        }
        subjects.push(Subject::of_catalogue(server, &executable, seed));
    }
    if subjects.is_empty() {
        let names: Vec<_> = catalogue::SERVERS.iter().map(|server| server.name).collect();
        return Err(format!("no server is called {name}; there are {}", names.join(", ")));
    }
    Ok(subjects)
}
