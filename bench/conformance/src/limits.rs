//! More clients than there is room for: they wait, and nothing breaks.

use std::thread;
use std::time::{Duration, Instant};

use server_process::catalogue::Concurrency;

use crate::case::{Case, Need};
use crate::client::Client;
use crate::stage::{Launch, SILENCE, Server, Stage, shown};
use crate::verdict::{Trouble, Verdict, fails};

/// RLIMIT_NOFILE of a server that is to run out of descriptors. Interpreters need some dozens to start.
const FEW_DESCRIPTORS: u64 = 128;

/// Clients enough to exhaust them.
const MANY_CLIENTS: usize = 160;

/// How long a server is watched for whether it spins.
const WATCHED: Duration = Duration::from_millis(500);

/// The share of a CPU that waiting for a place may cost.
const CPU_SHARE_MAX: f64 = 0.2;

/// How long a client waits for room in the backlog before the next one comes: less than TCP takes to try
/// again, which is a second.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(50);

/// Clients in a row for whom the backlog has no room before no more come.
const TURNED_AWAY_MAX: usize = 3;

/// More descriptors than an fd_set of select(2) holds.
const PAST_FD_SETSIZE: usize = 1100;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "the_concurrency_limit_is_as_declared",
        says: "as many clients are served at once as declared; the next waits, and is served after",
        mistake: "the server serves fewer or more clients at once than it claims, or drops the one that \
                  waits",
        hint: "count the clients that are being served, or declare the right number (check --concurrency)",
        needs: &[Need::ConcurrencyLimit],
        run: the_concurrency_limit_is_as_declared,
    },
    Case {
        name: "over_max_connections_the_next_waits",
        says: "--max-connections reached: accepting pauses, and resumes when one closes",
        mistake: "the server accepts and closes the client that is too many, or never accepts again",
        hint: "stop asking for the listener's readiness while full, and ask again after each close",
        needs: &[Need::Contract],
        run: over_max_connections_the_next_waits,
    },
    Case {
        name: "no_spin_over_max_connections",
        says: "--max-connections reached: no exit, no spin",
        mistake: "the listener stays readable, and the loop asks about it again and again",
        hint: "take the listener out of the set while the server is full",
        needs: &[Need::Contract, Need::Process, Need::Sleeps],
        run: no_spin_over_max_connections,
    },
    Case {
        name: "out_of_descriptors_it_lives_and_recovers",
        says: "EMFILE from accept: no exit; accepting resumes when a connection closes",
        mistake: "accept() fails with EMFILE and the server ends, closes its listener, or waits for an \
                  event that has already come",
        hint: "on EMFILE pause, and accept again after the next close or a tenth of a second; an \
               edge-triggered listener says nothing twice",
        needs: &[Need::Process, Need::Descriptors(MANY_CLIENTS as u64)],
        run: out_of_descriptors_it_lives_and_recovers,
    },
    Case {
        name: "out_of_descriptors_each_that_leaves_lets_one_in",
        says: "EMFILE from accept: no exit; accepting resumes when a connection closes",
        mistake: "the server accepts again only when all have left, or when somebody else comes",
        hint: "after a close accept until there is nobody, or no descriptor, again",
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
        mistake: "accept() fails at once as long as the client waits, and the loop tries at once again",
        hint: "on EMFILE stop accepting for a while; or cap the clients below RLIMIT_NOFILE",
        needs: &[Need::Process, Need::Sleeps, Need::Descriptors(MANY_CLIENTS as u64)],
        run: no_spin_when_out_of_descriptors,
    },
    Case {
        name: "clients_past_fd_setsize",
        says: "as many clients as the model can serve are served, more wait: never a panic",
        mistake: "a descriptor past 1023 is put into an fd_set, which select(2) has no room for",
        hint: "do not accept what cannot be watched: FD_SETSIZE limits the number of the descriptor",
        needs: &[Need::Clients(PAST_FD_SETSIZE), Need::Descriptors(PAST_FD_SETSIZE as u64)],
        run: clients_past_fd_setsize,
    },
    Case {
        name: "inherited_descriptors_past_fd_setsize",
        says: "a descriptor that cannot be watched is refused in one clear line, never a panic",
        mistake: "the server assumes that its descriptors have small numbers",
        hint: "compare the descriptor's number with FD_SETSIZE before it goes into an fd_set",
        needs: &[Need::Contract, Need::Process, Need::Descriptors(PAST_FD_SETSIZE as u64)],
        run: inherited_descriptors_past_fd_setsize,
    },
    Case {
        name: "max_connections_past_the_ceiling_is_refused",
        says: "a limit that the model cannot reach is refused in one clear line",
        mistake: "the server promises more clients than FD_SETSIZE lets it serve",
        hint: "compare --max-connections with what the model can watch before you listen",
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

/// With `limit` clients served, one more waits until one of them leaves: three times, since a pause that
/// is not ended is often found only the second time.
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

/// So many clients at the door, connected or waiting for room in the backlog. They come one by one, so
/// that a short backlog does not turn away whom the server would accept; and when it turns away several
/// in a row, the server accepts nobody any more, and no more come.
fn crowd(server: &Server, count: usize) -> Verdict<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    let mut turned_away = 0;
    while clients.len() < count && turned_away < TURNED_AWAY_MAX {
        let client = server.begin()?;
        let is_in = client.is_connected_within(BACKLOG_PATIENCE);
        turned_away = if is_in { 0 } else { turned_away + 1 };
        clients.push(client);
    }
    Ok(clients)
}

