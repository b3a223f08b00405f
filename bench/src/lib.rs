//! The ruler: everything that measures or checks a TCP echo server from outside.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`catalogue`] | the servers of this workspace: name, package, arguments, traits |
//! | [`process`] | a server as a child process: started, signalled, stopped, never orphaned |
//! | [`compare`] | every server through every scenario, and what was found |
//! | [`cost`] | what a server process cost: CPU, context switches, memory, system calls |
//! | [`load`] | the load engine behind `loadgen` and the benches |
//! | [`report`] | what was found, as a page with charts |
//! | [`statistics`] | medians, intervals and verdicts over blocks |
//! | [`conformance`] | the contract every server keeps, case by case |
//!
//! A server is always another process: nothing here links one.

pub mod catalogue;
pub mod compare;
pub mod conformance;
pub mod cost;
pub mod load;
pub mod process;
pub mod report;
pub mod statistics;
