//! The ruler: everything that measures or checks a TCP echo server from outside.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bench_args`] | the flags of `cargo bench` that concern one benchmark only |
//! | [`build`] | the release binaries of the servers, built before they are measured |
//! | [`catalogue`] | the servers of this workspace: name, package, arguments, traits |
//! | [`process`] | a server as a child process: started, signalled, stopped, never orphaned |
//! | [`compare`] | every server through every scenario, and what was found |
//! | [`cost`] | what a server process cost: CPU, context switches, memory, system calls |
//! | [`entrant`] | a server that takes part in a benchmark |
//! | [`files`] | files that are written whole or not at all |
//! | `guard` | what must not outlive this process, however it ends |
//! | [`load`] | the load engine behind `loadgen` and the benches |
//! | [`report`] | what was found, as a page with charts |
//! | [`seccomp`] | a kernel that refuses a system call, for tests |
//! | [`statistics`] | medians, intervals and verdicts over blocks |
//! | [`conformance`] | the contract every server keeps, case by case |
//!
//! A server is always another process: nothing here links one.

pub mod bench_args;
pub mod build;
pub mod catalogue;
pub mod compare;
pub mod conformance;
pub mod cost;
pub mod entrant;
pub mod files;
mod guard;
pub mod load;
pub mod process;
pub mod report;
pub mod seccomp;
pub mod statistics;