/// A server that may open few descriptors, and was told that it may serve many clients.
fn start_with_few_descriptors<'a>(stage: &'a Stage) -> Verdict<Server<'a>> {
    stage.launch(&Launch {
        options: &["--max-connections", "500"],
        descriptor_limit: Some(FEW_DESCRIPTORS),
        ..Launch::default()
    })
}

/// More clients than it has descriptors for, and nobody else served meanwhile.
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
    // Those that wait get the places of those that leave.
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

/// Who is served and who waits is the kernel's affair, and that of several listeners: it shows in who
/// has an answer.
fn out_of_descriptors_each_that_leaves_lets_one_in(stage: &Stage) -> Verdict {
    let server = start_with_few_descriptors(stage)?;
    let mut crowd = exhaust(&server)?;
    crowd.retain(|client| client.is_connected_within(Duration::ZERO));
    crowd.iter_mut().try_for_each(|client| client.send(100))?;
    server.wait_until_settled()?;
    thread::sleep(WATCHED);
    let (mut served, mut waiting): (Vec<_>, Vec<_>) = crowd.into_iter().partition(Client::has_news);
    if waiting.is_empty() {
        return Err(Trouble::NotApplicable("it has descriptors for all of them".to_owned()));
    }
    served.iter_mut().try_for_each(Client::receive_all)?;
    for _ in 0..waiting.len().min(3) {
        drop(served.pop());
        let deadline = Instant::now() + stage.subject().patience;
        while !waiting.iter().any(Client::has_news) {
            if Instant::now() > deadline {
                return fails("one that waits is served for one that leaves", "nobody is");
            }
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(2 * SILENCE); // Time for a second, who should not be.
        let (mut next, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Client::has_news);
        if next.len() != 1 {
            return fails("one is served for one that leaves", format_args!("{}", next.len()));
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
        return fails(
            format_args!("less than {:.0} % of a CPU while clients wait", CPU_SHARE_MAX * 100.0),
            format_args!("{:.0} %", share * 100.0),
        );
    }
    Ok(())
}

/// Where there is a ceiling the last of them wait until the first have left.
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

/// Expects exit status `code`, and one clear line on stderr.
pub(crate) fn expect_refusal(ended: &server_process::process::Ended, code: i32) -> Verdict {
    let lines = ended.stderr.trim().lines().count();
    if ended.status.code() == Some(code) && lines == 1 && !ended.stderr.contains("panicked") {
        return Ok(());
    }
    fails(
        format_args!("exit status {code}, and one line on stderr that says why"),
        format_args!("{}, and {lines} lines: {}", ended.status, shown(&ended.stderr)),
    )
}
