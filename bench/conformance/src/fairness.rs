//! What one client does is no other client's business, and costs the server a bounded amount.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Need};
use crate::client::Client;
use crate::observe;
use crate::stage::{SILENCE, Server, Stage};
use crate::verdict::{Verdict, fails};

/// The longest that a client may wait for its answer while others misbehave. Some thousand times what
/// it takes undisturbed: this tells stalled from served, not fast from slow.
const SANE: Duration = Duration::from_secs(5);

/// Messages that a client exchanges while others misbehave.
const MESSAGES: usize = 50;

/// The most memory of its own that a server may need for one client that does not read, in bytes. The
/// servers here need 64 KiB; runtimes with larger buffers keep the promise too.
const MEMORY_PER_CLIENT: u64 = 1 << 20;

/// What a server's memory may grow by for other reasons, such as an allocator's arenas, in bytes.
const MEMORY_SLACK: u64 = 8 << 20;

/// How much more CPU a message may cost with many idle clients than with none.
const IDLE_CLIENTS_MAY_COST: u32 = 10;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a_client_that_never_reads_stalls_nobody",
        says: "a peer does not read: reading from it pauses, others go on",
        mistake: "the server blocks in write() to that client while the others wait",
        hint: "where one thread serves many clients, no write() may block: wait until it is writable",
        needs: &[Need::Clients(2)],
        run: a_client_that_never_reads_stalls_nobody,
    },
    Case {
        name: "fifty_clients_that_never_read_stall_nobody",
        says: "a peer does not read: reading from it pauses, others go on",
        mistake: "each client that does not read takes something the others need, such as a worker",
        hint: "a worker that blocks in write() is lost until that client reads",
        needs: &[Need::Clients(51)],
        run: fifty_clients_that_never_read_stall_nobody,
    },
    Case {
        name: "memory_is_bounded_when_a_client_never_reads",
        says: "a peer does not read: its memory in the server stays bounded",
        mistake: "the server reads on and keeps what it cannot write: any client can exhaust its memory",
        hint: "do not read from a client while bytes for it are pending; TCP will slow it down for you",
        needs: &[],
        run: memory_is_bounded_when_a_client_never_reads,
    },
    Case {
        name: "memory_is_bounded_when_fifty_never_read",
        says: "a peer does not read: its memory in the server stays bounded",
        mistake: "the server keeps more than one buffer for each client that does not read",
        hint: "one buffer of fixed size for each connection is enough",
        needs: &[Need::Clients(50)],
        run: memory_is_bounded_when_fifty_never_read,
    },
    Case {
        name: "a_client_that_reads_late_gets_everything",
        says: "a peer does not read: reading from it pauses, and goes on when it does",
        mistake: "the server does not start reading again when the pending bytes are written, or loses \
                  bytes of a short write",
        hint: "when the last pending byte is written, ask for reading again, and read at once if your \
               notification is edge-triggered",
        needs: &[],
        run: a_client_that_reads_late_gets_everything,
    },
    Case {
        name: "a_flooding_client_starves_nobody",
        says: "a client that always has more to say does not keep the others waiting",
        mistake: "the server reads from one client until there is no more, and there is always more",
        hint: "bound the bytes, or the reads, that one client gets before the next has its turn",
        needs: &[Need::Clients(2)],
        run: a_flooding_client_starves_nobody,
    },
    Case {
        name: "idle_clients_are_kept_and_served",
        says: "an idle client stays connected, and is served when it speaks",
        mistake: "idle clients are dropped, or take a worker each",
        hint: "an idle client needs an entry in a table, not a time limit",
        needs: &[Need::Clients(301), Need::Descriptors(301)],
        run: idle_clients_are_kept_and_served,
    },
    Case {
        name: "idle_clients_do_not_slow_an_active_one",
        says: "the cost of a message does not grow with the number of idle clients",
        mistake: "the server asks about every client each time one has something to say",
        hint: "let the kernel keep the list: epoll, kqueue, a thread for each client; or declare it \
               (check --scans)",
        needs: &[
            Need::Process,
            Need::ScansNothing,
            Need::Sleeps,
            Need::Clients(501),
            Need::Descriptors(501),
        ],
        run: idle_clients_do_not_slow_an_active_one,
    },
];

