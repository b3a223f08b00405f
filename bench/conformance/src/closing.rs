//! How connections end: by half-close, by reset, and two thousand times in a row.

use std::time::Duration;

use crate::case::{Case, Need};
use crate::client::Client;
use crate::server::Server;
use crate::stage::Stage;
use crate::verdict::{Verdict, not_applicable};

/// How long a client waits for room in the backlog of a stopped server: an established connection takes
/// a millisecond.
const BACKLOG_TIMEOUT: Duration = Duration::from_millis(500);

/// What the cases about a half-close with bytes protect.
const ECHO_THEN_CLOSE: &str = "all that was received is echoed, then the server closes its side";

/// What the cases about a reset protect.
const ONE_RESET: &str = "a peer resets: its connection ends, and no other client notices";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "half_close_with_nothing_queued",
        says: "after a half-close, the server closes its side",
        mistake: "the server does not take a read() of 0 bytes for the end of the stream",
        hint: "when read() returns 0, close the connection; do not read again",
        needs: &[],
        run: half_close_with_nothing_queued,
    },
    Case {
        name: "half_close_after_a_message",
        says: ECHO_THEN_CLOSE,
        mistake: "the server closes when it learns of the half-close (EPOLLRDHUP, POLLHUP), before it \
                  has read all bytes",
        hint: "after a half-close the client sends no more, but still reads: read until read() returns \
               0, write all bytes, then close",
        needs: &[],
        run: half_close_after_a_message,
    },
    Case {
        name: "half_close_with_data_queued",
        says: ECHO_THEN_CLOSE,
        mistake: "the server closes at end of stream, when write() has not taken all bytes yet",
        hint: "at end of stream stop reading; close when all bytes are written",
        needs: &[],
        run: half_close_with_data_queued,
    },
    Case {
        name: "reset_in_mid_message",
        says: ONE_RESET,
        mistake: "an error of one client's read() or write() ends the server, or its loop over clients",
        hint: "treat ECONNRESET like end of stream: close this connection and continue",
        needs: &[],
        run: reset_in_mid_message,
    },
    Case {
        name: "reset_with_output_pending",
        says: ONE_RESET,
        mistake: "write() after the reset raises SIGPIPE, or returns an error that ends the server",
        hint: "ignore SIGPIPE or send with MSG_NOSIGNAL; close the connection on EPIPE and ECONNRESET",
        needs: &[],
        run: reset_with_output_pending,
    },
    Case {
        name: "reset_before_accept",
        says: "the server survives errors of accept that concern one peer",
        mistake: "ECONNABORTED ends the server, or an error of the socket that it has just accepted",
        hint: "accept(2), \"Error handling\": most errors of accept() belong to one client; so do errors \
               of setsockopt() and getpeername() on the new socket",
        needs: &[Need::Process],
        run: reset_before_accept,
    },
    Case {
        name: "two_thousand_connections_leak_nothing",
        says: "a connection that has ended leaves no descriptor, thread or child behind",
        mistake: "one way to end (end of stream, reset, close with unread data) does not close the \
                  socket, join the thread or wait for the child",
        hint: "look at /proc/PID/fd and /proc/PID/task while clients come and go",
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

/// Data and FIN arrive together, so the server may get one event for both.
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

/// The client reads nothing until all buffers on the way are full. The server then has bytes that write()
/// did not take when it learns of the half-close.
fn half_close_with_data_queued(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut stuck = server.stuck(1)?;
    stuck.iter().try_for_each(|client| client.half_close())?;
    stuck.iter_mut().try_for_each(|client| client.expect_end())
}

/// A client that connects before the others. `None` where the server serves one client at a time.
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

/// SIGSTOP keeps the server from accepting a client before the client resets.
fn reset_before_accept(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    server.expect_service()?;
    server.freeze()?;
    for (before, size) in [0, 1, 100].into_iter().enumerate() {
        let mut client = server.begin()?;
        if !client.is_connected_within(BACKLOG_TIMEOUT) {
            server.thaw()?;
            return not_applicable(format_args!(
                "the backlog holds {before} connections, too few: pass a larger one to listen()"
            ));
        }
        client.send(size)?;
        client.reset();
    }
    server.thaw()?;
    server.expect_service()
}

fn two_thousand_connections_leak_nothing(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    // A server makes some things once and keeps them, such as the stack for the next thread.
    connections(&server, 16)?;
    let before = server.settled()?;
    connections(&server, 2000)?;
    server.expect_holds_no_more_than(before)
}

/// Connections one after the other, which end in four ways.
fn connections(server: &Server, count: usize) -> Verdict {
    for number in 0..count {
        let mut client = server.connect()?;
        match number % 4 {
            // The client sends nothing.
            0 => drop(client),
            // The client has all bytes back.
            1 => client.exchange(10)?,
            // The client does not read its answer, so its kernel resets the connection.
            2 => client.send(10)?,
            _ => {
                client.exchange(10)?;
                client.reset();
            }
        }
    }
    // The server accepts this client after all others.
    server.expect_service()
}
