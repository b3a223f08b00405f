//! One run of the cases on one server.

use std::time::{Duration, Instant};

use conformance::{Case, Cause, Error, Failure, Outcome, Subject, basic_case, concurrency_case};
use server_process::catalogue::Concurrency;

/// What became of the cases on one server.
pub(crate) struct Run<'a> {
    /// The server, as it was declared.
    pub(crate) subject: &'a Subject,
    /// The cases, in the order in which they ran.
    pub(crate) entries: Vec<Entry>,
    /// The duration of the whole run.
    pub(crate) took: Duration,
}

/// What became of one case.
pub(crate) struct Entry {
    pub(crate) topic: &'static str,
    pub(crate) case: &'static Case,
    pub(crate) ended: Ended,
    pub(crate) took: Duration,
}

/// How a case ended, or why it did not begin.
pub(crate) enum Ended {
    Ran(Outcome),
    /// The case of this name failed, and this case cannot pass.
    Skipped(&'static str),
}

impl Run<'_> {
    /// The cases that failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static Case, &Failure)> {
        self.entries.iter().filter_map(|entry| match &entry.ended {
            Ended::Ran(Outcome::Fail(failure)) => Some((entry.case, failure)),
            _ => None,
        })
    }

    /// The number of cases that ended in one way.
    pub(crate) fn count(&self, is_counted: fn(&Ended) -> bool) -> usize {
        self.entries.iter().filter(|entry| is_counted(&entry.ended)).count()
    }
}

/// Runs `cases` on a server, and calls `show` after each.
///
/// When the basic case fails, the others are skipped. When the server serves fewer clients at a time than
/// declared, one case fails, and the others run as if this limit were declared. So the two cases that
/// find this out run first. A filter that leaves them out does not see them, unless they fail.
///
/// # Errors
///
/// Those of `show`.
pub(crate) fn run<'a>(
    subject: &'a Subject,
    cases: &[(&'static str, &'static Case)],
    mut show: impl FnMut(&Entry) -> Result<(), Error>,
) -> Result<Run<'a>, Error> {
    let start = Instant::now();
    let mut run = Run { subject, entries: Vec::new(), took: Duration::ZERO };
    let (mut checked, mut skipped) = (subject.clone(), None);
    let is_chosen = |case: &Case| cases.iter().any(|(_, chosen)| chosen.name == case.name);
    let first = [Some(basic_case(subject.transport)), concurrency_case(subject.transport)];
    let first = first.into_iter().flatten().filter(|case| !is_chosen(case));
    let hidden = first.map(|case| ("first", case, false));
    for (topic, case, chosen) in
        hidden.chain(cases.iter().map(|&(topic, case)| (topic, case, true)))
    {
        let begun = Instant::now();
        let ended = match skipped {
            Some(basic) => Ended::Skipped(basic),
            None => Ended::Ran(case.run(&checked)),
        };
        let failure = match &ended {
            Ended::Ran(Outcome::Fail(failure)) => Some(failure),
            _ => None,
        };
        if failure.is_some() && case.name == basic_case(subject.transport).name {
            skipped = Some(case.name);
        }
        if let Some(Failure { cause: Some(Cause::Concurrency(limit)), .. }) = failure {
            checked.traits.concurrency = Concurrency::AtMost(*limit);
        }
        if chosen || failure.is_some() {
            let entry = Entry { topic, case, ended, took: begun.elapsed() };
            show(&entry)?;
            run.entries.push(entry);
        }
    }
    run.took = start.elapsed();
    Ok(run)
}
