//! What is wrong with the figures of a run, and what can have changed them.

use serde::{Deserialize, Serialize};

use super::{Client, Machine};
use crate::{Fault, Faults, RATE_TOLERANCE, Sample, Search};

/// Something that can have changed the figures of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// One word: "starved", "late", "saturated", "disturbed", "generator" or "seed".
    pub name: String,
    /// What happened, and what to do.
    pub text: String,
}

/// Why the figures are wrong or misleading.
pub(super) fn invalid(sample: &Sample, search: Option<&Search>) -> Vec<String> {
    let mut reasons = Vec::new();
    if sample.faults.total() > 0 {
        reasons.push(format!("connections failed: {}{}", sample.faults, advice(&sample.faults)));
    }
    if sample.messages == 0 {
        reasons.push("no message came back in the measured time".to_owned());
    }
    if let Some(ratio) = sample.achieved()
        && !sample.kept_up()
    {
        reasons.push(format!(
            "{:.1} % of the due messages came back in time, and {:.0} % are needed. Give a lower rate, \
             more connections, more depth, or a longer time",
            ratio * 100.0,
            (1.0 - RATE_TOLERANCE) * 100.0
        ));
    }
    if let Some(Search { objective, failure: Some(failure), .. }) = search {
        reasons.push(format!("the search for {objective} found no rate: {failure}"));
    }
    reasons
}

fn advice(faults: &Faults) -> &'static str {
    if faults.count(Fault::NoPort) > 0 {
        ". This machine ran out of ports: give more --source addresses"
    } else if faults.count(Fault::EarlyClose) + faults.count(Fault::Reset) > 0 {
        ". The server closed them: it died, or ran out of a resource. See its stderr"
    } else if faults.count(Fault::Timeout) > 0 {
        ". The server did not answer in time; --timeout waits longer"
    } else if faults.count(Fault::Lost) > 0 {
        ". UDP loses datagrams when a buffer is full; --timeout waits longer"
    } else if faults.count(Fault::Mismatch) + faults.count(Fault::Surplus) > 0 {
        ". The server does not send back the bytes that it receives"
    } else {
        ""
    }
}

/// What can have changed the figures.
pub(super) fn warnings(
    client: &Client,
    machine: &Machine,
    search: Option<&Search>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |name: &str, text: String| warnings.push(Warning { name: name.into(), text });
    if client.starved == Some(true)
        && let Some(waited) = client.waited
    {
        let text = format!(
            "a generator thread was ready to run and had no core for {:.0} % of the time: other \
             programs on this machine delayed the messages",
            waited * 100.0
        );
        warn("starved", text);
    }
    if client.late == Some(true) {
        let text = "the generator sent late: the median of its own lateness is more than a tenth of \
                    the median response time, so the response times are its own. Give --spin, more \
                    --threads, or a lower rate";
        warn("late", text.to_owned());
    }
    if client.saturated == Some(true) {
        let text = "a generator thread used all its CPU time: the figures may be the limit of the \
                    generator, not of the server. Give more --threads, or fewer connections";
        warn("saturated", text.to_owned());
    }
    if machine.disturbed == Some(true) {
        let cores =
            |cores: Option<f64>| cores.map_or("an unknown number of".into(), |n| format!("{n:.2}"));
        let text = format!(
            "this machine was busy with something else: other programs used {} cores, and the \
             hypervisor kept {}. The same run on a quiet machine can differ",
            cores(machine.others_cores),
            cores(machine.steal_cores)
        );
        warn("disturbed", text);
    }
    if search.is_some_and(Search::generator_limited) {
        let text = "the generator was saturated, starved or late in each run that failed: the rate may \
                    be its own limit, not the server's. Give more --threads, or --spin";
        warn("generator", text.to_owned());
    }
    warnings
}
