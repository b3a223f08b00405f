//! The cases as tests of cargo: one test for each case and each variant of a server.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use server_process::address::Transport;
use server_process::catalogue;
use server_process::process::raise_descriptor_limit;

use crate::case::{Case, Outcome};
use crate::subject::Subject;
use crate::verdict::Failure;
use crate::{basic_case, cases};

/// The environment variable that sets the seed. A failure prints its seed.
const SEED_VARIABLE: &str = "CONFORMANCE_SEED";

/// Tests at the same time. A case spends most of its time waiting.
const TEST_THREADS: usize = 4;

/// The whole `tests/conformance.rs` of a server: all cases on all variants of the package in the
/// catalogue. See [`main`].
///
/// The test needs `harness = false` in the `[[test]]` section of Cargo.toml. Without it, cargo would
/// replace `main` by one of its own, which finds no test and passes. So the macro has one test for that
/// `main`, which fails and says what is missing.
#[macro_export]
macro_rules! suite {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::main(
                env!("CARGO_PKG_NAME"),
                env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))),
            )
        }

        #[cfg(test)]
        #[test]
        fn cargo_toml_must_turn_the_harness_off() {
            ::std::panic!(
                "no case was run. Add this to the Cargo.toml of {}:\n\n\
                 [[test]]\nname = \"conformance\"\nharness = false\n",
                env!("CARGO_PKG_NAME")
            );
        }
    };
}

/// Runs all cases on all variants of `package` in the catalogue. `executable` is the server's program.
///
/// The plain form of a server is tested on a Unix-domain socket too. The name of a test is
/// `variant::case`, so `cargo test -p NAME -- half_close` selects some. A case that is not applicable is
/// ignored, with the reason. When the basic case of a variant fails, all others are one ignored test.
pub fn main(package: &str, executable: &str) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    // When this fails, cases that need many descriptors are not applicable, and say so.
    let _ = raise_descriptor_limit();
    let subjects = subjects(package, &PathBuf::from(executable));
    if subjects.is_empty() {
        eprintln!(
            "error: the catalogue has no server of the package {package}. Add a line to SERVERS in \
             bench/process/src/catalogue.rs, such as\n\n    \
             model(\"{package}\", \"{package}\", &[], READINESS),\n"
        );
        return ExitCode::FAILURE;
    }
    let trials = thread::scope(|scope| {
        // Each variant first runs its basic case, all variants at the same time.
        let arguments = &arguments;
        let trials = subjects.into_iter().map(|subject| scope.spawn(|| trials(subject, arguments)));
        let trials: Vec<_> = trials.collect();
        trials.into_iter().flat_map(|trials| trials.join().unwrap_or_default()).collect()
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The variants of `package`, and why each cannot run here if it cannot.
fn subjects(package: &str, executable: &Path) -> Vec<(Subject, Option<String>)> {
    let seed = env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    let mut subjects = Vec::new();
    for server in catalogue::of_package(package) {
        let unavailable = server.unavailable(Command::new(executable).args(server.args));
        let subject = Subject::of_catalogue(server, executable, seed);
        if server.is_plain() {
            let mut unix = subject.clone();
            unix.name += "-unix";
            unix.transport = Transport::Unix;
            subjects.push((unix, unavailable.clone()));
        }
        subjects.push((subject, unavailable));
    }
    for server in catalogue::DATAGRAM_SERVERS.iter().filter(|server| server.package == package) {
        let mut subject = Subject::of_catalogue(server, executable, seed);
        subject.transport = Transport::Udp;
        subjects.push((subject, None));
    }
    subjects
}

/// The tests of one variant.
fn trials((subject, unavailable): (Subject, Option<String>), arguments: &Arguments) -> Vec<Trial> {
    let (transport, subject) = (subject.transport, Arc::new(subject));
    let name = |case: &Case| format!("{}::{}", subject.name, case.name);
    let all: Vec<_> = cases(transport).map(|(_, case)| case).collect();
    let first = all.iter().find(|case| is_chosen(&name(case), arguments));
    if let Some(why) = unavailable {
        let ignored = |case: &&Case| {
            let why = why.clone();
            Trial::ignorable_test(name(case), || Ok(Completion::ignored_with(why)))
        };
        return all.iter().map(ignored).collect();
    }
    let basic = basic_case(transport);
    if let (Some(first), false) = (first, arguments.list)
        && let Outcome::Fail(failure) = basic.run(&subject)
    {
        let why = format!("{} fails, so the other {} cases are skipped", basic.name, all.len() - 1);
        let report = format!("{why}\n{}", report(basic, &failure, &subject));
        return vec![
            // The command line must select the test that fails.
            Trial::test(name(first), || Err(Failed::from(report))),
            Trial::ignorable_test(format!("{}::others", subject.name), || {
                Ok(Completion::ignored_with(why))
            }),
        ];
    }
    all.into_iter().map(|case| trial(name(case), &subject, case)).collect()
}

/// Whether the command line selects the test of this name, as libtest-mimic does.
fn is_chosen(name: &str, arguments: &Arguments) -> bool {
    let matches = |filter: &String| {
        if arguments.exact { name == filter } else { name.contains(filter.as_str()) }
    };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

fn trial(name: String, subject: &Arc<Subject>, case: &'static Case) -> Trial {
    let subject = Arc::clone(subject);
    Trial::ignorable_test(name, move || match case.run(&subject) {
        Outcome::Pass => Ok(Completion::Completed),
        Outcome::NotApplicable(why) => Ok(Completion::ignored_with(why)),
        Outcome::Fail(failure) => Err(Failed::from(report(case, &failure, &subject))),
    })
}

/// A failure as text.
fn report(case: &Case, failure: &Failure, subject: &Subject) -> String {
    let mut text = String::new();
    for (title, words) in case.explain(failure) {
        for (number, line) in words.lines().enumerate() {
            let title = if number == 0 { title } else { "" };
            text += &format!("{title:9} {line}\n");
        }
    }
    text + &format!("seed      {SEED_VARIABLE}={}\n", subject.seed)
}
