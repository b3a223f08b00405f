//! More clients than the server has room for: they wait, and nothing breaks.

use std::thread;
use std::time::{Duration, Instant};

use server_process::catalogue::Concurrency;

use crate::case::{Case, Need};
use crate::client::Client;
use crate::server::{SILENCE, Server};
use crate::stage::{Launch, Stage};
use crate::verdict::{Verdict, fails, not_applicable};
use crate::words;

/// RLIMIT_NOFILE of a server that shall run out of descriptors. Interpreters need some dozens to start.
const FEW_DESCRIPTORS: u64 = 128;

/// More clients than such a server has descriptors for.
const MANY_CLIENTS: usize = 160;

/// How long a server is watched to find out whether it spins.
const WATCHED: Duration = Duration::from_millis(500);

/// The largest share of a CPU that a server may use while clients wait.
const CPU_SHARE_MAX: f64 = 0.2;

/// How long a client waits for room in the backlog before the next client comes. TCP repeats a SYN only
/// after a second.
const BACKLOG_TIMEOUT: Duration = Duration::from_millis(50);

/// After this number of clients in a row without room in the backlog, no more clients come.
const TURNED_AWAY_MAX: usize = 3;

/// More descriptors than an fd_set of select(2) holds.
const PAST_FD_SETSIZE: usize = 1100;

/// What the cases about EMFILE protect.
const SURVIVES_EMFILE: &str =
    "EMFILE from accept: the server runs on, and accepts again when a connection closes";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "the_concurrency_limit_is_as_declared",
        says: "the declared number of clients is served at a time; the next waits, and is served later",
        mistake: "the server serves fewer or more clients at a time than declared, or drops the client \
                  that waits",
        hint: "count the clients that are served, or declare the right number: check --concurrency",
        needs: &[Need::ConcurrencyLimit],
        run: the_concurrency_limit_is_as_declared,
    },
    Case {
        name: "over_max_connections_the_next_waits",
        says: "--max-connections reached: accepting pauses, and resumes when a connection closes",
        mistake: "the server accepts the next client and closes it, or never accepts again",
        hint: "do not watch the listener while the server is full; watch it again after a close",
        needs: &[Need::Contract],
        run: over_max_connections_the_next_waits,
    },
    Case {
        name: "no_spin_over_max_connections",
        says: "--max-connections reached: no exit, no spin",
        mistake: "the listener stays readable, and wakes the loop without end",
        hint: "do not watch the listener while the server is full",
        needs: &[Need::Contract, Need::Process, Need::Sleeps],
        run: no_spin_over_max_connections,
    },
    Case {
        name: "out_of_descriptors_it_lives_and_recovers",
        says: SURVIVES_EMFILE,
        mistake: "after EMFILE the server ends, closes its listener, or waits for an event that has \
                  already come",
        hint: "on EMFILE pause, and accept again after the next close or after 100 ms; an edge-triggered \
               listener reports a client only once",
        needs: &[Need::Process, Need::Descriptors(MANY_CLIENTS as u64)],
        run: out_of_descriptors_it_lives_and_recovers,
    },
    Case {
        name: "out_of_descriptors_each_that_leaves_lets_one_in",
        says: SURVIVES_EMFILE,
        mistake: "the server accepts again only when all clients have left, or when another client comes",
        hint: "after a close, accept until no client waits or no descriptor is left",
        needs: &[
            Need::Process,
            Need::Clients(MANY_CLIENTS),
            Need::Descriptors(MANY_CLIENTS as u64),
        ],
        run: out_of_descriptors_each_that_leaves_lets_one_in,
    },
    Case {
        name: "no_spin_when_out_of_descriptors",
        says: "EMFILE from accept: no spin",
        mistake: "accept() fails while a client waits, and the loop calls it again at once",
        hint: "on EMFILE pause accepting; or limit the clients to fewer than RLIMIT_NOFILE",
        needs: &[Need::Process, Need::Sleeps, Need::Descriptors(MANY_CLIENTS as u64)],
        run: no_spin_when_out_of_descriptors,
    },
    Case {
        name: "clients_past_fd_setsize",
        says: "the server serves as many clients as its model can; more wait, and nothing panics",
        mistake: "the server puts a descriptor above 1023 into an fd_set, which has no room for it",
        hint: "do not accept a client that select() cannot watch: FD_SETSIZE limits the descriptor's number",
        needs: &[Need::Clients(PAST_FD_SETSIZE), Need::Descriptors(PAST_FD_SETSIZE as u64)],
        run: clients_past_fd_setsize,
    },
    Case {
        name: "inherited_descriptors_past_fd_setsize",
        says: "a descriptor that cannot be watched is refused in one clear line, without a panic",
        mistake: "the server assumes that its descriptors have small numbers",
        hint: "compare a descriptor's number with FD_SETSIZE before you put it into an fd_set",
        needs: &[Need::Contract, Need::Process, Need::Descriptors(PAST_FD_SETSIZE as u64)],
        run: inherited_descriptors_past_fd_setsize,
    },
    Case {
        name: "max_connections_past_the_ceiling_is_refused",
        says: "a limit that the model cannot reach is refused in one clear line",
        mistake: "the server promises more clients than FD_SETSIZE allows",
        hint: "before you listen, compare --max-connections with the limit of the model",
        needs: &[Need::Contract, Need::DescriptorCeiling],
        run: max_connections_past_the_ceiling_is_refused,
    },
];

