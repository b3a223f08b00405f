//! The command line, the output, the exit status; and a server that has nothing to do.

use std::time::Duration;

use nix::sys::signal::Signal;
use server_process::address::{Address, Transport};

use crate::case::{Case, Need};
use crate::limits::expect_refusal;
use crate::stage::{Launch, Stage, shown};
use crate::verdict::{Trouble, Verdict, fails};

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_millis(400);

/// The share of a CPU that an idle server may use: "no CPU", with room for a runtime's own timers.
const IDLE_CPU_SHARE_MAX: f64 = 0.05;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "idle_it_uses_no_cpu",
        says: "idle: no CPU",
        mistake: "the server polls with a short timeout, or watches for something that is always ready, \
                  such as an empty send buffer",
        hint: "watch a socket for writing only while there is something to write",
        needs: &[Need::Process, Need::Sleeps],
        run: idle_it_uses_no_cpu,
    },
    Case {
        name: "it_restarts_at_once_on_the_same_port",
        says: "a restart does not have to wait for the connections of the run before",
        mistake: "connections that the server closed first are in TIME_WAIT and keep the port",
        hint: "set SO_REUSEADDR on the listener before bind() (socket(7))",
        needs: &[Need::Process],
        run: it_restarts_at_once_on_the_same_port,
    },
    Case {
        name: "ipv6",
        says: "--addr takes [IPV6]:PORT too",
        mistake: "the address is split at the first colon, or the socket is always AF_INET",
        hint: "take the address family of the socket from the address",
        needs: &[Need::Contract, Need::Tcp],
        run: ipv6,
    },
    Case {
        name: "port_0_prints_the_real_port",
        says: "stdout: the real port when 0 was asked for",
        mistake: "the server prints what it was asked for",
        hint: "print what getsockname() says after bind()",
        needs: &[Need::Contract, Need::Tcp],
        run: port_0_prints_the_real_port,
    },
    Case {
        name: "stdout_has_exactly_one_line",
        says: "stdout: exactly one line, `listening on ADDR`; everything else goes to stderr",
        mistake: "the server logs to stdout",
        hint: "a script that reads the address reads stdout; log to stderr",
        needs: &[Need::Contract, Need::Process],
        run: stdout_has_exactly_one_line,
    },
    Case {
        name: "totals_at_exit",
        says: "stderr: at exit one line of totals (connections, bytes, errors)",
        mistake: "the totals are missing or wrong: connections that are still open at the stop count too",
        hint: "count when bytes are written and when a connection is accepted, and add up before exit",
        needs: &[Need::Contract, Need::Process],
        run: totals_at_exit,
    },
    Case {
        name: "address_in_use_is_one_clear_line",
        says: "an address that cannot be bound: one clear line, exit 1",
        mistake: "a panic or a stack trace, or SO_REUSEPORT lets two servers share the port unnoticed",
        hint: "print the address and the error to stderr and exit with status 1",
        needs: &[Need::Contract],
        run: address_in_use_is_one_clear_line,
    },
    Case {
        name: "bad_arguments_are_refused",
        says: "bad arguments: a message on stderr, exit 2; never a panic",
        mistake: "a bad value is ignored or makes the server panic",
        hint: "check every argument before you listen",
        needs: &[Need::Contract],
        run: bad_arguments_are_refused,
    },
    Case {
        name: "help_explains_every_option",
        says: "--help explains each option; the default address is loopback",
        mistake: "an option of the contract is missing",
        hint: "the options are --addr, --backlog, --max-connections, --drain, --work and -v",
        needs: &[Need::Contract],
        run: help_explains_every_option,
    },
];

fn idle_it_uses_no_cpu(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    // With clients that have nothing to say, and one that has been and gone.
    let clients = server.served_many(stage.subject().at_most(3))?;
    drop(clients);
    let clients = server.served_many(stage.subject().at_most(3))?;
    let share = server.cpu_share(IDLE)?;
    drop(clients);
    if share > IDLE_CPU_SHARE_MAX {
        return fails(
            "no CPU without anything to do",
            format_args!("{:.0} % of a CPU", share * 100.0),
        );
    }
    Ok(())
}

/// The server is asked to end while a client is connected: it closes first, and so has the TIME_WAIT.
fn it_restarts_at_once_on_the_same_port(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let addr = server.addr().to_string();
    let client = server.served()?;
    server.signal(Signal::SIGTERM)?;
    server.expect_ended()?;
    drop(client);
    let launch = Launch { addr: Some(addr), ..Launch::default() };
    stage.launch(&launch)?.expect_service()
}

