//! `check`: does this echo server keep the contract?
//!
//! ```console
//! $ check -- python3 server.py {port}       # any command, in any language
//! $ check --addr 127.0.0.1:7000             # a server that runs already
//! $ check --server epoll-selector           # one of this workspace
//! $ check --soak 5m --server epoll-selector # everything at random, for five minutes
//! ```
//!
//! Exit status: 0 when nothing failed, 1 when something did, 2 for bad arguments.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use conformance::{
    self, Access, Address, Case, Outcome, PATIENCE, Report, Subject, Transport,
    raise_descriptor_limit,
};
use indicatif::{ProgressBar, ProgressStyle};
use server_process::catalogue::{self, Concurrency};

/// Check an echo server against the contract, case by case
///
/// The cases that only need an address run on any server. Those that signal the server, limit its
/// descriptors or look at its memory need a COMMAND, so that the process is ours. Those about
/// --max-connections, --drain, the output and the exit status need a command that takes the contract's
/// options: say --contract.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
struct Args {
    #[arg(
        long,
        value_name = "ADDR",
        group = "subject",
        help = "A server that runs already: IPV4:PORT, [IPV6]:PORT or unix:/PATH"
    )]
    addr: Option<Address>,

    /// A server of this workspace, built beside this program, or `all` of them
    #[arg(long, value_name = "NAME", group = "subject")]
    server: Option<String>,

    /// A command that starts a server; {addr} (HOST:PORT), or {host} and {port}, is where to listen
    #[arg(last = true, value_name = "COMMAND", group = "subject")]
    command: Vec<String>,

    /// COMMAND takes the contract's options and prints `listening on ADDR`; it needs no {addr}
    #[arg(long, requires = "command")]
    contract: bool,

    /// Have the server listen on a Unix-domain socket instead of a TCP port
    #[arg(long, conflicts_with = "addr")]
    unix: bool,

    /// It echoes datagrams: run the cases about those
    #[arg(long, conflicts_with_all = [
        "server", "concurrency", "scans", "descriptor_ceiling", "unix", "soak",
    ])]
    udp: bool,

    /// How many clients it serves at the same time [default: any number]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..),
          conflicts_with = "server")]
    concurrency: Option<u32>,

    /// It burns CPU while it has nothing to do, and is meant to
    #[arg(long, conflicts_with = "server")]
    spins: bool,

    /// It asks about every client for each message, and is meant to
    #[arg(long, conflicts_with = "server")]
    scans: bool,

    /// It cannot serve descriptors numbered from here on (1024 for select)
    #[arg(long, value_name = "NUMBER", conflicts_with = "server")]
    descriptor_ceiling: Option<usize>,

    /// Run only cases whose name or topic contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Seed of everything random; a failure is repeated with the same one [default: a new one]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Instead of the cases: do everything that clients do, at random, for so long (such as 5m), in a
    /// weather of signals and descriptor shortage; compare every byte, and what the server holds
    /// before and after
    #[arg(long, value_name = "DURATION", conflicts_with = "filter")]
    soak: Option<humantime::Duration>,

    /// How long to wait for the server to do what it should
    #[arg(long, value_name = "DURATION", default_value_t = PATIENCE.into())]
    patience: humantime::Duration,

    /// Print JSON, one object for each server, and nothing else on stdout
    #[arg(long)]
    json: bool,

    /// List the cases with what the contract says, and run none
    #[arg(long)]
    list: bool,
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

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        return exit_code(list(&args));
    }
    raise_descriptor_limit();
    match subjects(&args) {
        Ok(subjects) => exit_code(match args.soak {
            Some(duration) => soak(&args, &subjects, duration.into()),
            None => check(&args, &subjects),
        }),
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(2)
        }
    }
}

