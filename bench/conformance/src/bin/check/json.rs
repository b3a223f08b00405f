//! The results as JSON.

use conformance::{Cause, Failure, Holds, Outcome, SoakReport, Subject};
use serde_json::{Value, json};

use crate::run::{Ended, Entry, Run};

/// The version of the JSON. It grows when a field changes its meaning or goes away. New fields may come at
/// any time.
const JSON_VERSION: u32 = 2;

/// All cases on one server.
pub(crate) fn of_run(run: &Run) -> Value {
    json!({
        "version": JSON_VERSION,
        "subject": run.subject.name,
        "seed": run.subject.seed,
        "seconds": run.took.as_secs_f64(),
        "passed": run.count(|ended| matches!(ended, Ended::Ran(Outcome::Pass))),
        "failed": run.failures().count(),
        "not_applicable": run.count(|ended| matches!(ended, Ended::Ran(Outcome::NotApplicable(_)))),
        "skipped": run.count(|ended| matches!(ended, Ended::Skipped(_))),
        "cases": run.entries.iter().map(of_entry).collect::<Vec<_>>(),
    })
}

/// One case. A field that does not apply is `null`.
fn of_entry(entry: &Entry) -> Value {
    let case = entry.case;
    let (outcome, why, failure) = match &entry.ended {
        Ended::Ran(Outcome::Pass) => ("pass", None, None),
        Ended::Ran(Outcome::Fail(failure)) => ("fail", None, Some(failure)),
        Ended::Ran(Outcome::NotApplicable(why)) => ("not applicable", Some(why.clone()), None),
        Ended::Skipped(basic) => ("skipped", Some(format!("{basic} fails")), None),
    };
    let cause = failure.and_then(|failure| failure.cause.as_ref());
    json!({
        "topic": entry.topic,
        "name": case.name,
        "contract": case.says,
        "outcome": outcome,
        "seconds": entry.took.as_secs_f64(),
        "why": why,
        "expected": failure.map(|failure| &failure.expected),
        "seen": failure.map(|failure| &failure.seen),
        "cause": cause.map(Cause::headline),
        "stderr": cause.and_then(Cause::last_words),
        "likely": failure.map(|_| case.mistake),
        "hint": failure.map(|_| cause.and_then(Cause::advice).unwrap_or(case.hint.to_owned())),
    })
}

/// How a soak went. `null` stands for what is not known, because the suite has not started the server.
pub(crate) fn of_soak(subject: &Subject, report: &SoakReport) -> Value {
    let held = |held: Option<Holds>| {
        held.map(|Holds { descriptors, threads, processes, memory }| {
            json!({
                "descriptors": descriptors,
                "threads": threads,
                "processes": processes,
                "memory": memory,
            })
        })
    };
    let totals = report.totals;
    json!({
        "version": JSON_VERSION,
        "subject": subject.name,
        "seed": subject.seed,
        "planned_seconds": report.planned_seconds,
        "seconds": report.seconds,
        "clients": report.clients,
        "totals": {
            "connections": totals.connections,
            "half_closed": totals.half_closed,
            "reset": totals.reset,
            "closed": totals.closed,
            "sent": totals.sent,
            "received": totals.received,
        },
        "disturbances": report.disturbances.map(|disturbances| json!({
            "signals": disturbances.signals,
            "stops": disturbances.stops,
            "shortages": disturbances.shortages,
        })),
        "start": held(report.start),
        "most": held(report.most),
        "end": held(report.end),
        "failure": report.failure.as_ref().map(of_failure),
    })
}

fn of_failure(failure: &Failure) -> Value {
    let cause = failure.cause.as_ref();
    json!({
        "expected": failure.expected,
        "seen": failure.seen,
        "cause": cause.map(Cause::headline),
        "stderr": cause.and_then(Cause::last_words),
    })
}