fn the_concurrency_limit_is_as_declared(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let Concurrency::AtMost(limit) = stage.subject().traits.concurrency else { return Ok(()) };
    expect_the_next_to_wait(&server, limit)
}

fn over_max_connections_the_next_waits(stage: &Stage) -> Verdict {
    let limit = stage.subject().at_most(3);
    let server = stage.start_with(&["--max-connections", &limit.to_string()])?;
    expect_the_next_to_wait(&server, limit)
}

/// With `limit` clients served, the next client waits until one of them leaves. This happens three times:
/// a server that does not end its pause often fails only the second time.
fn expect_the_next_to_wait(server: &Server, limit: usize) -> Verdict {
    let mut served = server.served_many(limit)?;
    for _ in 0..3 {
        let mut next = server.connect()?;
        next.send(100)?;
        next.expect_silence(SILENCE)?;
        served.iter_mut().try_for_each(|client| client.exchange(10))?;
        drop(served.remove(0));
        next.receive_all()?;
        served.push(next);
    }
    Ok(())
}

fn no_spin_over_max_connections(stage: &Stage) -> Verdict {
    let limit = stage.subject().at_most(3);
    let server = stage.start_with(&["--max-connections", &limit.to_string()])?;
    let served = server.served_many(limit)?;
    let waiting = crowd(&server, 3)?;
    expect_no_spin(&server)?;
    drop((served, waiting));
    Ok(())
}

/// `count` clients that are connected, or wait for room in the backlog. They come one by one, so that a
/// short backlog does not drop a client that the server would accept. When the backlog has no room for
/// several in a row, the server has stopped accepting, and no more clients come.
fn crowd(server: &Server, count: usize) -> Verdict<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    let mut turned_away = 0;
    while clients.len() < count && turned_away < TURNED_AWAY_MAX {
        let client = server.begin()?;
        let is_in = client.is_connected_within(BACKLOG_TIMEOUT);
        turned_away = if is_in { 0 } else { turned_away + 1 };
        clients.push(client);
    }
    Ok(clients)
}

/// A server that may open few descriptors, and is told that it may serve many clients.
fn start_with_few_descriptors<'a>(stage: &'a Stage) -> Verdict<Server<'a>> {
    stage.launch(&Launch {
        options: &["--max-connections", "500"],
        descriptor_limit: Some(FEW_DESCRIPTORS),
        ..Launch::default()
    })
}

/// Connects more clients than the server has descriptors for, and waits until the server has reacted.
fn exhaust(server: &Server) -> Verdict<Vec<Client>> {
    let crowd = crowd(server, MANY_CLIENTS)?;
    server.wait_until_settled()?;
    Ok(crowd)
}

fn out_of_descriptors_it_lives_and_recovers(stage: &Stage) -> Verdict {
    let server = start_with_few_descriptors(stage)?;
    let mut first = server.served()?;
    drop(exhaust(&server)?);
    first.exchange(100)?;
    // The clients that wait get the places of the clients that leave.
    let mut early = exhaust(&server)?;
    first.exchange(100)?;
    drop(first);
    let mut late = early.split_off(early.len() / 2);
    drop(early);
    if stage.subject().at_most(MANY_CLIENTS) == MANY_CLIENTS {
        late.iter_mut().try_for_each(|client| client.exchange(100))?;
    }
    drop(late);
    server.expect_service()
}

