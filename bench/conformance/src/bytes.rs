//! Bytes come back in order, exactly once, whatever the chunking (RFC 862).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::case::{Case, Need};
use crate::stage::Stage;
use crate::verdict::Verdict;

/// Messages that the kernel buffers however small they are: a Unix-domain socket takes three quarters of
/// a KiB for each, and has room for 277 by default (wmem_default).
const MESSAGES_BUFFERED: usize = 200;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "one_byte",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server does not answer at all, or waits for a line or a full buffer",
        hint: "write what read() returned as soon as it has returned, however little it is",
        needs: &[],
        run: one_byte,
    },
    Case {
        name: "all_byte_values",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server treats the bytes as text: it stops at NUL, changes line ends or decodes",
        hint: "read and write bytes, not strings, and use the length that read() returned",
        needs: &[],
        run: all_byte_values,
    },
    Case {
        name: "eight_mebibytes",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server does not finish a short write: write() may take less than it is given",
        hint: "go on writing from where write() stopped, and keep what is left for later",
        needs: &[],
        run: eight_mebibytes,
    },
    Case {
        name: "random_chunks",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server takes one read() for one message",
        hint: "TCP is a stream of bytes: a read() may return half a message, or three",
        needs: &[],
        run: random_chunks,
    },
    Case {
        name: "deep_pipelining",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server answers one message and throws away what came behind it in the same read()",
        hint: "echo all that read() returned before you read again",
        needs: &[],
        run: deep_pipelining,
    },
    Case {
        name: "one_byte_at_a_time",
        says: "bytes come back in order, exactly once, whatever the chunking",
        mistake: "the server answers only the first read(), or waits for more before it answers",
        hint: "loop: read, write, until read() says 0",
        needs: &[],
        run: one_byte_at_a_time,
    },
    Case {
        name: "a_hundred_clients_at_once",
        says: "every client is served, each with its own bytes",
        mistake: "clients share a buffer, or the server serves one client until it leaves",
        hint: "what has been read belongs to one connection: keep it there",
        needs: &[Need::Clients(100), Need::Descriptors(100)],
        run: a_hundred_clients_at_once,
    },
    Case {
        name: "clients_in_the_queue_get_their_turn",
        says: "a client that cannot be served yet waits, and is served later",
        mistake: "the server forgets clients that connected, sent and half-closed before it accepted",
        hint: "accept again after each client; what it sent is still there to be read",
        needs: &[],
        run: clients_in_the_queue_get_their_turn,
    },
];

fn one_byte(stage: &Stage) -> Verdict {
    stage.start()?.connect()?.echo(b"x")
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

/// The sizes come from the seed, so that a failure can be repeated.
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

/// Hundreds of messages are sent before the first answer is read. Together they fit into the kernel's
/// buffers, so that a server that blocks in write() is not stuck: that would be its right.
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

/// More clients than can be served at once where there is such a limit, few enough for any backlog.
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
