//! The comparison of the servers: what each costs, and how sure that is.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`scenario`] | what both benchmarks measure |
//! | [`entrant`], [`layout`] | a server that takes part; on which processors it and its client run |
//! | `workspace` | this workspace on disk, and its release binaries |
//! | `cost` | what a server process cost: CPU, context switches, memory, system calls |
//! | [`statistics`] | medians, intervals and verdicts over blocks |
//! | [`compare`] | every server through every scenario: from the command line to the results |
//! | [`results`] | what a comparison found |
//! | [`baseline`] | the results of a run against those of an earlier one |
//! | [`report`] | results as a page with charts, and as tables on the terminal |
//! | [`bench_args`] | the flags of `cargo bench` that concern one benchmark only |
//!
//! The other tools of the ruler are packages of their own: `server_process` (a server as a child process),
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