/// What is to be checked.
fn subjects(args: &Args) -> Result<Vec<Subject>, String> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    if args.udp && matches!(args.addr, Some(Address::Unix(_))) {
        return Err("UDP has no paths: give --addr IPV4:PORT or [IPV6]:PORT".to_owned());
    }
    let mut subjects = match (&args.addr, &args.server) {
        (Some(addr), _) => {
            vec![Subject::new(addr.to_string(), Access::Address(addr.clone()), seed)]
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
        subject.datagrams = args.udp;
        if let Some(count) = args.concurrency {
            subject.traits.concurrency = Concurrency::AtMost(count as usize);
        }
        if args.unix {
            subject.transport = Transport::Unix;
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

/// The cases that the filters let through.
fn chosen(args: &Args) -> Vec<(&'static str, &'static Case)> {
    let wanted = |topic: &str, case: &Case| {
        args.filter.is_empty()
            || args.filter.iter().any(|text| case.name.contains(text) || topic.contains(text))
    };
    if args.udp {
        conformance::datagram_cases().filter(|(topic, case)| wanted(topic, case)).collect()
    } else {
        conformance::cases().filter(|(topic, case)| wanted(topic, case)).collect()
    }
}

fn list(args: &Args) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for (topic, case) in chosen(args) {
        writeln!(out, "{topic:9} {}\n{:10}{}", case.name, "", case.says)?;
    }
    Ok(true)
}

/// Runs the cases on every subject; true when none failed.
fn check(args: &Args, subjects: &[Subject]) -> io::Result<bool> {
    let cases = chosen(args);
    if cases.is_empty() {
        complain(&"no case has that in its name; see --list");
        return Ok(false);
    }
    let out = Printer::new(args.json);
    let mut passed = true;
    for subject in subjects {
        let (mut report, start) = (Report::new(subject), Instant::now());
        out.title(subject)?;
        // Of a server that does not even start one line is enough.
        if let Err(complaint) = subject.probe() {
            complain(&complaint);
            passed = false;
            continue;
        }
        for &(topic, case) in &cases {
            let start = Instant::now();
            let outcome = case.run(subject);
            out.case(case, &outcome)?;
            report.add(topic, case, &outcome, start.elapsed().as_secs_f64());
        }
        out.summary(&report, start.elapsed())?;
        passed &= report.failed == 0;
    }
    Ok(passed)
}

/// Soaks every subject; true when all came out as they went in.
fn soak(args: &Args, subjects: &[Subject], duration: Duration) -> io::Result<bool> {
    let mut passed = true;
    for subject in subjects {
        if !args.json {
            writeln!(io::stdout(), "soaking {} (seed {})", subject.name, subject.seed)?;
        }
        if let Err(complaint) = subject.probe() {
            complain(&complaint);
            passed = false;
            continue;
        }
        let bar = progress_bar(duration);
        let report = conformance::soak(subject, duration, |elapsed, deeds| {
            bar.set_position(elapsed.as_secs());
            bar.set_message(format!("{} connections", deeds.connections));
        });
        bar.finish_and_clear();
        passed &= report.passed();
        let mut out = io::stdout().lock();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
            continue;
        }
        write!(out, "{report}")?;
        match &report.failure {
            None => writeln!(out, "passed: nothing lost, changed or left over")?,
            Some(failure) => writeln!(out, "FAILED\n{failure}")?,
        }
    }
    Ok(passed)
}

/// On stderr, and only when that is a terminal.
fn progress_bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_secs());
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s, {msg}");
    style.map_or(ProgressBar::hidden(), |style| bar.with_style(style))
}

/// A line for each case, or JSON.
struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    /// Colours only where someone looks, and does not object (no-color.org).
    fn new(json: bool) -> Printer {
        let objects = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Printer { json, colour: io::stdout().is_terminal() && !objects }
    }

    fn title(&self, subject: &Subject) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout(), "checking {} (seed {})", subject.name, subject.seed)
    }

    fn case(&self, case: &Case, outcome: &Outcome) -> io::Result<()> {
        const GREEN: &str = "32";
        const RED: &str = "31";
        const DIM: &str = "2";
        if self.json {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match outcome {
            Outcome::Pass => writeln!(out, "{} {}", self.painted(GREEN, "pass"), case.name),
            Outcome::NotApplicable(why) => {
                writeln!(out, "{}  {}: {why}", self.painted(DIM, "n/a"), case.name)
            }
            Outcome::Fail(failure) => {
                writeln!(out, "{} {}", self.painted(RED, "FAIL"), case.name)?;
                let explained = case.explain(failure);
                explained.lines().try_for_each(|line| writeln!(out, "       {line}"))
            }
        }
    }

    fn summary(&self, report: &Report, took: Duration) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return writeln!(out, "{}", serde_json::to_string(report)?);
        }
        let Report { passed, failed, not_applicable, .. } = report;
        let took = took.as_secs_f64();
        writeln!(
            out,
            "{passed} passed, {failed} failed, {not_applicable} not applicable, {took:.1} s"
        )
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on stderr, if anybody reads that.
fn complain(complaint: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "error: {complaint}");
}

/// 0 when nothing failed. A reader that has left, as `head` does, is no failure of ours to report.
fn exit_code(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
