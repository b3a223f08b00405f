//! No client slows down another, and each costs the server a bounded amount of memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Need};
use crate::client::Client;
use crate::server::{SILENCE, Server};
use crate::stage::Stage;
use crate::verdict::Verdict;
use crate::words;

/// The longest wait for an answer while other clients misbehave. It is a thousand times the usual wait: it
/// separates a stalled server from a server that answers, not a slow one from a fast one.
const SANE: Duration = Duration::from_secs(5);

/// Messages that a client exchanges while other clients misbehave.
const MESSAGES: usize = 50;

/// The most memory that a server may use for one client that does not read, in bytes. The servers of this
/// workspace use 64 KiB. Runtimes with larger buffers keep the promise too.
const MEMORY_PER_CLIENT: u64 = 1 << 20;

/// The most by which a server's memory may grow for other reasons, such as arenas of an allocator, in bytes.
const MEMORY_SLACK: u64 = 8 << 20;

/// Clients that are connected and send nothing. select(2) can still serve one more.
const IDLE_CLIENTS: usize = 900;

/// The most CPU time of a message among [`IDLE_CLIENTS`], as a multiple of the CPU time without them.
const IDLE_COST_MAX: f64 = 3.0;

/// Measurements of the CPU time of a message. The smallest counts: a busy machine only adds to it.
const SLICES: usize = 5;

/// Messages in each measurement.
const SLICE_MESSAGES: u32 = 200;

/// Messages before the first measurement. A runtime with a compiler has compiled the code after them.
const WARM_UP_MESSAGES: usize = 2000;

/// What the cases about a client that does not read protect.
const OTHERS_CONTINUE: &str =
    "a peer does not read: the server stops reading from it and serves others";

/// What the cases about memory protect.
const BOUNDED: &str = "a peer does not read: its memory in the server stays bounded";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a_client_that_never_reads_stalls_nobody",
        says: OTHERS_CONTINUE,
        mistake: "the server blocks in write() to this client, and the others wait",
        hint: "a thread that serves many clients must not block in write(): wait until it is writable",
        needs: &[Need::Clients(2)],
        run: a_client_that_never_reads_stalls_nobody,
    },
    Case {
        name: "fifty_clients_that_never_read_stall_nobody",
        says: OTHERS_CONTINUE,
        mistake: "each client that does not read occupies something that the others need, such as a worker",
        hint: "a worker that blocks in write() serves no one until its client reads",
        needs: &[Need::Clients(51)],
        run: fifty_clients_that_never_read_stall_nobody,
    },
    Case {
        name: "memory_is_bounded_when_a_client_never_reads",
        says: BOUNDED,
        mistake: "the server continues to read, and keeps what it cannot write: one client can use up its \
                  memory",
        hint: "do not read from a client while bytes for it are pending; TCP then slows the client down",
        needs: &[],
        run: memory_is_bounded_when_a_client_never_reads,
    },
    Case {
        name: "memory_is_bounded_when_fifty_never_read",
        says: BOUNDED,
        mistake: "the server keeps more than one buffer for each client that does not read",
        hint: "one buffer of a fixed size for each connection is enough",
        needs: &[Need::Clients(50)],
        run: memory_is_bounded_when_fifty_never_read,
    },
    Case {
        name: "a_client_that_reads_late_gets_everything",
        says: "a peer reads late: the server stops reading from it, and starts again",
        mistake: "the server does not read again after it has written the pending bytes, or loses the \
                  rest of a short write",
        hint: "when the last pending byte is written, register interest in reading again; with \
               edge-triggered notification also read at once",
        needs: &[],
        run: a_client_that_reads_late_gets_everything,
    },
    Case {
        name: "a_flooding_client_starves_nobody",
        says: "a client that sends without pause does not make the others wait",
        mistake: "the server reads from one client until it has no more bytes, and it always has more",
        hint: "limit the bytes or the reads of one client before the next client has its turn",
        needs: &[Need::Clients(2)],
        run: a_flooding_client_starves_nobody,
    },
    Case {
        name: "idle_clients_are_kept_and_served",
        says: "an idle client stays connected, and is served when it sends",
        mistake: "the server drops idle clients, or each idle client occupies a worker",
        hint: "an idle client needs an entry in a table, and no timeout",
        needs: &[Need::Clients(301), Need::Descriptors(301)],
        run: idle_clients_are_kept_and_served,
    },
    Case {
        name: "idle_clients_do_not_slow_an_active_one",
        says: "the cost of a message does not grow with the number of idle clients",
        mistake: "for each message, the server asks the kernel about every client",
        hint: "let the kernel keep the list (epoll, kqueue), or give each client a thread; if the scan is \
               meant, declare it: check --scans",
        needs: &[
            Need::Process,
            Need::ScansNothing,
            Need::Sleeps,
            Need::Clients(IDLE_CLIENTS + 1),
            Need::Descriptors(IDLE_CLIENTS as u64 + 1),
        ],
        run: idle_clients_do_not_slow_an_active_one,
    },
];

/// Exchanges messages. Each must come back within [`SANE`].
fn expect_sane_latency(server: &Server, client: &mut Client) -> Verdict {
    for _ in 0..MESSAGES {
        let start = Instant::now();
        client.exchange(100)?;
        let took = start.elapsed();
        if took > SANE {
            let (limit, took) = (words::duration(SANE), words::duration(took));
            return server
                .fails(format_args!("an answer within {limit}"), format_args!("after {took}"));
        }
    }
    Ok(())
}

