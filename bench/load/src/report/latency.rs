//! The distributions of a run, summarised.

use hdrhistogram::Histogram;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::Latency;

/// The distributions of a run. `null` if no message came back.
#[derive(Clone, Debug, Serialize)]
pub struct LatencySummary {
    /// From the intended send to the last byte back.
    pub response: Option<Distribution>,
    /// From the actual send to the last byte back; `null` in a closed loop, where it is the same.
    pub service: Option<Distribution>,
    /// From the intended to the actual send; `null` in a closed loop.
    pub lateness: Option<Distribution>,
    /// The part of the lateness that the generator caused; `null` in a closed loop.
    pub own_lateness: Option<Distribution>,
}

/// A distribution of times. In its JSON form, percentile 99.9 is `p99.9_ns`, and the number of
/// messages beyond it is `p99.9_beyond`.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// Number of messages.
    pub count: u64,
    /// Shortest time.
    pub min_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Standard deviation.
    pub stdev_ns: f64,
    /// Longest time.
    pub max_ns: u64,
    /// The requested percentiles.
    pub percentiles: Vec<Percentile>,
}

/// One percentile of a distribution.
#[derive(Clone, Copy, Debug)]
pub struct Percentile {
    /// From 0 to 100.
    pub percentile: f64,
    /// This percentage of the messages took at most this time.
    pub ns: u64,
    /// The number of messages that took longer. The percentile means little if they are fewer than
    /// 10.
    pub beyond: u64,
}

impl LatencySummary {
    /// Summarises the distributions, with these percentiles from 0 to 100.
    pub fn of(latency: &Latency, percentiles: &[f64]) -> LatencySummary {
        let of = |histogram| Distribution::of(histogram, percentiles);
        LatencySummary {
            response: of(&latency.response),
            service: of(&latency.service),
            lateness: of(&latency.lateness),
            own_lateness: of(&latency.own_lateness),
        }
    }
}

impl Distribution {
    /// Summarises a histogram of nanoseconds. `None` for an empty one.
    fn of(histogram: &Histogram<u64>, percentiles: &[f64]) -> Option<Distribution> {
        let percentile = |&percentile: &f64| {
            let ns = histogram.value_at_quantile(percentile / 100.0);
            let within = histogram.count_between(0, ns);
            Percentile { percentile, ns, beyond: histogram.len() - within }
        };
        (!histogram.is_empty()).then(|| Distribution {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            stdev_ns: histogram.stdev(),
            max_ns: histogram.max(),
            percentiles: percentiles.iter().map(percentile).collect(),
        })
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.count)?;
        map.serialize_entry("min_ns", &self.min_ns)?;
        map.serialize_entry("mean_ns", &self.mean_ns)?;
        map.serialize_entry("stdev_ns", &self.stdev_ns)?;
        map.serialize_entry("max_ns", &self.max_ns)?;
        for Percentile { percentile, ns, beyond } in &self.percentiles {
            map.serialize_entry(&format!("p{percentile}_ns"), ns)?;
            map.serialize_entry(&format!("p{percentile}_beyond"), beyond)?;
        }
        map.end()
    }
}
