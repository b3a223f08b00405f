//! The time series as CSV, and the distribution as percentile text.

use std::fmt::Write as _;
use std::io;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::series::Interval;
use crate::{Error, Latency, Result, outcome::per_second};

/// Steps for each halving of the distance to 100 %. Other writers of this format use the same.
const HGRM_STEPS: u32 = 5;
/// Counters in each bucket of a histogram with three significant digits.
const SUB_BUCKETS: u32 = 2048;
pub(super) const NANOS_PER_MILLI: f64 = 1e6;

/// The names of the distributions, in JSON, in CSV and in a log.
pub(super) const NAMES: [&str; 4] = ["response", "service", "lateness", "own_lateness"];

/// The distributions, in the order of [`NAMES`].
pub(super) fn histograms(latency: &Latency) -> [&Histogram<u64>; 4] {
    [&latency.response, &latency.service, &latency.lateness, &latency.own_lateness]
}

/// One line of the CSV file.
#[derive(Serialize)]
struct Row {
    start_seconds: f64,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    bytes_per_second: f64,
    /// For each distribution its percentiles and its maximum; `None` is an empty field.
    times_ns: Vec<Option<u64>>,
}

/// The names of the columns before the times.
const COLUMNS: [&str; 5] =
    ["start_seconds", "seconds", "messages", "messages_per_second", "bytes_per_second"];

/// One line for each interval, with these percentiles in nanoseconds. A closed loop leaves the
/// columns of service time and lateness empty.
///
/// # Errors
///
/// [`Error::Generator`] if an interval cannot be unpacked.
pub fn csv(
    intervals: impl Iterator<Item = Result<Interval>>,
    message_bytes: usize,
    percentiles: &[f64],
) -> Result<Vec<u8>> {
    let mut header = COLUMNS.map(str::to_owned).to_vec();
    for name in NAMES {
        header.extend(percentiles.iter().map(|percentile| format!("{name}_p{percentile}_ns")));
        header.push(format!("{name}_max_ns"));
    }
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let failed = |error: csv::Error| Error::generator::<io::Error>("writing CSV")(error.into());
    writer.write_record(&header).map_err(failed)?;
    for interval in intervals {
        let Interval { start, length, messages, latency } = &interval?;
        let rate = per_second(*messages, *length);
        let mut times_ns = Vec::with_capacity(header.len() - COLUMNS.len());
        for histogram in histograms(latency) {
            let measured = |ns| (!histogram.is_empty()).then_some(ns);
            let percentile = |percent: &f64| histogram.value_at_quantile(percent / 100.0);
            times_ns.extend(percentiles.iter().map(percentile).map(measured));
            times_ns.push(measured(histogram.max()));
        }
        let row = Row {
            start_seconds: start.as_secs_f64(),
            seconds: length.as_secs_f64(),
            messages: *messages,
            messages_per_second: rate,
            bytes_per_second: rate * message_bytes as f64,
            times_ns,
        };
        writer.serialize(row).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| Error::generator("writing CSV")(error.into_error()))
}

/// The percentile distribution in the text form of HdrHistogram's plotters (`.hgrm`), in
/// milliseconds.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(HGRM_STEPS) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NANOS_PER_MILLI;
        let quantile = step.quantile_iterated_to();
        let _ = write!(text, "{value:>12.6} {quantile:>14.12} {count:>10}");
        let _ = match quantile {
            ..1.0 => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)),
            _ => writeln!(text),
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.6}, StdDeviation   = {:>12.6}]\n\
         #[Max     = {:>12.6}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {SUB_BUCKETS:>12}]",
        histogram.mean() / NANOS_PER_MILLI,
        histogram.stdev() / NANOS_PER_MILLI,
        histogram.max() as f64 / NANOS_PER_MILLI,
        histogram.len(),
        histogram.buckets(),
    );
    text
}
