//! `loadgen merge`: adds up the logs of several clients that loaded one server at the same time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use loadgen::report::{Header, LatencySummary, Warning, hgrm, read_log};
use loadgen::{Error, Latency, Result};
use serde::Serialize;
use server_process::files::{check_file, write_whole};

use crate::args::Merge;
use crate::output;

mod text;

/// Smallest common time of all clients, as a share of the longest run, at which they count as running
/// at the same time.
const TOGETHER: f64 = 0.9;

/// The sum. Serialised, it is the JSON form.
#[derive(Serialize)]
struct Sum {
    schema: &'static str,
    /// The parts of the sum.
    clients: Vec<Client>,
    result: Total,
    latency: LatencySummary,
    /// What can have changed the figures of a client, with its log.
    warnings: Vec<Warning>,
    /// Why the sum is wrong or misleading.
    invalid: Vec<String>,
}

/// One client.
#[derive(Serialize)]
struct Client {
    log: String,
    #[serde(flatten)]
    header: Header,
}

/// The counts and rates of the sum.
#[derive(Serialize)]
struct Total {
    /// The longest measured time of a client.
    seconds: f64,
    /// The time in which all clients ran.
    common_seconds: f64,
    messages: u64,
    /// The sum of the clients' rates; `null` if the clients did not run at the same time.
    messages_per_second: Option<f64>,
}

/// Adds up the logs and reports the sum. Returns the exit status.
pub(crate) fn run(merge: &Merge) -> Result<ExitCode> {
    merge.hgrm.iter().try_for_each(|file| check_file(file)).map_err(Error::Write)?;
    refuse_repeated(merge)?;
    let mut latency = Latency::new()?;
    let mut clients = Vec::with_capacity(merge.logs.len());
    for path in &merge.logs {
        let (header, one) = read(path)?;
        clients.push(Client { log: path.display().to_string(), header });
        latency.add(&one);
    }
    refuse_mixed(&clients)?;
    let result = Total::of(&clients);
    let sum = Sum {
        schema: "loadgen-merge/2",
        warnings: warnings(&clients),
        invalid: invalid(&clients, &result),
        latency: LatencySummary::of(&latency, &merge.percentiles.list),
        clients,
        result,
    };
    let shown =
        if merge.json { output::json(&sum) } else { output::text(&sum.text(output::width())) };
    if let Some(path) = &merge.hgrm {
        write_whole(path, hgrm(&latency.response).as_bytes()).map_err(Error::Write)?;
    }
    let good = shown? && sum.invalid.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> Result<(Header, Latency)> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    read_log(&bytes).map_err(|reason| Error::NotALog { path: path.into(), reason })
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
    let open = clients.iter().find(|client| client.header.open_loop);
    let closed = clients.iter().find(|client| !client.header.open_loop);
    let (Some(open), Some(closed)) = (open, closed) else { return Ok(()) };
    Err(Error::BadSum(format!(
        "{} is of an open loop and {} of a closed loop, and their response times have different \
         meanings: merge them separately",
        open.log, closed.log
    )))
}

impl Total {
    fn of(clients: &[Client]) -> Total {
        let headers = || clients.iter().map(|client| &client.header);
        let seconds = headers().map(|header| header.seconds).fold(0.0, f64::max);
        let starts = headers().map(|header| header.started_unix_seconds);
        let ends = headers().map(|header| header.started_unix_seconds + header.seconds);
        let common = ends.fold(f64::INFINITY, f64::min) - starts.fold(0.0, f64::max);
        let common_seconds = common.max(0.0);
        let together = common_seconds >= seconds * TOGETHER;
        let rate = headers().map(|header| header.messages_per_second).sum();
        Total {
            seconds,
            common_seconds,
            messages: headers().map(|header| header.messages).sum(),
            messages_per_second: together.then_some(rate),
        }
    }
}

fn invalid(clients: &[Client], total: &Total) -> Vec<String> {
    let mut reasons = Vec::new();
    for Client { log, header } in clients {
        reasons.extend(header.invalid.iter().map(|reason| format!("{log}: {reason}")));
        if header.interrupted {
            reasons.push(format!("{log}: a signal ended the run early"));
        }
    }
    if total.messages_per_second.is_none() {
        reasons.push(format!(
            "the clients did not run at the same time: {:.3} s are common to all, of {:.3} s. Their \
             rates cannot be added; start them with the same --start-at and --duration, and \
             synchronise the clocks of their machines",
            total.common_seconds, total.seconds
        ));
    }
    reasons
}

fn warnings(clients: &[Client]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut seeds = BTreeMap::new();
    for Client { log, header } in clients {
        for Warning { name, text } in &header.warnings {
            warnings.push(Warning { name: name.clone(), text: format!("{log}: {text}") });
        }
        let Some(seed) = header.arrivals_seed else { continue };
        if let Some(other) = seeds.insert(seed, log) {
            let text = format!(
                "{other} and {log} have the same seed, so their random messages were due at the same \
                 moments: give each client its own --seed"
            );
            warnings.push(Warning { name: "seed".to_owned(), text });
        }
    }
    warnings
}
