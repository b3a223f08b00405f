//! The comparison of the servers: what each costs, and how sure that is.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bench_args`] | the flags of `cargo bench` that concern one benchmark only |
//! | [`build`] | the release binaries of the servers, built before they are measured |
//! | [`compare`] | every server through every scenario, and what was found |
//! | [`cost`] | what a server process cost: CPU, context switches, memory, system calls |
//! | [`entrant`] | a server that takes part in a benchmark |
//! | [`report`] | what was found, as a page with charts |
//! | [`statistics`] | medians, intervals and verdicts over blocks |
//!
//! The other tools of the ruler are packages of their own: `server_process` (a server as a child process),
//! `conformance` (the suite and `check`) and `loadgen` (the load engine).

pub mod bench_args;
pub mod build;
pub mod compare;
pub mod cost;
pub mod entrant;
pub mod report;
pub mod statistics;
