//! The comparison of the servers: the cost of each server, and the uncertainty of each figure.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`scenario`] | the scenarios of both benchmarks |
//! | [`entrant`], [`layout`] | a server that takes part; the processors of server and client |
//! | `workspace` | this workspace on disk, and its release binaries |
//! | `cost` | the cost of a server process: CPU, context switches, memory, system calls |
//! | [`statistics`] | medians, intervals and verdicts over blocks |
//! | [`compare`] | runs every server in every scenario: from the command line to the results |
//! | [`results`] | the results of a comparison |
//! | [`baseline`] | the comparison of a run with an earlier run |
//! | [`report`] | results as a page with charts, and as tables on the terminal |
//! | [`bench_args`] | the flags of `cargo bench` that only one benchmark accepts |
//!
//! The other measuring tools are separate packages: `server_process` (a server as a child process),
//! `conformance` (the suite and `check`) and `loadgen` (the load engine).

pub mod baseline;
pub mod bench_args;
pub mod compare;
mod cost;
pub mod entrant;
mod error;
pub mod layout;
pub mod report;
pub mod results;
pub mod scenario;
pub mod statistics;
mod workspace;

pub use error::{Error, Result};
