//! What a run of the cases has found, as numbers and as JSON.

use conformance::{Case, Holds, Outcome, SoakReport, Subject};
use serde::Serialize;
use serde_json::{Value, json};

/// Version of the JSON that [`Report`] and a soak become. It grows when a field changes its meaning or goes away;
/// new fields may come at any time.
const JSON_VERSION: u32 = 1;

/// All cases on one subject.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// [`JSON_VERSION`].
    pub(crate) version: u32,
    /// The name of what was checked.
    pub(crate) subject: String,
    /// The seed of what the clients sent.
    pub(crate) seed: u64,
    /// Cases that passed.
    pub(crate) passed: usize,
    /// Cases that failed.
    pub(crate) failed: usize,
    /// Cases that mean nothing for this subject.
    pub(crate) not_applicable: usize,
    /// Each case, in the order they were run.
    pub(crate) cases: Vec<CaseReport>,
}

/// One case on one subject.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CaseReport {
    /// The case's topic.
    pub(crate) topic: &'static str,
    /// The case's name.
    pub(crate) name: &'static str,
    /// What the contract says.
    pub(crate) contract: &'static str,
    /// `pass`, `fail` or `not applicable`.
    pub(crate) outcome: &'static str,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// Why it is not applicable, if so.
    pub(crate) why: Option<String>,
    /// If it failed: what a server that keeps the contract does.
    pub(crate) expected: Option<String>,
    /// If it failed: what this one did.
    pub(crate) seen: Option<String>,
    /// If it failed: what became of the server.
    pub(crate) notes: Vec<String>,
    /// If it failed: the usual mistake.
    pub(crate) likely: Option<&'static str>,
    /// If it failed: where to look.
    pub(crate) hint: Option<&'static str>,
}

impl Report {
    /// A report without any case yet.
    pub(crate) fn new(subject: &Subject) -> Report {
        Report {
            version: JSON_VERSION,
            subject: subject.name.clone(),
            seed: subject.seed,
            passed: 0,
            failed: 0,
            not_applicable: 0,
            cases: Vec::new(),
        }
    }

    /// Enters a case and how it ended.
    pub(crate) fn add(
        &mut self,
        topic: &'static str,
        case: &Case,
        outcome: &Outcome,
        seconds: f64,
    ) {
        let mut entry = CaseReport {
            topic,
            name: case.name,
            contract: case.says,
            outcome: "pass",
            seconds,
            why: None,
            expected: None,
            seen: None,
            notes: Vec::new(),
            likely: None,
            hint: None,
        };
        match outcome {
            Outcome::Pass => self.passed += 1,
            Outcome::NotApplicable(why) => {
                self.not_applicable += 1;
                entry.outcome = "not applicable";
                entry.why = Some(why.clone());
            }
            Outcome::Fail(failure) => {
                self.failed += 1;
                entry.outcome = "fail";
                entry.expected = Some(failure.expected.clone());
                entry.seen = Some(failure.seen.clone());
                entry.notes.clone_from(&failure.notes);
                entry.likely = Some(case.mistake);
                entry.hint = Some(case.hint);
            }
        }
        self.cases.push(entry);
    }
}

/// How a soak went. `null` stands for what is not known because the process is not ours.
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
    let deeds = report.deeds;
    json!({
        "version": JSON_VERSION,
        "subject": subject.name,
        "seed": subject.seed,
        "planned_seconds": report.planned_seconds,
        "seconds": report.seconds,
        "clients": report.clients,
        "deeds": {
            "connections": deeds.connections,
            "half_closed": deeds.half_closed,
            "reset": deeds.reset,
            "closed": deeds.closed,
            "sent": deeds.sent,
            "received": deeds.received,
        },
        "weather": report.weather.map(|weather| json!({
            "signals": weather.signals,
            "stops": weather.stops,
            "famines": weather.famines,
        })),
        "start": held(report.start),
        "most": held(report.most),
        "end": held(report.end),
        "failure": report.failure,
    })
}
