//! The cost of a server process, measured from outside: CPU time, context switches, memory and
//! system calls. The cost includes the children of the process. The measurement needs neither root
//! nor a change of the server.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Meter`] → [`Cost`] | CPU time, context switches, memory, threads of a process tree |
//! | [`CpuClock`] | only the CPU time of a process tree, for frequent readings |
//! | [`Usage`] | CPU time of this process (the client) and of the machine |
//! | [`syscalls::Tracer`] | system calls by name, counted by ptrace(2); distorts all timings |
//! | [`Reading`] | a measured value, or the reason why there is none |
//!
//! This module needs Linux: most values come from proc(5).
//!
//! On loopback, the kernel processes a received packet as softirq work within the sender's send(2).
//! The kernel charges this work to the sender. So a server's CPU time contains a part of the
//! client's work, and the client's CPU time contains a part of the server's work. Compare the CPU
//! times of server, client and machine before you attribute a cost to the server or the client.

mod clock;
mod meter;
mod reading;
pub(crate) mod syscalls;
mod usage;

pub(crate) use clock::CpuClock;
pub(crate) use meter::{Cost, Meter};
pub use reading::Reading;
pub(crate) use usage::Usage;
