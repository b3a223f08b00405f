//! The library `socketserver`, in this process: one request at a time, and with threads.
//!
//! The names in brackets are those of CPython's own cases, in `Lib/test/test_socketserver.py`. What
//! needs processes, or a process of its own, is in `tests/processes`.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failure is the report.

mod bounds;
mod common;
mod life;
mod signals;
mod stop;

use common::{DATAGRAMS, Kind, STREAMS};

/// Runs a test with each kind of stream and of datagram.
fn on_every_kind(streams: impl Fn(Kind), datagrams: impl Fn(Kind)) {
    STREAMS.into_iter().for_each(streams);
    DATAGRAMS.into_iter().for_each(datagrams);
}