fn ipv6(stage: &Stage) -> Verdict {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return Err(Trouble::NotApplicable("this machine has no IPv6".to_owned()));
    }
    let launch = Launch { addr: Some("[::1]:0".to_owned()), ..Launch::default() };
    let server = stage.launch(&launch)?;
    match server.addr() {
        Address::Tcp(addr) if addr.is_ipv6() => server.expect_service(),
        other => fails("an IPv6 address in the first line", other),
    }
}

fn port_0_prints_the_real_port(stage: &Stage) -> Verdict {
    let (one, other) = (stage.start()?, stage.start()?);
    if one.addr() == other.addr() {
        return fails("two servers on two ports", format_args!("both on {}", one.addr()));
    }
    one.expect_service()?;
    other.expect_service()
}

fn stdout_has_exactly_one_line(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--verbose"])?;
    let line = format!("listening on {}\n", server.addr());
    server.expect_service()?;
    server.connect()?.reset();
    server.expect_service()?;
    server.signal(Signal::SIGTERM)?;
    let ended = server.expect_ended()?;
    if ended.stdout != line {
        return fails(format_args!("{line:?}"), format_args!("{:?}", ended.stdout));
    }
    Ok(())
}

/// Three connections: one that has left, one that is reset, and one that is open at the stop.
fn totals_at_exit(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut gone = server.connect()?;
    gone.exchange(1000)?;
    gone.half_close()?;
    gone.expect_end()?;
    drop(gone);
    let mut reset = server.connect()?;
    reset.exchange(200)?;
    reset.reset();
    // Else the stop may come before the server has noticed.
    server.wait_until_settled()?;
    let mut open = server.connect()?;
    open.exchange(34)?;
    server.signal(Signal::SIGTERM)?;
    let ended = server.expect_ended()?;
    // On a Unix-domain socket there is no reset: the end of the stream comes instead.
    let errors = if stage.subject().transport == Transport::Unix { 0 } else { 1 };
    let expected = format!("connections 3, bytes echoed 1234, errors {errors}");
    let last_line = ended.stderr.trim_end().lines().last().unwrap_or_default();
    if !last_line.starts_with(&expected) {
        return fails(format_args!("{expected:?} at the end of stderr"), shown(&ended.stderr));
    }
    Ok(())
}

fn address_in_use_is_one_clear_line(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let addr = server.addr().to_string();
    let ended = stage.run_to_end(&["--addr", &addr])?;
    expect_refusal(&ended, 1)?;
    if !ended.stderr.contains(&addr) || !ended.stdout.is_empty() {
        return fails(
            format_args!("a line on stderr that names {addr}, and nothing on stdout"),
            format_args!("stderr {}, stdout {}", shown(&ended.stderr), shown(&ended.stdout)),
        );
    }
    Ok(())
}

fn bad_arguments_are_refused(stage: &Stage) -> Verdict {
    for bad in [
        ["--no-such-option", "1"],
        ["--addr", "nowhere"],
        ["--addr", "127.0.0.1:65536"],
        ["--backlog", "many"],
        ["--max-connections", "0"],
        ["--drain", "soon"],
        ["--work", "-1s"],
    ] {
        let ended = stage.run_to_end(&bad)?;
        let said_why = !ended.stderr.trim().is_empty() && !ended.stderr.contains("panicked");
        if ended.status.code() != Some(2) || !said_why || !ended.stdout.is_empty() {
            return fails(
                format_args!("{}: exit status 2, and a message on stderr", bad.join(" ")),
                format_args!("{}, stderr {}", ended.status, shown(&ended.stderr)),
            );
        }
    }
    Ok(())
}

fn help_explains_every_option(stage: &Stage) -> Verdict {
    let ended = stage.run_to_end(&["--help"])?;
    if !ended.is_success() {
        return fails("exit status 0", ended.status);
    }
    let options = ["--addr", "--backlog", "--max-connections", "--drain", "--work", "--verbose"];
    match options.iter().find(|&&option| !ended.stdout.contains(option)) {
        Some(missing) => fails(format_args!("{missing} is explained"), "it is not mentioned"),
        None if !ended.stdout.contains("127.0.0.1") => {
            fails("the default address is 127.0.0.1", "--help does not say so")
        }
        None => Ok(()),
    }
}
