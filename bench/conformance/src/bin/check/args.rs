//! The command line, and the servers that it names.

use std::path::PathBuf;

use clap::Parser;
use conformance::{Access, Error, Subject, TIMEOUT};
use server_process::address::{Address, Transport};
use server_process::catalogue::{self, Concurrency};

/// Check an echo server against the contract, case by case
///
/// Some cases need only an address. Cases that send signals, limit descriptors or read the memory of the
/// server need a COMMAND, which this program starts. Cases about --max-connections, --drain, the output
/// and the exit status need a COMMAND that takes the contract's options: say --contract.
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

    /// A server of this workspace, built in the same directory as this program; or `all` of them
    #[arg(long, value_name = "NAME", group = "subject")]
    pub(crate) server: Option<String>,

    /// A command that starts a server; {addr} (HOST:PORT), or {host} and {port}, stand for the address to
    /// listen on
    #[arg(last = true, value_name = "COMMAND", group = "subject")]
    pub(crate) command: Vec<String>,

    /// COMMAND takes the contract's options and prints `listening on ADDR`; it needs no {addr}
    #[arg(long, requires = "command")]
    pub(crate) contract: bool,

    /// Tell the server to listen on a Unix-domain socket instead of a TCP port
    #[arg(long, conflicts_with = "addr")]
    pub(crate) unix: bool,

    /// The server echoes datagrams: run the cases about datagrams
    #[arg(long, conflicts_with_all = [
        "server", "concurrency", "scans", "descriptor_ceiling", "unix", "soak",
    ])]
    pub(crate) udp: bool,

    /// Declare how many clients the server serves at the same time [default: any number]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..),
          conflicts_with = "server")]
    pub(crate) concurrency: Option<u32>,

    /// Declare that the server burns CPU while it has nothing to do
    #[arg(long, conflicts_with = "server")]
    pub(crate) spins: bool,

    /// Declare that the server asks about every client for each message
    #[arg(long, conflicts_with = "server")]
    pub(crate) scans: bool,

    /// Declare the first descriptor number that the server cannot serve (1024 for select)
    #[arg(long, value_name = "NUMBER", conflicts_with = "server")]
    pub(crate) descriptor_ceiling: Option<usize>,

    /// Run only cases whose name or topic contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,

    /// The seed of all random choices; the same seed repeats a failure [default: a new one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Instead of the cases, run random clients for this time, such as 5m; disturb the server with signals,
    /// stops and shortages of descriptors; compare every byte, and what the server holds before and after
    #[arg(long, value_name = "DURATION", conflicts_with = "filter")]
    pub(crate) soak: Option<humantime::Duration>,

    /// The longest wait for an answer; a server whose threads all sleep for a fifth of it has failed
    #[arg(long, value_name = "DURATION", default_value_t = TIMEOUT.into())]
    pub(crate) timeout: humantime::Duration,

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

/// The servers that the command line names.
///
/// # Errors
///
/// When it names none, or asks for something that the server cannot be told.
pub(crate) fn subjects(args: &Args) -> Result<Vec<Subject>, Error> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut subjects = match (&args.addr, &args.server) {
        (Some(addr), _) => {
            let addr = addr.clone();
            let addr =
                if args.udp { addr.over_udp().map_err(|_| Error::UdpHasNoPath)? } else { addr };
            vec![Subject::new(addr.to_string(), Access::Address(addr), seed)]
        }
        (None, Some(name)) => of_catalogue(name, seed)?,
        (None, None) if args.command.is_empty() => return Err(Error::NoSubject),
        (None, None) if args.unix && !args.contract => return Err(Error::UnixNeedsContract),
        (None, None) => vec![of_command(args, seed)?],
    };
    for subject in &mut subjects {
        subject.timeout = args.timeout.into();
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

fn of_command(args: &Args, seed: u64) -> Result<Subject, Error> {
    let words = args.command.clone();
    // Quoted, so that the name can be pasted into a shell. A NUL cannot be quoted.
    let name = shlex::try_join(words.iter().map(String::as_str));
    let name = name.unwrap_or_else(|_| words.join(" "));
    if args.contract {
        return Ok(Subject::new(name, Access::Contract(words), seed));
    }
    if !words.iter().any(|word| word.contains("{addr}") || word.contains("{port}")) {
        return Err(Error::NoPlaceForAddress);
    }
    Ok(Subject::new(name, Access::Command(words), seed))
}

/// Servers of the catalogue, from the directory of this program: `cargo build` puts both there.
fn of_catalogue(name: &str, seed: u64) -> Result<Vec<Subject>, Error> {
    let directory = std::env::current_exe().map_err(Error::OwnPath)?;
    let directory = directory.parent().map(PathBuf::from).unwrap_or_default();
    let mut subjects = Vec::new();
    for server in catalogue::SERVERS.iter().filter(|server| name == "all" || server.name == name) {
        let executable = directory.join(server.package);
        if !executable.is_file() {
            return Err(Error::NotBuilt { executable, package: server.package });
        }
        subjects.push(Subject::of_catalogue(server, &executable, seed));
    }
    if subjects.is_empty() {
        let known = catalogue::SERVERS.iter().map(|server| server.name).collect();
        return Err(Error::NoSuchServer { name: name.to_owned(), known });
    }
    Ok(subjects)
}
