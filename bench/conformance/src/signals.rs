//! Signals: those that ask it to stop, and those that must not matter.

use std::thread;

use nix::sys::signal::Signal;

use crate::case::{Case, Need};
use crate::client::Client;
use crate::stage::{SILENCE, Server, Stage};
use crate::verdict::{Verdict, fails};

/// Signals whose default is to be ignored (signal(7)). A system call that sleeps may all the same be
/// interrupted, by a handler or by SIGCONT.
pub(crate) const HARMLESS: [Signal; 4] =
    [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCONT];

/// A drain so long that no case outlasts it: what ends before that has not waited for its end.
const LONG_DRAIN: &[&str] = &["--drain", "1h"];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "stop_and_continue",
        says: "a server that was stopped goes on where it was",
        mistake: "SIGCONT interrupts the call that waits, and the server takes EINTR for an error",
        hint: "on EINTR call again: epoll_wait, select and poll return it even under SA_RESTART",
        needs: &[Need::Process],
        run: stop_and_continue,
    },
    Case {
        name: "a_storm_of_harmless_signals",
        says: "EINTR is survived; no byte is lost or repeated",
        mistake: "an interrupted call ends the connection or the server, or is taken to have done nothing",
        hint: "EINTR means that nothing was done: call again; a short write before a signal counts",
        needs: &[Need::Process],
        run: a_storm_of_harmless_signals,
    },
    Case {
        name: "sigterm_echoes_what_has_arrived",
        says: "SIGTERM: stop accepting, finish what is pending, exit 0",
        mistake: "the server ends, or closes its clients, without a look at what they have sent",
        hint: "shut down the reading half of each connection, echo up to the end of stream, then close",
        needs: &[Need::Contract, Need::Process],
        run: |stage| echoes_what_has_arrived(stage, Signal::SIGTERM),
    },
    Case {
        name: "sigint_echoes_what_has_arrived",
        says: "SIGINT: stop accepting, finish what is pending, exit 0",
        mistake: "SIGINT is left at its default, or handled otherwise than SIGTERM",
        hint: "Ctrl-C is a SIGINT: give both signals the same handler",
        needs: &[Need::Contract, Need::Process],
        run: |stage| echoes_what_has_arrived(stage, Signal::SIGINT),
    },
    Case {
        name: "sigterm_with_idle_clients_ends_at_once",
        says: "SIGTERM: there is nothing pending, so nothing is waited for",
        mistake: "the server waits out its drain time, or for idle clients to leave",
        hint: "a client that has everything back holds nobody up: close it",
        needs: &[Need::Contract, Need::Process],
        run: sigterm_with_idle_clients_ends_at_once,
    },
    Case {
        name: "sigterm_with_a_stuck_peer_ends_within_drain",
        says: "SIGTERM: what is pending is given at most --drain, then exit 0",
        mistake: "a thread is blocked in write() to a client that does not read, and nobody wakes it",
        hint: "when the drain time is over shut the connection down: that wakes a blocked write()",
        needs: &[Need::Contract, Need::Process],
        run: sigterm_with_a_stuck_peer_ends_within_drain,
    },
    Case {
        name: "no_client_is_served_after_sigterm",
        says: "SIGTERM: stop accepting",
        mistake: "the server goes on accepting while it drains",
        hint: "take the listener out of the loop, or close it, when the signal comes",
        needs: &[Need::Contract, Need::Process],
        run: no_client_is_served_after_sigterm,
    },
    Case {
        name: "a_second_sigterm_ends_at_once",
        says: "SIGINT, SIGTERM: a second signal ends at once",
        mistake: "the drain cannot be cut short, or the first signal did not drain",
        hint: "the first signal sets a flag; when the flag is set already, exit",
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
    // Stopped while it waits, and woken with nothing to do.
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
        // Large ones take several calls, small ones find the server asleep.
        client.exchange(if round % 4 == 0 { 100_000 } else { 10 })?;
    }
    drop(client);
    server.expect_service()
}

/// The server is stopped while the clients send, so that at the time of the signal everything has
/// arrived and nothing has been read. Some work for each read makes sure that a server which does not
/// wait for the answers has left before they are sent.
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
    // Nor does it need a client to notice.
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

fn no_client_is_served_after_sigterm(stage: &Stage) -> Verdict {
    let server = stage.start_with(LONG_DRAIN)?;
    let stuck = server.stuck(1)?;
    server.signal_and_wait(Signal::SIGTERM)?;
    expect_still_running(&server)?;
    // The listener may be closed, which is as good.
    if let Ok(mut late) = server.begin()
        && late.send(100).is_ok()
        && late.is_answered_within(SILENCE)
    {
        return fails("nobody is served who comes after SIGTERM", "a client that was");
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

/// Expects it not to end while bytes are pending that a client may yet read.
fn expect_still_running(server: &Server) -> Verdict {
    thread::sleep(SILENCE);
    match server.holds() {
        Ok(Some(holds)) if holds.threads > 0 => Ok(()),
        _ => fails("it waits for what is pending, up to --drain", "it ended at once"),
    }
}
