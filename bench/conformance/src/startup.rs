//! The command line, the output, the exit status, and a server that has nothing to do.

use std::net::ToSocketAddrs;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_process::address::{Address, Transport};

use crate::case::{Case, Need};
use crate::limits::expect_refusal;
use crate::stage::{Launch, Stage};
use crate::verdict::{Verdict, fails, not_applicable};
use crate::words;

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_millis(400);

/// The largest share of a CPU that an idle server may use. It leaves room for the timers of a runtime.
const IDLE_CPU_SHARE_MAX: f64 = 0.05;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "idle_it_uses_no_cpu",
        says: "idle: no CPU",
        mistake: "the server polls with a short timeout, or watches something that is always ready, such \
                  as an empty send buffer",
        hint: "watch a socket for writing only while bytes wait to be written",
        needs: &[Need::Process, Need::Sleeps],
        run: idle_it_uses_no_cpu,
    },
    Case {
        name: "it_restarts_at_once_on_the_same_port",
        says: "a restart does not wait for the connections of the previous run",
        mistake: "connections that the server closed first are in TIME_WAIT, and keep the port in use",
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
        name: "a_host_name_is_resolved",
        says: "--addr takes HOST:PORT too, and stdout has the address of the host",
        mistake: "the server accepts only digits, or prints the name",
        hint: "resolve the name with getaddrinfo(), and print what getsockname() returns after bind()",
        needs: &[Need::Contract, Need::Tcp],
        run: a_host_name_is_resolved,
    },
    Case {
        name: "port_0_prints_the_real_port",
        says: "stdout: the real port when --addr has port 0",
        mistake: "the server prints the address of its command line",
        hint: "print what getsockname() returns after bind()",
        needs: &[Need::Contract, Need::Tcp],
        run: port_0_prints_the_real_port,
    },
    Case {
        name: "stdout_has_exactly_one_line",
        says: "stdout: exactly one line, `listening on ADDR`; everything else goes to stderr",
        mistake: "the server logs to stdout",
        hint: "scripts read the address from stdout: log to stderr",
        needs: &[Need::Contract, Need::Process],
        run: stdout_has_exactly_one_line,
    },
    Case {
        name: "totals_at_exit",
        says: "stderr: at exit one line of totals (connections, bytes, errors)",
        mistake: "the totals are missing, or leave out connections that are open at the stop",
        hint: "count each accepted connection and all written bytes, and add them up before exit",
        needs: &[Need::Contract, Need::Process],
        run: totals_at_exit,
    },
    Case {
        name: "address_in_use_is_one_clear_line",
        says: "an address that cannot be bound: one clear line, exit 1",
        mistake: "the server panics, or SO_REUSEPORT lets two servers share the port",
        hint: "print the address and the error to stderr, and exit with status 1",
        needs: &[Need::Contract],
        run: address_in_use_is_one_clear_line,
    },
    Case {
        name: "bad_arguments_are_refused",
        says: "bad arguments: a message on stderr, exit 2; never a panic",
        mistake: "the server ignores a bad value, or panics",
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
    // Three clients have left, and three are connected and idle.
    let clients = server.served_many(stage.subject().at_most(3))?;
    drop(clients);
    let clients = server.served_many(stage.subject().at_most(3))?;
    let share = server.cpu_share(IDLE)?;
    drop(clients);
    if share > IDLE_CPU_SHARE_MAX {
        return server.fails(
            format_args!("at most {:.0} % of a CPU while idle", IDLE_CPU_SHARE_MAX * 100.0),
            format_args!("{:.0} %", share * 100.0),
        );
    }
    Ok(())
}

/// The server ends while a client is connected. It closes first, so its side is in TIME_WAIT.
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
        return not_applicable("this machine has no IPv6");
    }
    let launch = Launch { addr: Some("[::1]:0".to_owned()), ..Launch::default() };
    let server = stage.launch(&launch)?;
    match server.addr() {
        Address::Tcp(addr) if addr.is_ipv6() => server.expect_service(),
        other => fails("an IPv6 address in the first line", other),
    }
}

fn a_host_name_is_resolved(stage: &Stage) -> Verdict {
    let resolved = "localhost:0".to_socket_addrs();
    if !resolved.is_ok_and(|mut found| found.any(|addr| addr.ip().is_loopback())) {
        return not_applicable("this machine does not resolve localhost to a loopback address");
    }
    let launch = Launch { addr: Some("localhost:0".to_owned()), ..Launch::default() };
    let server = stage.launch(&launch)?;
    match server.addr() {
        Address::Tcp(addr) if addr.ip().is_loopback() && addr.port() != 0 => {
            server.expect_service()
        }
        other => server.fails("a loopback address with its port in the first line", other),
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
    // The server must notice the reset before the stop.
    server.wait_until_settled()?;
    let mut open = server.connect()?;
    open.exchange(34)?;
    server.signal(Signal::SIGTERM)?;
    let ended = server.expect_ended()?;
    // A Unix-domain socket has no reset: the server reads end of stream instead.
    let errors = if stage.subject().transport == Transport::Unix { 0 } else { 1 };
    let expected = format!("connections 3, bytes echoed 1234, errors {errors}");
    let last_line = ended.stderr.trim_end().lines().last().unwrap_or_default();
    if !last_line.starts_with(&expected) {
        return fails(
            format_args!("{expected:?} at the end of stderr"),
            words::stderr(&ended.stderr),
        );
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
            format_args!("stdout {:?}, {}", ended.stdout, words::stderr(&ended.stderr)),
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
                format_args!("{}, {}", ended.status, words::stderr(&ended.stderr)),
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
        Some(missing) => fails(format_args!("{missing} is explained"), "--help does not have it"),
        None if !ended.stdout.contains("127.0.0.1") => {
            fails("the default address is 127.0.0.1", "--help does not say so")
        }
        None => Ok(()),
    }
}
