//! `report.json` and `report.csv`.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use server_process::files::{make_directory, replace_all};

use crate::cost::Reading;
use crate::{Error, Result};

use super::{Case, CaseCost, Comparison, Results, SCHEMA};

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
        let files = [(dir.join("report.json"), json), (dir.join("report.csv"), csv(self))];
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

/// The columns of `report.csv`; empty where nothing was measured, with the unit in the name.
const COLUMNS: &str = "scenario,x,point,server,outcome,metric,value,value_low,value_high,\
    ratio,ratio_low,ratio_high,verdict,messages_per_s,offered_per_s,p50_ns,p99_ns,max_ns,\
    server_cpu_ns_per_message,client_cpu_ns_per_message,voluntary_switches_per_message,\
    involuntary_switches_per_message,syscalls_per_message,server_cores,client_cores,rss_bytes,\
    bytes_per_connection,threads,processes";

fn csv(results: &Results) -> String {
    let mut text = format!("{COLUMNS}\n");
    for scenario in &results.scenarios {
        for point in &scenario.points {
            for case in &point.cases {
                let mut fields = vec![
                    scenario.name.clone(),
                    point.x.to_string(),
                    quoted(&point.label),
                    quoted(&case.server),
                    quoted(&case.outcome.to_string()),
                    quoted(scenario.metric.label()),
                ];
                fields.extend(numbers(case));
                let _ = writeln!(text, "{}", fields.join(","));
            }
        }
    }
    text
}

/// Everything from `value` on.
fn numbers(case: &Case) -> Vec<String> {
    let number = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
    let mut fields = Vec::new();
    let value = case.value;
    fields
        .extend([value.map(|e| e.median), value.map(|e| e.low), value.map(|e| e.high)].map(number));
    let comparison = case.comparisons.first();
    let ratio = comparison.map(|comparison| comparison.ratio);
    fields
        .extend([ratio.map(|e| e.median), ratio.map(|e| e.low), ratio.map(|e| e.high)].map(number));
    fields.push(comparison.map_or("", Comparison::label).to_owned());
    fields.extend([case.messages_per_s, case.load.offered_per_s].map(number));
    let latency = case.user_latency();
    let ns = |quantile| latency.and_then(|latency| latency.at(quantile)).map(|ns| ns as f64);
    fields.extend([ns(0.5), ns(0.99), latency.map(|latency| latency.max_ns as f64)].map(number));
    let known = |get: fn(&CaseCost) -> &Reading<f64>| {
        number(case.cost.as_ref().and_then(|cost| get(cost).value().copied()))
    };
    fields.push(known(|cost| &cost.server_cpu_ns_per_message));
    fields.push(known(|cost| &cost.client_cpu_ns_per_message));
    fields.push(known(|cost| &cost.voluntary_switches_per_message));
    fields.push(known(|cost| &cost.involuntary_switches_per_message));
    fields.push(number(case.cost.as_ref().and_then(|cost| cost.syscalls_total())));
    fields.push(known(|cost| &cost.server_cores));
    fields.push(known(|cost| &cost.client_cores));
    fields.push(known(|cost| &cost.rss_bytes));
    fields.push(known(|cost| &cost.bytes_per_connection));
    fields.push(known(|cost| &cost.threads));
    fields.push(known(|cost| &cost.processes));
    fields
}

/// A field that may hold commas, quotes and line ends (RFC 4180).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\"").replace(['\n', '\r'], " "))
}