/// Exchanges messages, each of which must come back in sane time.
fn expect_sane_latency(client: &mut Client) -> Verdict {
    for _ in 0..MESSAGES {
        let start = Instant::now();
        client.exchange(100)?;
        let took = start.elapsed();
        if took > SANE {
            return fails(
                format_args!("an answer within {SANE:?}"),
                format_args!("one after {took:?}"),
            );
        }
    }
    Ok(())
}

fn others_go_on_beside(stage: &Stage, count: usize) -> Verdict {
    let server = stage.start()?;
    let mut other = server.served()?;
    let stuck = server.stuck(count)?;
    expect_sane_latency(&mut other)?;
    if stage.subject().at_most(count + 2) >= count + 2 {
        expect_sane_latency(&mut server.served()?)?;
    }
    drop(stuck);
    expect_sane_latency(&mut other)
}

fn a_client_that_never_reads_stalls_nobody(stage: &Stage) -> Verdict {
    others_go_on_beside(stage, 1)
}

fn fifty_clients_that_never_read_stall_nobody(stage: &Stage) -> Verdict {
    others_go_on_beside(stage, 50)
}

/// That each client gets stuck at all is half the proof: a server that buffers without bound takes all.
fn memory_is_bounded_beside(stage: &Stage, count: usize) -> Verdict {
    let server = stage.start()?;
    // Threads and their stacks are there before the comparison.
    drop(server.served_many(count)?);
    let before = server.holds()?;
    let stuck = server.stuck(count)?;
    if let (Some(before), Some(after)) = (before, server.holds()?) {
        let growth = after.memory.saturating_sub(before.memory);
        let allowed = MEMORY_SLACK + count as u64 * MEMORY_PER_CLIENT;
        if growth > allowed {
            return fails(
                format_args!("{count} such clients cost at most {} MiB", allowed >> 20),
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

/// With some work for each read the server is slower than the client: there is always more to be read.
fn a_flooding_client_starves_nobody(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--work", "1ms"])?;
    let mut flood = server.served()?;
    let mut other = server.served()?;
    // From the start there is more than it can take.
    flood.send_what_fits(u64::MAX)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.flood(&stop));
        let verdict = expect_sane_latency(&mut other);
        stop.store(true, Ordering::Relaxed);
        let flooded =
            flooding.join().unwrap_or_else(|_| fails("a client", "a thread that panicked"));
        verdict.and(flooded)
    })
}

fn idle_clients_are_kept_and_served(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut idle = server.served_many(300)?;
    thread::sleep(SILENCE);
    expect_sane_latency(&mut server.served()?)?;
    idle.iter_mut().try_for_each(|client| client.exchange(10))?;
    expect_sane_latency(&mut server.served()?)
}

/// Counts the server's CPU time and not the clock: the machine may be busy with something else.
fn idle_clients_do_not_slow_an_active_one(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut active = server.served()?;
    let alone = cost(&server, &mut active)?;
    let idle = server.served_many(500)?;
    let in_company = cost(&server, &mut active)?;
    if in_company > alone * IDLE_CLIENTS_MAY_COST {
        return fails(
            format_args!(
                "messages that cost {alone:?} of CPU cost about the same among 500 idle clients"
            ),
            format_args!("they cost {in_company:?}"),
        );
    }
    drop(idle);
    Ok(())
}

/// CPU time of the server for a number of messages.
fn cost(server: &Server, client: &mut Client) -> Verdict<Duration> {
    let pid = server.process()?.pid();
    let before = observe::cpu_time(pid)?;
    for _ in 0..10 * MESSAGES {
        client.exchange(100)?;
    }
    Ok(observe::cpu_time(pid)?.saturating_sub(before))
}
