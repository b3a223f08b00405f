//! The HdrHistogram log: the distributions of a run, with what is needed to add up several runs.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::files::{NAMES, NANOS_PER_MILLI, histograms};
use super::{Report, Warning};
use crate::series::Interval;
use crate::{Arrivals, Error, Latency, Result};

/// Begins the comment that holds the header. Other readers of the format skip comments.
const HEADER: &str = "#[loadgen ";

/// What a log says of its run, beside the distributions. The names are those of the JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The address of the server.
    pub address: String,
    /// Start of the measured time, in seconds since 1970, by the clock of the client.
    pub started_unix_seconds: f64,
    /// The measured time.
    pub seconds: f64,
    /// Messages that came back whole and right.
    pub messages: u64,
    /// Messages in the distribution of response times.
    pub response_count: u64,
    /// Messages per second, on all connections together.
    pub messages_per_second: f64,
    /// Whether the run was an open loop.
    pub open_loop: bool,
    /// The seed of random arrivals; `None` for other runs.
    pub arrivals_seed: Option<u64>,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
    /// What can have changed the figures.
    pub warnings: Vec<Warning>,
    /// Why the figures are wrong or misleading.
    pub invalid: Vec<String>,
}

impl Header {
    fn of(report: &Report, started: SystemTime) -> Header {
        let rate = report.load.rate;
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        Header {
            address: report.load.address.clone(),
            started_unix_seconds: since.as_secs_f64(),
            seconds: report.result.seconds,
            messages: report.result.messages,
            response_count: report.latency.response.as_ref().map_or(0, |response| response.count),
            messages_per_second: report.result.messages_per_second,
            open_loop: rate.is_some(),
            arrivals_seed: rate
                .is_some_and(|rate| rate.arrivals == Arrivals::Poisson)
                .then_some(report.load.seed),
            interrupted: report.result.interrupted,
            warnings: report.warnings.clone(),
            invalid: report.invalid.clone(),
        }
    }
}

/// The distributions as a compressed HdrHistogram interval log (V2), in nanoseconds. Each interval
/// has a line for each distribution, with its name in JSON as the tag. `started` is the start of the
/// measured time.
///
/// # Errors
///
/// [`Error::Generator`] if an interval cannot be unpacked or packed.
pub fn log(
    report: &Report,
    intervals: impl Iterator<Item = Result<Interval>>,
    started: SystemTime,
) -> Result<Vec<u8>> {
    let failed = || Error::generator::<io::Error>("writing a log");
    let header = serde_json::to_string(&Header::of(report, started));
    let header = header.map_err(io::Error::from).map_err(failed())?;
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(concat!("[Logged with loadgen ", env!("CARGO_PKG_VERSION"), ", in ns]"))
        .add_comment(&format!("{}{header}]", &HEADER[1..]))
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(NANOS_PER_MILLI)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(failed())?;
    for interval in intervals {
        let Interval { start, length, latency, .. } = interval?;
        for (name, histogram) in NAMES.into_iter().zip(histograms(&latency)) {
            if !histogram.is_empty() {
                let written = writer.write_histogram(histogram, start, length, Tag::new(name));
                let written = written.map_err(|error| io::Error::other(error.to_string()));
                written.map_err(failed())?;
            }
        }
    }
    Ok(bytes)
}

/// Reads a log, and adds up its intervals.
///
/// # Errors
///
/// A reason why [`log`] did not write these bytes, or why they are only the beginning of a log.
pub fn read_log(bytes: &[u8]) -> std::result::Result<(Header, Latency), String> {
    let header = header(bytes)?;
    let mut latency = Latency::new().map_err(|error| error.to_string())?;
    for entry in IntervalLogIterator::new(bytes) {
        let entry = entry.map_err(|_| "a line is cut off, or not a line of a HdrHistogram log")?;
        let LogEntry::Interval(interval) = entry else { continue };
        let target = match interval.tag().as_deref() {
            Some("response") => &mut latency.response,
            Some("service") => &mut latency.service,
            Some("lateness") => &mut latency.lateness,
            Some("own_lateness") => &mut latency.own_lateness,
            Some(_) | None => return Err("a line has a tag of another program".to_owned()),
        };
        let packed = STANDARD.decode(interval.encoded_histogram());
        let packed = packed.map_err(|error| error.to_string())?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut packed.as_slice())
            .map_err(|error| error.to_string())?;
        target.add(&histogram).map_err(|error| error.to_string())?;
    }
    let (found, wanted) = (latency.response.len(), header.response_count);
    if found != wanted {
        return Err(format!("it holds {found} response times of {wanted}"));
    }
    Ok((header, latency))
}

fn header(bytes: &[u8]) -> std::result::Result<Header, String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find_map(|line| line.strip_prefix(HEADER)?.strip_suffix(']'));
    let line = line.ok_or("it has no header of this version of loadgen")?;
    serde_json::from_str(line).map_err(|error| format!("its header is damaged: {error}"))
}
