//! `loadgen merge`: the logs of several clients that loaded one server at the same time, added up.

use std::fs;
use std::io::{self, Write};

use bench::load::Latency;
use bench::load::report::{Distribution, LatencySummary, hgrm, read_log, write_whole};
use serde::Serialize;

use crate::args::Merge;
use crate::to_json;

/// The sum, as JSON has it.
#[derive(Serialize)]
struct Sum {
    schema: &'static str,
    logs: usize,
    /// The longest of the clients' times.
    seconds: f64,
    messages: u64,
    /// The sum of the clients' rates.
    messages_per_second: f64,
    latency: LatencySummary,
}

/// Adds up and reports.
pub(crate) fn run(merge: &Merge) -> io::Result<bool> {
    let mut latency = Latency::new()?;
    let (mut seconds, mut rate) = (0.0_f64, 0.0);
    for path in &merge.logs {
        let read = fs::read(path).and_then(|bytes| read_log(&bytes));
        let (one, length) = read.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
        })?;
        let length = length.as_secs_f64();
        seconds = seconds.max(length);
        if length > 0.0 {
            rate += one.response.len() as f64 / length;
        }
        latency.add(&one);
    }
    let open_loop = !latency.service.is_empty();
    let of = |histogram| Distribution::of(histogram, &merge.percentiles.list);
    let sum = Sum {
        schema: "loadgen-merge/1",
        logs: merge.logs.len(),
        seconds,
        messages: latency.response.len(),
        messages_per_second: rate,
        latency: LatencySummary {
            response: of(&latency.response),
            service: open_loop.then(|| of(&latency.service)),
            lateness: open_loop.then(|| of(&latency.lateness)),
        },
    };
    if let Some(path) = &merge.hgrm {
        write_whole(path, hgrm(&latency.response).as_bytes())?;
    }
    let text = if merge.json {
        to_json(&sum)?
    } else {
        format!(
            "{} log(s), {:.3} s\n\n  messages     {} in all; {:.0} /s in all\n{}",
            sum.logs, sum.seconds, sum.messages, sum.messages_per_second, sum.latency
        )
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(true)
}
