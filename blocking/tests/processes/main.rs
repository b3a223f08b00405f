//! The library `socketserver` with a process for each request, and what else needs a process of its
//! own.
//!
//! fork(2) needs a process with one thread, and a limit holds for a whole process. So the server of
//! each test is this program, started again.
//!
//! The names in brackets are those of CPython's own cases, in `Lib/test/test_socketserver.py`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failure is the report.

mod children;
#[path = "../socketserver/common.rs"]
mod common;
mod server;
mod shortage;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        return server::serve(&arguments.collect::<Vec<_>>());
    }
    let tests = [children::TESTS, shortage::TESTS].concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
