//! The cases as tests of cargo: one named test for each case and each variant of a server.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::{
    Access, Address, Case, Outcome, PATIENCE, Subject, cases, datagram_cases,
    raise_descriptor_limit,
};
use crate::catalogue::{self, Server};
use crate::process::Process;

/// Set it to the seed that a failure has printed to repeat it.
pub const SEED_VARIABLE: &str = "CONFORMANCE_SEED";

/// Tests at a time: most of a case's time is spent waiting.
const TEST_THREADS: usize = 4;

/// The whole of a server's `tests/conformance.rs`: runs every case on every variant of `package` that
/// the catalogue has, with the binary at `executable`.
///
/// A test's name is `variant::case`, so that `cargo test -p NAME -- half_close` picks some. Cases that
/// are not applicable show up as ignored, with the reason on stderr.
pub fn main(package: &str, executable: &str) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    raise_descriptor_limit();
    let seed = env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    let executable = PathBuf::from(executable);
    let mut trials = Vec::new();
    for server in catalogue::of_package(package) {
        let subject = Arc::new(Subject::of_catalogue(server, &executable, seed));
        trials.extend(cases().map(|(_, case)| trial(&subject, case)));
        if !server.variant {
            trials.extend(unix_trials(server, &executable, seed));
        }
    }
    for server in catalogue::DATAGRAM_SERVERS.iter().filter(|server| server.package == package) {
        let mut subject = Subject::of_catalogue(server, &executable, seed);
        subject.datagrams = true;
        let subject = Arc::new(subject);
        trials.extend(datagram_cases().map(|(_, case)| trial(&subject, case)));
    }
    if trials.is_empty() {
        eprintln!("error: the catalogue has no server of the package {package}");
        return ExitCode::FAILURE;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The cases about bytes and closing, over a Unix socket: `variant-unix::case`.
fn unix_trials(
    server: &'static Server,
    executable: &Path,
    seed: u64,
) -> impl Iterator<Item = Trial> {
    let essential = |topic| matches!(topic, "bytes" | "closing");
    let executable = executable.to_owned();
    cases().filter(move |(topic, _)| essential(*topic)).map(move |(_, case)| {
        let executable = executable.clone();
        Trial::ignorable_test(format!("{}-unix::{}", server.name, case.name), move || {
            let name = format!("echo-{}-{}-{}.sock", std::process::id(), server.name, case.name);
            let path = env::temp_dir().join(name);
            let mut command = Command::new(&executable);
            command.args(server.args).arg("--addr").arg(format!("unix:{}", path.display()));
            let process = Process::start_on_path(&mut command, &path)?;
            let access = Access::Address(Address::Unix(path.clone()));
            let mut subject = Subject::new(server.name, access, seed);
            subject.traits = server.traits;
            let completion = run(case, &subject);
            if !process.stop(PATIENCE)?.is_success() || path.exists() {
                return Err("it does not exit 0, or leaves its socket behind".into());
            }
            completion
        })
    })
}

fn trial(subject: &Arc<Subject>, case: &'static Case) -> Trial {
    let subject = Arc::clone(subject);
    Trial::ignorable_test(format!("{}::{}", subject.name, case.name), move || run(case, &subject))
}

fn run(case: &Case, subject: &Subject) -> Result<Completion, Failed> {
    match case.run(subject) {
        Outcome::Pass => Ok(Completion::Completed),
        Outcome::NotApplicable(why) => Ok(Completion::ignored_with(why)),
        Outcome::Fail(failure) => {
            let seed = format!("seed:     {} (set {SEED_VARIABLE} to repeat)", subject.seed);
            Err(Failed::from(case.explain(&failure) + &seed))
        }
    }
}
