//! `report.json` and `report.csv`.

use std::fs;
use std::io;
use std::path::Path;

use server_process::files::{make_directory, replace_all};

use serde::Serialize;

use crate::cost::Reading;
use crate::{Error, Result};

use super::{Case, CaseCost, Comparison, Point, Results, SCHEMA, Scenario};

impl Results {
    /// Writes `report.json` and `report.csv` into `dir`, which is made if need be. A reader never sees
    /// half a file.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        make_directory(dir)?;
        let json = serde_json::to_string_pretty(self)?;
        let csv = csv(self)?;
        let files = [(dir.join("report.json"), json.into_bytes()), (dir.join("report.csv"), csv)];
        Ok(replace_all(&files)?)
    }

    /// Reads the JSON of an earlier run.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is of another version of the schema.
    pub fn read(file: &Path) -> Result<Results> {
        let bad = |source: io::Error| Error::Report { file: file.to_owned(), source };
        let text = fs::read_to_string(file).map_err(bad)?;
        let results: Results = serde_json::from_str(&text).map_err(|error| bad(error.into()))?;
        if results.schema != SCHEMA {
            let text = format!("its schema is {}, and this program reads {SCHEMA}", results.schema);
            return Err(bad(io::Error::other(text)));
        }
        Ok(results)
    }
}

/// A line of `report.csv`: one server at one point. A field is empty where nothing was measured; its name
/// has the unit.
#[derive(Serialize)]
struct Row<'a> {
    scenario: &'a str,
    x: f64,
    point: &'a str,
    server: &'a str,
    outcome: String,
    metric: &'a str,
    value: Option<f64>,
    value_low: Option<f64>,
    value_high: Option<f64>,
    ratio: Option<f64>,
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    verdict: Option<&'a str>,
    messages_per_s: Option<f64>,
    offered_per_s: Option<f64>,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
    server_cpu_ns_per_message: Option<f64>,
    client_cpu_ns_per_message: Option<f64>,
    voluntary_switches_per_message: Option<f64>,
    involuntary_switches_per_message: Option<f64>,
    syscalls_per_message: Option<f64>,
    server_cores: Option<f64>,
    client_cores: Option<f64>,
    rss_bytes: Option<f64>,
    bytes_per_connection: Option<f64>,
    threads: Option<f64>,
    processes: Option<f64>,
}

impl<'a> Row<'a> {
    fn of(scenario: &'a Scenario, point: &'a Point, case: &'a Case) -> Row<'a> {
        let comparison = case.comparisons.first();
        let ratio = comparison.map(|comparison| comparison.ratio);
        let latency = case.user_latency();
        let at = |quantile| latency.and_then(|latency| latency.at(quantile));
        let cost = case.cost.as_ref();
        let known =
            |get: fn(&CaseCost) -> &Reading<f64>| cost.and_then(|cost| get(cost).value().copied());
        Row {
            scenario: &scenario.name,
            x: point.x,
            point: &point.label,
            server: &case.server,
            outcome: case.outcome.to_string(),
            metric: scenario.metric.label(),
            value: case.value.map(|value| value.median),
            value_low: case.value.map(|value| value.low),
            value_high: case.value.map(|value| value.high),
            ratio: ratio.map(|ratio| ratio.median),
            ratio_low: ratio.map(|ratio| ratio.low),
            ratio_high: ratio.map(|ratio| ratio.high),
            verdict: comparison.map(Comparison::label),
            messages_per_s: case.messages_per_s,
            offered_per_s: case.load.offered_per_s,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            max_ns: latency.map(|latency| latency.max_ns),
            server_cpu_ns_per_message: known(|cost| &cost.server_cpu_ns_per_message),
            client_cpu_ns_per_message: known(|cost| &cost.client_cpu_ns_per_message),
            voluntary_switches_per_message: known(|cost| &cost.voluntary_switches_per_message),
            involuntary_switches_per_message: known(|cost| &cost.involuntary_switches_per_message),
            syscalls_per_message: cost.and_then(CaseCost::syscalls_total),
            server_cores: known(|cost| &cost.server_cores),
            client_cores: known(|cost| &cost.client_cores),
            rss_bytes: known(|cost| &cost.rss_bytes),
            bytes_per_connection: known(|cost| &cost.bytes_per_connection),
            threads: known(|cost| &cost.threads),
            processes: known(|cost| &cost.processes),
        }
    }
}

fn csv(results: &Results) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for scenario in &results.scenarios {
        for point in &scenario.points {
            for case in &point.cases {
                writer.serialize(Row::of(scenario, point, case)).map_err(io::Error::other)?;
            }
        }
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}
