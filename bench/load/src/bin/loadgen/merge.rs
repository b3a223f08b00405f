//! `loadgen merge`: the logs of several clients that loaded one server at the same time, added up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use loadgen::Latency;
use loadgen::report::{Distribution, LatencySummary, hgrm, read_log};
use serde::Serialize;
use server_process::files::{check_file, write_whole};

use crate::args::Merge;
use crate::{show, to_json};

/// The sum, as JSON has it.
#[derive(Serialize)]
struct Sum {
    schema: &'static str,
    logs: usize,
    /// What was added up.
    clients: Vec<Client>,
    /// The longest of the clients' times.
    seconds: f64,
    messages: u64,
    /// The sum of the clients' rates.
    messages_per_second: f64,
    latency: LatencySummary,
}

/// What one client's log holds.
#[derive(Serialize)]
struct Client {
    log: String,
    open_loop: bool,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
}

/// Adds up and reports.
pub(crate) fn run(merge: &Merge) -> io::Result<bool> {
    merge.hgrm.iter().try_for_each(|file| check_file(file))?;
    refuse_repeated(merge)?;
    let mut latency = Latency::new()?;
    let mut clients = Vec::with_capacity(merge.logs.len());
    for path in &merge.logs {
        let (client, one) = read(path)?;
        clients.push(client);
        latency.add(&one);
    }
    refuse_mixed(&clients)?;
    let open_loop = !latency.service.is_empty();
    let of = |histogram| Distribution::of(histogram, &merge.percentiles.list);
    let sum = Sum {
        schema: "loadgen-merge/1",
        logs: clients.len(),
        seconds: clients.iter().map(|client| client.seconds).fold(0.0, f64::max),
        messages: latency.response.len(),
        messages_per_second: clients.iter().map(|client| client.messages_per_second).sum(),
        latency: LatencySummary {
            response: of(&latency.response),
            service: open_loop.then(|| of(&latency.service)),
            lateness: open_loop.then(|| of(&latency.lateness)),
        },
        clients,
    };
    let shown = show(&if merge.json { to_json(&sum)? } else { text(&sum) });
    if let Some(path) = &merge.hgrm {
        write_whole(path, hgrm(&latency.response).as_bytes())?;
    }
    shown
}

fn read(path: &Path) -> io::Result<(Client, Latency)> {
    let (latency, length) = fs::read(path).and_then(|bytes| read_log(&bytes)).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
    })?;
    let (seconds, messages) = (length.as_secs_f64(), latency.response.len());
    let client = Client {
        log: path.display().to_string(),
        open_loop: !latency.service.is_empty(),
        seconds,
        messages,
        messages_per_second: if seconds > 0.0 { messages as f64 / seconds } else { 0.0 },
    };
    Ok((client, latency))
}

/// A log that is given twice would count twice.
fn refuse_repeated(merge: &Merge) -> io::Result<()> {
    let mut seen = BTreeMap::new();
    for path in &merge.logs {
        // One that is not there is complained about when it is read.
        let Ok(file) = fs::canonicalize(path) else { continue };
        if let Some(before) = seen.insert(file, path) {
            return Err(wrong(format!(
                "{} and {} are the same log: give each client's once",
                before.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// The response times of an open loop count from when a message was due, those of a closed loop from
/// when it was sent: a sum of both says nothing of either.
fn refuse_mixed(clients: &[Client]) -> io::Result<()> {
    let open = clients.iter().find(|client| client.open_loop);
    let closed = clients.iter().find(|client| !client.open_loop);
    let (Some(open), Some(closed)) = (open, closed) else { return Ok(()) };
    Err(wrong(format!(
        "{} is of an open loop and {} of a closed one: their response times do not mean the same, \
         merge them apart",
        open.log, closed.log
    )))
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn text(sum: &Sum) -> String {
    let mut text =
        format!("{} log(s) of clients that ran at the same time, added up\n\n", sum.logs);
    for Client { log, seconds, messages, messages_per_second: rate, .. } in &sum.clients {
        let _ = writeln!(text, "  {log}: {messages} messages in {seconds:.3} s, {rate:.0} /s");
    }
    let _ = write!(
        text,
        "\n  messages     {} in all; {:.0} /s in all\n{}",
        sum.messages, sum.messages_per_second, sum.latency
    );
    text
}
