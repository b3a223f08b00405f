//! Signals: those that ask the server to stop, and those that it must survive.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::case::{Case, Need};
use crate::client::Client;
use crate::server::{SILENCE, Server};
use crate::stage::Stage;
use crate::verdict::Verdict;
use crate::words;

/// Signals that a process ignores by default (signal(7)). SIGCONT and signals with a handler still
/// interrupt a system call that sleeps.
pub(crate) const HARMLESS: [Signal; 4] =
    [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCONT];

/// A drain that is longer than any case: a server that ends has not waited for it.
const LONG_DRAIN: &[&str] = &["--drain", "1h"];

/// Clients for whom the server computes when the signal comes.
const COMPUTING: usize = 40;

/// The least bytes that each of them has sent: the buffers of any socket have room for them.
const ONE_READ: u64 = 4 << 10;

/// The most bytes that all of them have sent together. A server that reads up to 64 KiB at a time reads each
/// client several times.
const COMPUTED_BYTES: u64 = 10 << 20;

/// `--work` while clients compute: what one read costs.
const WORK: Duration = Duration::from_millis(50);

/// `--drain` while clients compute.
const DRAIN: Duration = Duration::from_millis(200);

/// Works that a server may do beyond those that its threads have begun. A server that does one work for
/// each client after the signal does several times as many.
const SPARE_WORKS: u32 = 3;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "stop_and_continue",
        says: "a server that was stopped continues where it was",
        mistake: "SIGCONT interrupts the call that waits, and EINTR ends the server",
        hint: "on EINTR call again: epoll_wait, select and poll return it even with SA_RESTART",
        needs: &[Need::Process],
        run: stop_and_continue,
    },
    Case {
        name: "a_storm_of_harmless_signals",
        says: "the server survives EINTR, and no byte is lost or repeated",
        mistake: "an interrupted call ends the connection or the server, or a short write counts as none",
        hint: "EINTR means that the call did nothing: call again; a short write before a signal counts",
        needs: &[Need::Process],
        run: a_storm_of_harmless_signals,
    },
    Case {
        name: "sigterm_echoes_what_has_arrived",
        says: "SIGTERM: stop accepting, finish what is pending, exit 0",
        mistake: "the server ends or closes its clients, and drops the bytes that have arrived",
        hint: "shut down the reading half of each connection, echo until end of stream, then close",
        needs: &[Need::Contract, Need::Process],
        run: |stage| echoes_what_has_arrived(stage, Signal::SIGTERM),
    },
    Case {
        name: "sigint_echoes_what_has_arrived",
        says: "SIGINT: stop accepting, finish what is pending, exit 0",
        mistake: "SIGINT keeps its default action, or has another handler than SIGTERM",
        hint: "Ctrl-C sends SIGINT: give both signals the same handler",
        needs: &[Need::Contract, Need::Process],
        run: |stage| echoes_what_has_arrived(stage, Signal::SIGINT),
    },
    Case {
        name: "sigterm_with_idle_clients_ends_at_once",
        says: "SIGTERM: nothing is pending, so the server ends at once",
        mistake: "the server waits until --drain is over, or until idle clients leave",
        hint: "close a client that has all its bytes back",
        needs: &[Need::Contract, Need::Process],
        run: sigterm_with_idle_clients_ends_at_once,
    },
    Case {
        name: "sigterm_with_a_stuck_peer_ends_within_drain",
        says: "SIGTERM: finish what is pending, for at most --drain, then exit 0",
        mistake: "a thread blocks in write() to a client that does not read, and nothing wakes it",
        hint: "when --drain is over, shut the connection down: that wakes a blocked write()",
        needs: &[Need::Contract, Need::Process],
        run: sigterm_with_a_stuck_peer_ends_within_drain,
    },
    Case {
        name: "sigterm_while_clients_compute_ends_within_drain",
        says: "SIGTERM: finish what is pending, for at most --drain, then exit 0",
        mistake: "the server checks the time once a turn, and a turn computes for every client",
        hint: "check whether --drain is over before each client's step, not only once for all clients",
        needs: &[Need::Contract, Need::Process],
        run: sigterm_while_clients_compute_ends_within_drain,
    },
    Case {
        name: "no_client_is_served_after_sigterm",
        says: "SIGTERM: stop accepting",
        mistake: "the server continues to accept while it drains",
        hint: "when the signal comes, stop watching the listener, or close it",
        needs: &[Need::Contract, Need::Process],
        run: no_client_is_served_after_sigterm,
    },
    Case {
        name: "a_second_sigterm_ends_at_once",
        says: "SIGINT, SIGTERM: a second signal ends at once",
        mistake: "the second signal has no effect, or the first signal ended the server at once",
        hint: "the first signal sets a flag; if the flag is already set, exit",
        needs: &[Need::Contract, Need::Process],
        run: a_second_sigterm_ends_at_once,
    },
];

fn stop_and_continue(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut client = server.served()?;
    for _ in 0..3 {
        server.freeze()?;
        client.send(1000)?;
        let mut next = server.connect()?;
        next.send(1000)?;
        server.thaw()?;
        client.receive_all()?;
        if stage.subject().at_most(2) == 2 {
            next.receive_all()?;
        }
    }
    // The server is stopped while it waits, and continues with nothing to do.
    for _ in 0..3 {
        server.freeze()?;
        server.thaw()?;
    }
    client.exchange(1000)?;
    drop(client);
    server.expect_service()
}

