//! The load engine against servers whose flaw is known: what it reports must be that.
// A failed unwrap is the report.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chunked;
mod cli;
mod closed_loop;
mod connections;
mod content;
mod datagrams;
mod faults;
mod find_max;
mod open_loop;
mod series;
mod server;
mod verifier;

use std::time::Duration;

/// How long a test waits for what never comes.
const PATIENCE: Duration = Duration::from_millis(300);
