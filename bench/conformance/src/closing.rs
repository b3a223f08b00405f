//! How connections end: by half-close, by reset, and two thousand times in a row.

use crate::case::{Case, Need};
use crate::client::Client;
use crate::stage::{Server, Stage};
use crate::verdict::Verdict;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "half_close_with_nothing_queued",
        says: "after a half-close the server closes its side",
        mistake: "the server does not take read() = 0 for the end of the stream",
        hint: "when read() returns 0, close the connection; do not read again",
        needs: &[],
        run: half_close_with_nothing_queued,
    },
    Case {
        name: "half_close_after_a_message",
        says: "all that was received is echoed, then the server closes its side",
        mistake: "the server closes when it learns of the half-close (EPOLLRDHUP, POLLHUP) and not when \
                  it has read to the end",
        hint: "a half-close says that the client sends no more, not that it wants no more: read until \
               read() returns 0, write it all, then close",
        needs: &[],
        run: half_close_after_a_message,
    },
    Case {
        name: "half_close_with_data_queued",
        says: "all that was received is echoed, then the server closes its side",
        mistake: "the server closes on end of stream though write() has not taken everything yet",
        hint: "on end of stream stop reading; close only when the bytes not yet written are written",
        needs: &[],
        run: half_close_with_data_queued,
    },
    Case {
        name: "reset_in_mid_message",
        says: "a peer resets: that connection ends, no other notices",
        mistake: "an error of one client's read() or write() ends the server, or a loop over all clients",
        hint: "treat ECONNRESET like end of stream: close this connection and go on",
        needs: &[],
        run: reset_in_mid_message,
    },
    Case {
        name: "reset_with_output_pending",
        says: "a peer resets: that connection ends, no other notices",
        mistake: "write() to a peer that is gone raises SIGPIPE, or its error is not expected",
        hint: "ignore SIGPIPE or send with MSG_NOSIGNAL; close the connection on EPIPE and ECONNRESET",
        needs: &[],
        run: reset_with_output_pending,
    },
    Case {
        name: "reset_before_accept",
        says: "errors of accept that concern one peer are survived",
        mistake: "the server ends on ECONNABORTED, or on an error of the socket it has just accepted",
        hint: "accept(2), \"Error handling\": most of its errors belong to one client; so do those of \
               setsockopt() and getpeername() on what it returned",
        needs: &[Need::Process],
        run: reset_before_accept,
    },
    Case {
        name: "two_thousand_connections_leak_nothing",
        says: "a connection that has ended leaves no descriptor, thread or child behind",
        mistake: "some way to end (end of stream, reset, close with unread data) does not close the \
                  socket, join the thread or wait for the child",
        hint: "look at /proc/PID/fd and /proc/PID/task while connections come and go",
        needs: &[],
        run: two_thousand_connections_leak_nothing,
    },
];

fn half_close_with_nothing_queued(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut client = server.connect()?;
    client.half_close()?;
    client.expect_end()?;
    let mut client = server.served()?;
    client.half_close()?;
    client.expect_end()
}

/// Data and FIN arrive in one go: there may be only one event for both.
fn half_close_after_a_message(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    for size in [1, 100, 5_000, 50_000] {
        let mut client = server.connect()?;
        client.send(size)?;
        client.half_close()?;
        client.expect_end()?;
    }
    Ok(())
}

/// The client reads nothing until every buffer on the way is full: the server has bytes left that
/// write() would not take when it learns of the half-close.
fn half_close_with_data_queued(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut stuck = server.stuck(1)?;
    stuck.iter().try_for_each(|client| client.half_close())?;
    stuck.iter_mut().try_for_each(|client| client.expect_end())
}

/// A client that was there before, where the server can serve two.
fn bystander(server: &Server, stage: &Stage) -> Verdict<Option<Client>> {
    if stage.subject().at_most(2) < 2 {
        return Ok(None);
    }
    server.served().map(Some)
}

fn reset_in_mid_message(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut bystander = bystander(&server, stage)?;
    for unread in [0, 1, 10_000] {
        let mut client = server.served()?;
        client.send(unread)?;
        client.reset();
        if let Some(bystander) = &mut bystander {
            bystander.exchange(100)?;
        }
        server.expect_service()?;
    }
    Ok(())
}

fn reset_with_output_pending(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut bystander = bystander(&server, stage)?;
    for _ in 0..2 {
        server.stuck(1)?.into_iter().for_each(Client::reset);
        if let Some(bystander) = &mut bystander {
            bystander.exchange(100)?;
        }
        server.expect_service()?;
    }
    Ok(())
}

/// SIGSTOP makes sure that the server accepts none of them before its reset.
fn reset_before_accept(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    server.expect_service()?;
    server.freeze()?;
    for size in [0, 1, 100] {
        let mut client = server.connect()?;
        client.send(size)?;
        client.reset();
    }
    server.thaw()?;
    server.expect_service()
}

fn two_thousand_connections_leak_nothing(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    // What is made once and kept, such as a thread's stack for the next thread, is made now.
    connections(&server, 16)?;
    let before = server.settled()?;
    connections(&server, 2000)?;
    server.expect_holds_no_more_than(before)
}

/// Connections one after the other, ended in all the ways there are.
fn connections(server: &Server, count: usize) -> Verdict {
    for number in 0..count {
        let mut client = server.connect()?;
        match number % 4 {
            // Never said a word.
            0 => drop(client),
            // Has everything back.
            1 => client.exchange(10)?,
            // Does not read its answer: the kernel resets on close.
            2 => client.send(10)?,
            _ => {
                client.exchange(10)?;
                client.reset();
            }
        }
    }
    // The last of them is accepted behind all the others.
    server.expect_service()
}