fn others_continue_beside(stage: &Stage, count: usize) -> Verdict {
    let server = stage.start()?;
    let mut other = server.served()?;
    let stuck = server.stuck(count)?;
    expect_sane_latency(&server, &mut other)?;
    if stage.subject().at_most(count + 2) >= count + 2 {
        expect_sane_latency(&server, &mut server.served()?)?;
    }
    drop(stuck);
    expect_sane_latency(&server, &mut other)
}

fn a_client_that_never_reads_stalls_nobody(stage: &Stage) -> Verdict {
    others_continue_beside(stage, 1)
}

fn fifty_clients_that_never_read_stall_nobody(stage: &Stage) -> Verdict {
    others_continue_beside(stage, 50)
}

/// A server that buffers without bound fails already in [`Server::stuck`].
fn memory_is_bounded_beside(stage: &Stage, count: usize) -> Verdict {
    let server = stage.start()?;
    // The server makes its threads and their stacks before the comparison.
    drop(server.served_many(count)?);
    let before = server.holds()?;
    let stuck = server.stuck(count)?;
    if let (Some(before), Some(after)) = (before, server.holds()?) {
        let growth = after.memory.saturating_sub(before.memory);
        let allowed = MEMORY_SLACK + count as u64 * MEMORY_PER_CLIENT;
        if growth > allowed {
            return server.fails(
                format_args!("at most {} MiB for {count} such clients", allowed >> 20),
                format_args!("{} MiB", growth >> 20),
            );
        }
    }
    drop(stuck);
    server.expect_service()
}

fn memory_is_bounded_when_a_client_never_reads(stage: &Stage) -> Verdict {
    memory_is_bounded_beside(stage, 1)
}

fn memory_is_bounded_when_fifty_never_read(stage: &Stage) -> Verdict {
    memory_is_bounded_beside(stage, 50)
}

fn a_client_that_reads_late_gets_everything(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut late = server.served_many(1)?;
    for _ in 0..2 {
        server.get_stuck(&mut late)?;
        late.iter_mut().try_for_each(|client| client.receive_all())?;
        late.iter_mut().try_for_each(|client| client.exchange(1000))?;
    }
    Ok(())
}

/// With some work for each read, the server is slower than the client: more bytes are always waiting.
fn a_flooding_client_starves_nobody(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--work", "1ms"])?;
    let mut flood = server.served()?;
    let mut other = server.served()?;
    // From the start, the client has sent more than the server can read at once.
    flood.send_what_fits(u64::MAX)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.flood(&stop));
        let verdict = expect_sane_latency(&server, &mut other);
        stop.store(true, Ordering::Relaxed);
        let flooded = flooding.join();
        verdict.and(flooded.unwrap_or_else(|_| server.fails("a flood", "its thread panicked")))
    })
}

fn idle_clients_are_kept_and_served(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut idle = server.served_many(300)?;
    thread::sleep(SILENCE);
    expect_sane_latency(&server, &mut server.served()?)?;
    idle.iter_mut().try_for_each(|client| client.exchange(10))?;
    expect_sane_latency(&server, &mut server.served()?)
}

/// Compares the CPU time of the server for a message without and with idle clients.
fn idle_clients_do_not_slow_an_active_one(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut active = server.served()?;
    for _ in 0..WARM_UP_MESSAGES {
        active.exchange(100)?;
    }
    let before = cpu_per_message(&server, &mut active)?;
    let idle = server.served_many(IDLE_CLIENTS)?;
    server.wait_until_settled()?;
    let among_idle = cpu_per_message(&server, &mut active)?;
    drop(idle);
    server.wait_until_settled()?;
    let alone = before.min(cpu_per_message(&server, &mut active)?);
    let ratio = among_idle.as_secs_f64() / alone.as_secs_f64().max(f64::MIN_POSITIVE);
    if ratio > IDLE_COST_MAX {
        let (alone, among_idle) = (words::duration(alone), words::duration(among_idle));
        return server.fails(
            format_args!(
                "a message among {IDLE_CLIENTS} idle clients uses at most {IDLE_COST_MAX} times the \
                 CPU time of a message without them, which is {alone}"
            ),
            format_args!("{among_idle}, which is {ratio:.1} times as much"),
        );
    }
    Ok(())
}

/// The CPU time of the server for one message: the smallest of several measurements.
///
/// Client and server share one CPU meanwhile. On two CPUs, the server wakes an idle CPU for each answer,
/// which can cost several times as much as the message.
fn cpu_per_message(server: &Server, client: &mut Client) -> Verdict<Duration> {
    let _pinned = server.pin_with_this_thread()?;
    let mut least = Duration::MAX;
    for _ in 0..SLICES {
        let before = server.cpu_time()?;
        for _ in 0..SLICE_MESSAGES {
            client.exchange(100)?;
        }
        // A child that ends meanwhile takes its time out of the sum.
        match server.cpu_time()?.saturating_sub(before) {
            Duration::ZERO => {}
            used => least = least.min(used / SLICE_MESSAGES),
        }
    }
    Ok(least)
}
