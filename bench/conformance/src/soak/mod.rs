//! The soak: everything that clients do, at random and for a long time, with every byte compared and the
//! server as small at the end as at the start.

mod life;
mod report;
mod weather;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

pub use life::Deeds;
pub use report::SoakReport;
pub use weather::WeatherDeeds;

use crate::stage::{Server, Stage, shown};
use crate::subject::{Access, Subject};
use crate::verdict::{Verdict, fails};
use life::Lives;
use server_process::catalogue::Concurrency;
use weather::Weather;

/// Clients at a time against a server without a limit of its own.
const CLIENTS: usize = 16;

/// Clients at a time beyond those that a server with a limit serves.
const CLIENTS_BEYOND_LIMIT: usize = 2;

/// How long the clients live before the server is looked at for the first time: what it makes once and
/// keeps is made by then.
const WARM_UP: Duration = Duration::from_secs(1);

/// How often the server is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// What a server's memory may have grown by at the end, in bytes: an allocator does not give everything
/// back. A leak of 100 bytes for each connection exceeds it after some minutes.
const MEMORY_SLACK: u64 = 8 << 20;

/// Soaks a server for `duration`, and tells how it went. `progress` hears from time to time what has
/// been done.
///
/// What each client does follows from the subject's seed; when it does it is the scheduler's choice.
pub fn soak(
    subject: &Subject,
    duration: Duration,
    mut progress: impl FnMut(Duration, &Deeds),
) -> SoakReport {
    let stage = Stage::new(subject);
    let mut report = SoakReport::new(duration);
    let verdict = stage.start().and_then(|server| {
        let clients = clients_at_a_time(subject);
        report.clients = clients;
        live_for(&server, clients, WARM_UP.min(duration), &mut report, &mut |_, _| {})?;
        report.start = server.settled()?;
        live_for(&server, clients, duration, &mut report, &mut progress)?;
        report.end = server.settled()?;
        expect_no_growth(&server, &report)?;
        expect_good_end(server, &report)
    });
    if let Err(trouble) = verdict {
        report.fail(trouble, stage.notes());
    }
    report
}

fn clients_at_a_time(subject: &Subject) -> usize {
    match subject.traits.concurrency {
        Concurrency::AtMost(limit) => CLIENTS.min(limit + CLIENTS_BEYOND_LIMIT),
        Concurrency::Unbounded => CLIENTS,
    }
}

/// Has clients live, one after the other on each of `clients` threads, in bad weather.
fn live_for(
    server: &Server,
    clients: usize,
    duration: Duration,
    report: &mut SoakReport,
    progress: &mut impl FnMut(Duration, &Deeds),
) -> Verdict {
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let lives = Lives::new(server, &stop);
    let weather = Weather::new(server, &stop);
    let trouble = Mutex::new(None);
    let note = |verdict: Verdict| {
        if let Err(found) = verdict {
            stop.store(true, Ordering::Relaxed);
            // The first is the cause; what follows may be its consequence.
            trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
        }
    };
    thread::scope(|scope| {
        for number in 0..clients {
            let (lives, note) = (&lives, &note);
            scope.spawn(move || note(lives.live(number)));
        }
        if let Some(weather) = &weather {
            let note = &note;
            scope.spawn(move || note(weather.rage()));
        }
        while start.elapsed() < duration && !stop.load(Ordering::Relaxed) {
            thread::sleep(SAMPLE_INTERVAL.min(duration));
            match server.holds() {
                Ok(Some(holds)) => report.sample(holds),
                Ok(None) => {}
                Err(found) => note(Err(found)),
            }
            progress(start.elapsed(), &lives.deeds());
        }
        stop.store(true, Ordering::Relaxed);
    });
    report.add(lives.deeds(), weather.map(|weather| weather.deeds()), start.elapsed());
    trouble.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn expect_no_growth(server: &Server, report: &SoakReport) -> Verdict {
    let (Some(start), Some(end)) = (report.start, report.end) else { return Ok(()) };
    server.expect_holds_no_more_than(Some(start))?;
    let growth = end.memory.saturating_sub(start.memory);
    if growth > MEMORY_SLACK {
        return fails(
            format_args!("at most {} KiB more memory than at the start", MEMORY_SLACK >> 10),
            format_args!("{} KiB more", growth >> 10),
        );
    }
    Ok(())
}

/// The server still serves, and ends as the contract says; its totals are no less than what was seen.
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
        Some(echoed) if echoed >= report.deeds.received => Ok(()),
        _ => fails(
            format_args!("totals of {} bytes echoed at least", report.deeds.received),
            shown(&ended.stderr),
        ),
    }
}
