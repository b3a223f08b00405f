//! The cases as tests of cargo: one named test for each case and each variant of a server.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use server_process::address::Transport;
use server_process::catalogue;
use server_process::process::raise_descriptor_limit;

use crate::case::{Case, Outcome};
use crate::subject::Subject;
use crate::{cases, datagram_cases};

/// Set it to the seed that a failure has printed to repeat it.
const SEED_VARIABLE: &str = "CONFORMANCE_SEED";

/// Tests at a time: most of a case's time is spent waiting.
const TEST_THREADS: usize = 4;

/// The whole of a server's `tests/conformance.rs`: runs every case on every variant of `package` that
/// the catalogue has, with the binary at `executable`.
///
/// The plain form of the server is tested on a Unix-domain socket too. A test's name is `variant::case`,
/// so that `cargo test -p NAME -- half_close` picks some. Cases that are not applicable show up as
/// ignored, with the reason.
pub fn main(package: &str, executable: &str) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    // Without it, cases that need many descriptors are not applicable, and say so.
    let _ = raise_descriptor_limit();
    let seed = env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    let executable = PathBuf::from(executable);
    let mut trials = Vec::new();
    for server in catalogue::of_package(package) {
        let mut subjects = vec![Subject::of_catalogue(server, &executable, seed)];
        if server.is_plain() {
            let mut unix = Subject::of_catalogue(server, &executable, seed);
            unix.name += "-unix";
            unix.transport = Transport::Unix;
            subjects.push(unix);
        }
        let unavailable = server.unavailable(Command::new(&executable).args(server.args));
        for subject in subjects.into_iter().map(Arc::new) {
            trials.extend(cases().map(|(_, case)| trial(&subject, case, unavailable.clone())));
        }
    }
    for server in catalogue::DATAGRAM_SERVERS.iter().filter(|server| server.package == package) {
        let mut subject = Subject::of_catalogue(server, &executable, seed);
        subject.transport = Transport::Udp;
        let subject = Arc::new(subject);
        trials.extend(datagram_cases().map(|(_, case)| trial(&subject, case, None)));
    }
    if trials.is_empty() {
        eprintln!("error: the catalogue has no server of the package {package}");
        return ExitCode::FAILURE;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One test; a server that is `unavailable` here is left out, and says why.
fn trial(subject: &Arc<Subject>, case: &'static Case, unavailable: Option<String>) -> Trial {
    let subject = Arc::clone(subject);
    Trial::ignorable_test(format!("{}::{}", subject.name, case.name), move || {
        if let Some(why) = unavailable {
            return Ok(Completion::ignored_with(why));
        }
        match case.run(&subject) {
            Outcome::Pass => Ok(Completion::Completed),
            Outcome::NotApplicable(why) => Ok(Completion::ignored_with(why)),
            Outcome::Fail(failure) => {
                let seed = format!("seed:     {} (set {SEED_VARIABLE} to repeat)", subject.seed);
                Err(Failed::from(case.explain(&failure) + &seed))
            }
        }
    })
}
