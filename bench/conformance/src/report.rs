//! What a run of the cases has found, as numbers and as JSON.

use serde::Serialize;

use crate::{Case, Outcome, Subject};

/// Version of the JSON that [`Report`] becomes. It grows when a field changes its meaning or goes away;
/// new fields may come at any time.
pub const JSON_VERSION: u32 = 1;

/// All cases on one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`JSON_VERSION`].
    pub version: u32,
    /// The name of what was checked.
    pub subject: String,
    /// The seed of what the clients sent.
    pub seed: u64,
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that mean nothing for this subject.
    pub not_applicable: usize,
    /// Each case, in the order they were run.
    pub cases: Vec<CaseReport>,
}

/// One case on one subject.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// The case's topic.
    pub topic: &'static str,
    /// The case's name.
    pub name: &'static str,
    /// What the contract says.
    pub contract: &'static str,
    /// `pass`, `fail` or `not applicable`.
    pub outcome: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why it is not applicable, if so.
    pub why: Option<String>,
    /// If it failed: what a server that keeps the contract does.
    pub expected: Option<String>,
    /// If it failed: what this one did.
    pub seen: Option<String>,
    /// If it failed: what became of the server.
    pub notes: Vec<String>,
    /// If it failed: the usual mistake.
    pub likely: Option<&'static str>,
    /// If it failed: where to look.
    pub hint: Option<&'static str>,
}

impl Report {
    /// A report without any case yet.
    pub fn new(subject: &Subject) -> Report {
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
    pub fn add(&mut self, topic: &'static str, case: &Case, outcome: &Outcome, seconds: f64) {
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
