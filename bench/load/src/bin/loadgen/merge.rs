//! `loadgen merge`: adds up the logs of several clients that loaded one server at the same time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use loadgen::report::{LatencySummary, hgrm, read_log};
use loadgen::{Error, Latency, Result};
use serde::Serialize;
use server_process::files::{check_file, write_whole};

use crate::args::Merge;
use crate::output;

/// The sum. Serialised, it is the JSON form.
#[derive(Serialize)]
struct Sum {
    schema: &'static str,
    logs: usize,
    /// The parts of the sum.
    clients: Vec<Client>,
    /// The longest measured time of a client.
    seconds: f64,
    messages: u64,
    /// The sum of the clients' rates.
    messages_per_second: f64,
    latency: LatencySummary,
}

/// The content of one client's log.
#[derive(Serialize)]
struct Client {
    log: String,
    open_loop: bool,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
}

/// Adds up the logs and reports the sum. Returns the exit status.
pub(crate) fn run(merge: &Merge) -> Result<ExitCode> {
    merge.hgrm.iter().try_for_each(|file| check_file(file)).map_err(Error::Write)?;
    refuse_repeated(merge)?;
    let mut latency = Latency::new()?;
    let mut clients = Vec::with_capacity(merge.logs.len());
    for path in &merge.logs {
        let (client, one) = read(path)?;
        clients.push(client);
        latency.add(&one);
    }
    refuse_mixed(&clients)?;
    let sum = Sum {
        schema: "loadgen-merge/2",
        logs: clients.len(),
        seconds: clients.iter().map(|client| client.seconds).fold(0.0, f64::max),
        messages: latency.response.len(),
        messages_per_second: clients.iter().map(|client| client.messages_per_second).sum(),
        latency: LatencySummary::of(&latency, &merge.percentiles.list),
        clients,
    };
    let shown = if merge.json { output::json(&sum) } else { output::text(&text(&sum)) };
    if let Some(path) = &merge.hgrm {
        write_whole(path, hgrm(&latency.response).as_bytes()).map_err(Error::Write)?;
    }
    Ok(if shown? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> Result<(Client, Latency)> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let log = read_log(&bytes).map_err(|reason| Error::NotALog { path: path.into(), reason });
    let (latency, length) = log?;
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

/// Refuses a log that is given twice: its messages would count twice.
fn refuse_repeated(merge: &Merge) -> Result<()> {
    let mut seen = BTreeMap::new();
    for path in &merge.logs {
        // Reading a missing log reports it later.
        let Ok(file) = fs::canonicalize(path) else { continue };
        if let Some(before) = seen.insert(file, path) {
            return Err(Error::BadSum(format!(
                "{} and {} are the same log: give each log once",
                before.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// Refuses a sum of open and closed loops. Response times of an open loop count from the due time of
/// a message, and those of a closed loop from its send time.
fn refuse_mixed(clients: &[Client]) -> Result<()> {
    let open = clients.iter().find(|client| client.open_loop);
    let closed = clients.iter().find(|client| !client.open_loop);
    let (Some(open), Some(closed)) = (open, closed) else { return Ok(()) };
    Err(Error::BadSum(format!(
        "{} is of an open loop and {} of a closed loop, and their response times have different \
         meanings: merge them separately",
        open.log, closed.log
    )))
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
        sum.messages,
        sum.messages_per_second,
        sum.latency.text()
    );
    text
}