fn a_storm_of_harmless_signals(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut client = server.served()?;
    let process = server.process()?;
    for round in 0..200_u64 {
        for signal in HARMLESS {
            process.signal(signal)?;
        }
        // A large message takes several calls. Before a small one, the server sleeps.
        client.exchange(if round % 4 == 0 { 100_000 } else { 10 })?;
    }
    drop(client);
    server.expect_service()
}

/// The server is stopped while the clients send. At the time of the signal, all bytes have arrived and none
/// has been read. With some work for each read, a server that does not wait ends before it has answered.
fn echoes_what_has_arrived(stage: &Stage, signal: Signal) -> Verdict {
    let server = stage.start_with(&["--drain", "1h", "--work", "20ms"])?;
    let mut clients = server.served_many(stage.subject().at_most(3))?;
    server.freeze()?;
    for (client, count) in clients.iter_mut().zip([20_000, 1, 5_000]) {
        client.send(count)?;
        client.wait_until_arrived()?;
    }
    server.signal(signal)?;
    server.thaw()?;
    clients.iter_mut().try_for_each(Client::expect_end)?;
    server.expect_exit_0().map(drop)
}

fn sigterm_with_idle_clients_ends_at_once(stage: &Stage) -> Verdict {
    let server = stage.start_with(LONG_DRAIN)?;
    let mut clients = server.served_many(stage.subject().at_most(3))?;
    server.signal(Signal::SIGTERM)?;
    clients.iter_mut().try_for_each(Client::expect_end)?;
    server.expect_exit_0()?;
    // A server without clients must notice the signal too.
    let server = stage.start_with(LONG_DRAIN)?;
    server.signal(Signal::SIGTERM)?;
    server.expect_exit_0().map(drop)
}

fn sigterm_with_a_stuck_peer_ends_within_drain(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--drain", "200ms"])?;
    let stuck = server.stuck(1)?;
    server.signal(Signal::SIGTERM)?;
    server.expect_exit_0()?;
    drop(stuck);
    Ok(())
}

/// All clients have sent more than the server can read at once, and each read costs [`WORK`]. The signal
/// comes while the server computes. Measures the CPU time that the server uses from then on: unlike the
/// clock, it does not depend on the load of the machine.
///
/// Each thread may use a CPU until the drain is over, and may complete the work that it has begun.
fn sigterm_while_clients_compute_ends_within_drain(stage: &Stage) -> Verdict {
    let (drain, work) = (DRAIN.as_millis(), WORK.as_millis());
    let options = ["--drain", &format!("{drain}ms"), "--work", &format!("{work}ms")];
    let server = stage.start_with(&options)?;
    let count = stage.subject().at_most(COMPUTING);
    let mut clients = (0..count).map(|_| server.connect()).collect::<Verdict<Vec<_>>>()?;
    server.wait_until_settled()?;
    server.freeze()?;
    for client in &mut clients {
        client.send(ONE_READ)?;
        client.send_at_most(COMPUTED_BYTES / count as u64)?;
    }
    let idle = server.cpu_time()?;
    server.thaw()?;
    let deadline = Instant::now() + stage.subject().timeout;
    while server.cpu_time()? < idle + WORK / 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    let threads = server.holds()?.map_or(1, |holds| holds.threads);
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let allowed = DRAIN * threads.min(cpus) as u32 + WORK * (threads as u32 + SPARE_WORKS);
    let (at_signal, mut used) = (server.cpu_time()?, Duration::ZERO);
    server.signal(Signal::SIGTERM)?;
    while let Ok(now) = server.cpu_time()
        && used <= allowed
        && Instant::now() < deadline
    {
        used = used.max(now.saturating_sub(at_signal));
        thread::sleep(Duration::from_millis(1));
    }
    if used > allowed {
        let (allowed, used) = (words::duration(allowed), words::duration(used));
        return server.fails(
            format_args!(
                "after the signal the server computes for at most {allowed}: during --drain {drain}ms, \
                 then the --work {work}ms that each thread has begun, and {SPARE_WORKS} more (threads: \
                 {threads})"
            ),
            format_args!("it used {used} of CPU time, and did not end"),
        );
    }
    server.expect_exit_0().map(drop)
}

fn no_client_is_served_after_sigterm(stage: &Stage) -> Verdict {
    let server = stage.start_with(LONG_DRAIN)?;
    let stuck = server.stuck(1)?;
    server.signal_and_wait(Signal::SIGTERM)?;
    expect_still_running(&server)?;
    // The listener may be closed too.
    if let Ok(mut late) = server.begin()
        && late.send(100).is_ok()
        && late.is_answered_within(SILENCE)
    {
        return server.fails("no client is served that comes after SIGTERM", "one was served");
    }
    drop(stuck);
    Ok(())
}

fn a_second_sigterm_ends_at_once(stage: &Stage) -> Verdict {
    let server = stage.start_with(LONG_DRAIN)?;
    let stuck = server.stuck(1)?;
    server.signal_and_wait(Signal::SIGTERM)?;
    expect_still_running(&server)?;
    server.signal(Signal::SIGTERM)?;
    server.expect_ended()?;
    drop(stuck);
    Ok(())
}

/// Expects the server to run on while bytes are pending that a client may still read.
fn expect_still_running(server: &Server) -> Verdict {
    thread::sleep(SILENCE);
    match server.holds() {
        Ok(Some(holds)) if holds.threads > 0 => Ok(()),
        _ => server.fails("the server waits for pending bytes, up to --drain", "it ended at once"),
    }
}