/// The kernel decides which clients are served and which wait, most of all with several listeners. A client
/// with an answer is served.
fn out_of_descriptors_each_that_leaves_lets_one_in(stage: &Stage) -> Verdict {
    let server = start_with_few_descriptors(stage)?;
    let mut crowd = exhaust(&server)?;
    crowd.retain(|client| client.is_connected_within(Duration::ZERO));
    crowd.iter_mut().try_for_each(|client| client.send(100))?;
    server.wait_until_settled()?;
    thread::sleep(WATCHED);
    let (mut served, mut waiting): (Vec<_>, Vec<_>) = crowd.into_iter().partition(Client::has_news);
    if waiting.is_empty() {
        return not_applicable("the server has descriptors for all clients");
    }
    served.iter_mut().try_for_each(Client::receive_all)?;
    for _ in 0..waiting.len().min(3) {
        drop(served.pop());
        let deadline = Instant::now() + stage.subject().timeout;
        while !waiting.iter().any(Client::has_news) {
            if Instant::now() > deadline {
                return server
                    .fails("a client that waits takes the place of one that left", "none does");
            }
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(2 * SILENCE); // A second client would be served in this time.
        let (mut next, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Client::has_news);
        if next.len() != 1 {
            let expected = "one client takes the place of one that left";
            return server.fails(expected, format_args!("{} clients do", next.len()));
        }
        next.iter_mut().try_for_each(Client::receive_all)?;
        served.append(&mut next);
        waiting = others;
    }
    served.iter_mut().try_for_each(|client| client.exchange(100))
}

fn no_spin_when_out_of_descriptors(stage: &Stage) -> Verdict {
    let server = start_with_few_descriptors(stage)?;
    let mut first = server.served()?;
    let crowd = exhaust(&server)?;
    first.exchange(100)?;
    expect_no_spin(&server)?;
    first.exchange(100)?;
    drop(crowd);
    Ok(())
}

fn expect_no_spin(server: &Server) -> Verdict {
    let share = server.cpu_share(WATCHED)?;
    if share > CPU_SHARE_MAX {
        return server.fails(
            format_args!("at most {:.0} % of a CPU while clients wait", CPU_SHARE_MAX * 100.0),
            format_args!("{:.0} %", share * 100.0),
        );
    }
    Ok(())
}

/// With a declared ceiling of descriptors, the last clients wait until the first have left.
fn clients_past_fd_setsize(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut clients = crowd(&server, PAST_FD_SETSIZE)?;
    let ceiling = stage.subject().traits.descriptor_ceiling.unwrap_or(PAST_FD_SETSIZE);
    let at_once = ceiling.min(clients.len()) * 3 / 4;
    let mut late = clients.split_off(at_once);
    clients.iter_mut().try_for_each(|client| client.exchange(100))?;
    drop(clients);
    late.iter_mut().try_for_each(|client| client.exchange(100))?;
    drop(late);
    server.expect_service()
}

fn inherited_descriptors_past_fd_setsize(stage: &Stage) -> Verdict {
    let launch = Launch { inherited_descriptors: PAST_FD_SETSIZE, ..Launch::default() };
    if stage.subject().traits.descriptor_ceiling.is_none() {
        return stage.launch(&launch)?.expect_service();
    }
    let ended = stage.run_command_to_end(&mut stage.command(&launch)?)?;
    expect_refusal(&ended, 1)
}

fn max_connections_past_the_ceiling_is_refused(stage: &Stage) -> Verdict {
    let ended = stage.run_to_end(&["--addr", "127.0.0.1:0", "--max-connections", "100000"])?;
    expect_refusal(&ended, 2)
}

/// Expects exit status `code` and one clear line on stderr.
pub(crate) fn expect_refusal(ended: &server_process::process::Ended, code: i32) -> Verdict {
    let lines = ended.stderr.trim().lines().count();
    if ended.status.code() == Some(code) && lines == 1 && !ended.stderr.contains("panicked") {
        return Ok(());
    }
    fails(
        format_args!("exit status {code}, and one line on stderr that says why"),
        format_args!("{}, and {lines} lines {}", ended.status, words::stderr(&ended.stderr)),
    )
}
