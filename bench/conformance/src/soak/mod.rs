//! The soak: clients do everything that clients can do, at random and for a long time. Every byte is
//! compared, and at the end the server must hold no more than at the start.

mod clients;
mod disturbances;
mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_process::catalogue::Concurrency;

pub use clients::ClientTotals;
pub use disturbances::Disturbances;
pub use report::SoakReport;

use crate::server::Server;
use crate::stage::{NO_LOCAL_PORT, Stage};
use crate::subject::{Access, Subject};
use crate::verdict::{Failure, Trouble, Verdict, fails};
use crate::words;
use clients::Clients;
use disturbances::Disturber;

/// Clients at the same time, against a server without a declared limit.
const CLIENTS: usize = 16;

/// Clients at the same time beyond the limit that a server declares.
const CLIENTS_BEYOND_LIMIT: usize = 2;

/// The time before the server is measured for the first time. The server makes in it what it makes once
/// and keeps.
const WARM_UP: Duration = Duration::from_secs(1);

/// How often the server is measured.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// The most by which a server's memory may have grown at the end, in bytes. An allocator does not return
/// all memory. A leak of 100 bytes for each connection exceeds this after some minutes.
const MEMORY_SLACK: u64 = 8 << 20;

/// Soaks a server for `duration`, and returns how it went. Calls `progress` several times a second, with
/// the time that has passed and what the clients have done.
///
/// The seed of the subject decides what each client does. The scheduler decides when.
pub fn soak(
    subject: &Subject,
    duration: Duration,
    mut progress: impl FnMut(Duration, &ClientTotals),
) -> SoakReport {
    let stage = Stage::new(subject);
    let mut report = SoakReport::new(duration);
    let verdict = stage.start().and_then(|server| {
        report.clients = clients_at_a_time(subject);
        run_clients(&server, WARM_UP.min(duration), &mut report, &mut |_, _| {})?;
        report.start = server.settled()?;
        run_clients(&server, duration, &mut report, &mut progress)?;
        report.end = server.settled()?;
        expect_no_growth(&server, &report)?;
        expect_good_end(server, &report)
    });
    report.failure = verdict.err().map(|trouble| match trouble {
        Trouble::Fails(failure) => failure,
        Trouble::NotApplicable(seen) => not_soaked(seen),
        Trouble::NoLocalPort => not_soaked(NO_LOCAL_PORT.to_owned()),
    });
    report
}

/// The failure of a soak that did not take place.
fn not_soaked(seen: String) -> Failure {
    Failure { expected: "a server that can be soaked".to_owned(), seen, cause: None }
}

fn clients_at_a_time(subject: &Subject) -> usize {
    match subject.traits.concurrency {
        Concurrency::AtMost(limit) => CLIENTS.min(limit + CLIENTS_BEYOND_LIMIT),
        Concurrency::Unbounded => CLIENTS,
    }
}

/// Runs clients for `duration`, one after the other on each thread, and disturbs the server meanwhile.
fn run_clients(
    server: &Server,
    duration: Duration,
    report: &mut SoakReport,
    progress: &mut impl FnMut(Duration, &ClientTotals),
) -> Verdict {
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let clients = Clients::new(server, &stop);
    let disturber = Disturber::new(server, &stop);
    let trouble = Mutex::new(None);
    let note = |verdict: Verdict| {
        if let Err(found) = verdict {
            stop.store(true, Ordering::Relaxed);
            // The first trouble is the cause. Later troubles may follow from it.
            trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
        }
    };
    thread::scope(|scope| {
        for number in 0..report.clients {
            let (clients, note) = (&clients, &note);
            scope.spawn(move || note(clients.run(number)));
        }
        if let Some(disturber) = &disturber {
            let note = &note;
            scope.spawn(move || note(disturber.run()));
        }
        while start.elapsed() < duration && !stop.load(Ordering::Relaxed) {
            thread::sleep(SAMPLE_INTERVAL.min(duration));
            match server.holds() {
                Ok(Some(holds)) => report.sample(holds),
                Ok(None) => {}
                Err(found) => note(Err(found)),
            }
            progress(start.elapsed(), &clients.totals());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let disturbances = disturber.map(|disturber| disturber.so_far());
    report.add(clients.totals(), disturbances, start.elapsed());
    trouble.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn expect_no_growth(server: &Server, report: &SoakReport) -> Verdict {
    let (Some(start), Some(end)) = (report.start, report.end) else { return Ok(()) };
    server.expect_holds_no_more_than(Some(start))?;
    let growth = end.memory.saturating_sub(start.memory);
    if growth > MEMORY_SLACK {
        return server.fails(
            format_args!("at most {} KiB more memory than at the start", MEMORY_SLACK >> 10),
            format_args!("{} KiB more", growth >> 10),
        );
    }
    Ok(())
}

/// Expects the server to serve a client, to end as the contract says, and to count at least the bytes
/// that the clients received.
fn expect_good_end(server: Server, report: &SoakReport) -> Verdict {
    server.expect_service()?;
    if !matches!(server.subject().access, Access::Contract(_)) {
        return Ok(());
    }
    server.signal(Signal::SIGTERM)?;
    let ended = server.expect_exit_0()?;
    let echoed = ended.stderr.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("bytes echoed ")?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    match echoed {
        Some(echoed) if echoed >= report.totals.received => Ok(()),
        _ => fails(
            format_args!("totals of at least {} bytes echoed", report.totals.received),
            words::stderr(&ended.stderr),
        ),
    }
}
