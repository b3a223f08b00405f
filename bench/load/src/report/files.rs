//! Forms of a report that other tools read.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::series::Interval;
use crate::{Latency, outcome::per_second};

/// Steps per halving of the distance to 100 %, as other writers of this format have it.
const HGRM_STEPS: u32 = 5;
const NANOS_PER_MILLI: f64 = 1e6;

/// One line per interval, with the asked-for percentiles in nanoseconds. The columns of service
/// time and lateness are empty in a closed loop.
///
/// # Errors
///
/// Those of the intervals.
pub fn csv(
    intervals: impl Iterator<Item = io::Result<Interval>>,
    message_bytes: usize,
    percentiles: &[f64],
) -> io::Result<String> {
    let mut text = "start_seconds,seconds,messages,messages_per_second,bytes_per_second".to_owned();
    for name in ["response", "service", "lateness"] {
        for percentile in percentiles {
            let _ = write!(text, ",{name}_p{percentile}_ns");
        }
        let _ = write!(text, ",{name}_max_ns");
    }
    text.push('\n');
    for interval in intervals {
        let Interval { start, length, messages, latency } = &interval?;
        let rate = per_second(*messages, *length);
        let _ = write!(
            text,
            "{:.6},{:.6},{messages},{rate:.1},{:.1}",
            start.as_secs_f64(),
            length.as_secs_f64(),
            rate * message_bytes as f64
        );
        for histogram in [&latency.response, &latency.service, &latency.lateness] {
            let field = |ns: u64| {
                if histogram.is_empty() { ",".to_owned() } else { format!(",{ns}") }
            };
            for percentile in percentiles {
                text += &field(histogram.value_at_quantile(percentile / 100.0));
            }
            text += &field(histogram.max());
        }
        text.push('\n');
    }
    Ok(text)
}

/// The percentile distribution as HdrHistogram's plotters read it (`.hgrm`), in milliseconds.
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
         #[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.mean() / NANOS_PER_MILLI,
        histogram.stdev() / NANOS_PER_MILLI,
        histogram.max() as f64 / NANOS_PER_MILLI,
        histogram.len(),
        histogram.buckets(),
        2048
    );
    text
}

/// The distributions as a HdrHistogram interval log, compressed (V2), in nanoseconds: a line per
/// interval and distribution, tagged `response`, `service` or `lateness`.
///
/// # Errors
///
/// Those of the intervals and of the serialiser; none is expected.
pub fn log(
    intervals: impl Iterator<Item = io::Result<Interval>>,
    began: SystemTime,
) -> io::Result<Vec<u8>> {
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(concat!("[Logged with loadgen ", env!("CARGO_PKG_VERSION"), ", in ns]"))
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(NANOS_PER_MILLI)
        .begin_log_with(&mut bytes, &mut serializer)?;
    for interval in intervals {
        let Interval { start, length, latency, .. } = interval?;
        for (name, histogram) in [
            ("response", &latency.response),
            ("service", &latency.service),
            ("lateness", &latency.lateness),
        ] {
            if !histogram.is_empty() {
                writer
                    .write_histogram(histogram, start, length, Tag::new(name))
                    .map_err(|error| io::Error::other(error.to_string()))?;
            }
        }
    }
    Ok(bytes)
}

/// Reads a log and adds it up: the distributions, and how long they were recorded.
///
/// # Errors
///
/// A file that [`log`] did not write whole: a line that is no interval, a distribution that is not one
/// of ours, or a histogram that cannot be decoded.
pub fn read_log(bytes: &[u8]) -> io::Result<(Latency, Duration)> {
    let mut latency = Latency::new()?;
    let mut end = Duration::ZERO;
    for entry in IntervalLogIterator::new(bytes) {
        let entry = entry.map_err(|_| not_ours("a line is no HdrHistogram log's, or cut off"))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let target = match interval.tag().as_deref() {
            Some("response") => &mut latency.response,
            Some("service") => &mut latency.service,
            Some("lateness") => &mut latency.lateness,
            Some(_) | None => {
                return Err(not_ours("a line is tagged as none of its distributions"));
            }
        };
        let packed = STANDARD.decode(interval.encoded_histogram()).map_err(not_ours)?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut packed.as_slice()).map_err(not_ours)?;
        target.add(&histogram).map_err(not_ours)?;
        end = end.max(interval.start_timestamp() + interval.duration());
    }
    if latency.response.is_empty() {
        return Err(not_ours("it holds no response times"));
    }
    Ok((latency, end))
}

fn not_ours(why: impl std::fmt::Display) -> io::Error {
    let text = format!("it is no log that loadgen's --log wrote: {why}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
