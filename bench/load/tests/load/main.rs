//! The load engine against servers with a known flaw. The engine must report exactly that flaw.
// A failed unwrap is the test's report.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chunked;
mod cli;
mod closed_loop;
mod connections;
mod content;
mod datagrams;
mod faults;
mod find_max;
mod machine;
mod merge;
mod open_loop;
mod schema;
mod series;
mod server;
mod verifier;

use std::time::Duration;

/// The timeout of tests in which a message never comes back.
const TIMEOUT: Duration = Duration::from_millis(300);
