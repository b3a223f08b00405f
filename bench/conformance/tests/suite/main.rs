//! The test of the conformance suite. A server with one fault must fail the cases that protect what the
//! fault breaks, and no others. The server without a fault must pass all cases.
//!
//! The servers are in `examples/wrong`, which `cargo test -p conformance` builds. Each fault is one test.

mod expected;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use conformance::{Access, Case, Cause, Failure, Outcome, Subject, cases};
use libtest_mimic::{Arguments, Failed, Trial};
use server_process::address::Transport;
use server_process::process::raise_descriptor_limit;

use expected::{EXPECTED, Expected, SOAKED};

/// Shorter than the default: these servers often do not answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long a server is soaked.
const SOAK: Duration = Duration::from_secs(2);

/// The fault must show in one of this number of soaks.
const SOAKS: u64 = 8;

/// Faults under test at the same time.
const TEST_THREADS: usize = 3;

/// Cases of one fault that run at the same time. A case spends most of its time waiting.
const CASES_AT_ONCE: usize = 4;

/// The seed: the clients send the same bytes in every run.
const SEED: u64 = 862;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    let _ = raise_descriptor_limit(); // When this fails, some cases are not applicable.
    let case = |expected: &'static Expected| {
        Trial::test(format!("cases::{}", expected.fault), || run_cases(expected))
    };
    let soak = |&(fault, complaint): &'static (&str, Option<&str>)| {
        Trial::test(format!("soak::{fault}"), move || run_soak(fault, complaint))
    };
    let trials = EXPECTED.iter().map(case).chain(SOAKED.iter().map(soak));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The server with this fault.
fn subject(fault: &str) -> Result<Subject, Failed> {
    let server = wrong_server()?.display().to_string();
    let words = [server, "--fault".to_owned(), fault.to_owned()];
    let mut subject = Subject::new(fault, Access::Contract(words.into()), SEED);
    subject.timeout = TIMEOUT;
    Ok(subject)
}

/// Soaks the server with this fault, and expects `complaint` in the failure.
fn run_soak(fault: &str, complaint: Option<&str>) -> Result<(), Failed> {
    let mut subject = subject(fault)?;
    let mut report = conformance::soak(&subject, SOAK, |_, _| {});
    // A soak finds a fault by chance. On a busy machine its clients do less, and the chance is smaller.
    for seed in SEED + 1..SEED + SOAKS {
        if report.failure.is_some() || complaint.is_none() {
            break;
        }
        subject.seed = seed;
        report = conformance::soak(&subject, SOAK, |_, _| {});
    }
    let words = |failure: &Failure| {
        let cause = failure.cause.as_ref().and_then(Cause::last_words).unwrap_or_default();
        format!("{}\n{}\n{cause}", failure.expected, failure.seen)
    };
    match (report.failure.as_ref().map(words), complaint) {
        (None, None) => Ok(()),
        (Some(failure), Some(complaint)) if failure.contains(complaint) => Ok(()),
        (failure, _) => Err(format!("expected {complaint:?}, found {failure:?}\n{report}").into()),
    }
}

/// Runs all cases on the server with this fault, and compares the failures with the expected ones.
fn run_cases(expected: &Expected) -> Result<(), Failed> {
    let failed = failures(&subject(expected.fault)?);
    let must_fail: Vec<_> = expected.fails.iter().copied().flatten().collect();
    let mut complaints = Vec::new();
    for name in &must_fail {
        if !failed.contains_key(**name) {
            complaints.push(format!("{name} must fail and did not"));
        }
    }
    for (name, why) in &failed {
        let may_fail = expected.may_fail.iter().any(|may| name.contains(may));
        if !must_fail.contains(&name) && !may_fail {
            complaints.push(format!("{name} must not fail and did:\n{why}"));
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
}

/// The program, in the directory `examples` next to the directory of this test: cargo puts it there.
fn wrong_server() -> Result<PathBuf, Failed> {
    let here = env::current_exe()?;
    let target = here.ancestors().nth(2).ok_or("this test is not in a target directory")?;
    let server = target.join("examples/wrong");
    if server.is_file() {
        return Ok(server);
    }
    let build = "cargo build -p conformance --example wrong";
    Err(format!("{} is not there; build it with `{build}`", server.display()).into())
}

/// The cases that fail, with their explanations.
fn failures(subject: &Subject) -> BTreeMap<&'static str, String> {
    let cases: Vec<&'static Case> = cases(Transport::Tcp).map(|(_, case)| case).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Outcome::Fail(failure) = case.run(subject) {
                let why = case.explain(&failure).into_iter();
                let why = why.map(|(title, text)| format!("{title}: {text}\n")).collect();
                failed.lock().unwrap_or_else(PoisonError::into_inner).insert(case.name, why);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}
