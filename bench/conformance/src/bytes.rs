//! Bytes come back in order, exactly once, however the client cuts them (RFC 862).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::case::{Case, Need};
use crate::stage::Stage;
use crate::verdict::Verdict;

/// Messages that the kernel buffers even if each is small. A Unix-domain socket needs three quarters of a
/// KiB for each message, and has room for 277 by default (wmem_default).
const MESSAGES_BUFFERED: usize = 200;

/// What most of these cases protect.
const IN_ORDER: &str = "bytes come back in order, exactly once, however they are cut";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "one_byte",
        says: IN_ORDER,
        mistake: "the server does not answer, or waits for a line or for a full buffer",
        hint: "write the bytes that read() returned at once, even if it is one byte",
        needs: &[],
        run: one_byte,
    },
    Case {
        name: "two_clients_at_once",
        says: "every client is served",
        mistake: "the server serves one client until it leaves, and then accepts the next",
        hint: "give each client a thread, or wait for all sockets at once (select, poll, epoll)",
        needs: &[Need::Clients(2)],
        run: two_clients_at_once,
    },
    Case {
        name: "all_byte_values",
        says: IN_ORDER,
        mistake: "the server treats bytes as text: it stops at NUL, changes line ends, or decodes",
        hint: "read and write bytes, not strings; use the length that read() returned",
        needs: &[],
        run: all_byte_values,
    },
    Case {
        name: "eight_mebibytes",
        says: IN_ORDER,
        mistake: "the server does not complete a short write: write() may take a part of the bytes",
        hint: "continue to write where write() stopped; keep the rest for later",
        needs: &[],
        run: eight_mebibytes,
    },
    Case {
        name: "random_chunks",
        says: IN_ORDER,
        mistake: "the server takes one read() for one message",
        hint: "TCP is a stream of bytes: one read() may return half a message, or three messages",
        needs: &[],
        run: random_chunks,
    },
    Case {
        name: "deep_pipelining",
        says: IN_ORDER,
        mistake: "the server answers one message, and drops the next messages of the same read()",
        hint: "echo all bytes that read() returned before you read again",
        needs: &[],
        run: deep_pipelining,
    },
    Case {
        name: "one_byte_at_a_time",
        says: IN_ORDER,
        mistake: "the server answers only the first read(), or waits for more bytes",
        hint: "loop: read, write, until read() returns 0",
        needs: &[],
        run: one_byte_at_a_time,
    },
    Case {
        name: "a_hundred_clients_at_once",
        says: "every client is served, each with its own bytes",
        mistake: "clients share a buffer, or the server serves only some of them at a time",
        hint: "the bytes of a connection belong to this connection: keep them in it",
        needs: &[Need::Clients(100), Need::Descriptors(100)],
        run: a_hundred_clients_at_once,
    },
    Case {
        name: "clients_in_the_queue_get_their_turn",
        says: "a client that cannot be served yet waits, and is served later",
        mistake: "the server loses clients that connected, sent and half-closed before it accepted them",
        hint: "accept again after each client; the bytes that it sent can still be read",
        needs: &[],
        run: clients_in_the_queue_get_their_turn,
    },
];

fn one_byte(stage: &Stage) -> Verdict {
    stage.start()?.connect()?.echo(b"x")
}

fn two_clients_at_once(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut clients = server.served_many(2)?;
    clients.iter_mut().rev().try_for_each(|client| client.exchange(100))
}

fn all_byte_values(stage: &Stage) -> Verdict {
    let mut client = stage.start()?.connect()?;
    let upwards: Vec<u8> = (0..=u8::MAX).collect();
    let downwards: Vec<u8> = (0..=u8::MAX).rev().collect();
    client.echo(&upwards)?;
    client.echo(&downwards)
}

fn eight_mebibytes(stage: &Stage) -> Verdict {
    let mut client = stage.start()?.connect()?;
    client.exchange(8 << 20)?;
    client.half_close()?;
    client.expect_end()
}

/// The seed decides the sizes, so a failure can be repeated.
fn random_chunks(stage: &Stage) -> Verdict {
    let mut random = StdRng::seed_from_u64(stage.subject().seed);
    let server = stage.start()?;
    for largest in [7, 1500, 70_000] {
        let mut client = server.connect()?;
        let mut size = || random.random_range(1..=largest);
        client.exchange_in(500 * largest.min(4000) as u64, || (size(), size()))?;
        client.half_close()?;
        client.expect_end()?;
    }
    Ok(())
}

/// The client sends hundreds of messages before it reads the first answer. All of them fit into the
/// kernel's buffers. A server that blocks in write() is allowed, and does not get stuck here.
fn deep_pipelining(stage: &Stage) -> Verdict {
    let mut client = stage.start()?.connect()?;
    for round in 1..=10 {
        for _ in 0..MESSAGES_BUFFERED {
            client.send(16 * round)?;
        }
        client.receive_all()?;
    }
    Ok(())
}

fn one_byte_at_a_time(stage: &Stage) -> Verdict {
    let mut client = stage.start()?.connect()?;
    for _ in 0..200 {
        client.exchange(1)?;
    }
    for _ in 0..10 {
        for _ in 0..MESSAGES_BUFFERED {
            client.send(1)?;
        }
        client.receive_all()?;
    }
    Ok(())
}

fn a_hundred_clients_at_once(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut clients = server.served_many(100)?;
    for size in [1, 1000, 10_000] {
        clients.iter_mut().try_for_each(|client| client.send(size))?;
        clients.iter_mut().rev().try_for_each(|client| client.receive_all())?;
    }
    clients.iter().try_for_each(|client| client.half_close())?;
    clients.iter_mut().try_for_each(|client| client.expect_end())
}

/// More clients than a server with a declared limit serves at a time, and few enough for any backlog.
fn clients_in_the_queue_get_their_turn(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let count = stage.subject().at_most(20) + 3;
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = server.connect()?;
        client.send(1000)?;
        client.half_close()?;
        clients.push(client);
    }
    clients.iter_mut().try_for_each(|client| client.expect_end())
}
