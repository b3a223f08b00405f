//! What a server process cost, seen from outside: its CPU time, context switches, memory and system
//! calls, those of its children included. Nothing here needs root or a change of the server.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Meter`] → [`Cost`] | CPU time, context switches, memory, threads of a process tree |
//! | [`CpuClock`] | only the CPU time of a process tree, cheap enough to read often |
//! | [`Usage`] | the same of this process, the client, as far as it matters; and of the machine |
//! | [`syscalls::Tracer`] | system calls by name, counted by ptrace(2); it ruins every timing |
//! | [`Reading`] | a measured value, or the reason why there is none |
//!
//! Linux only: most of it is read from proc(5).
//!
//! On loopback the processing of a received packet is charged to whoever sent it, as softirq work
//! within its send(2). So a server's CPU time holds a part of its client's work and the other way
//! round; look at both, and at the machine's, before blaming one.

mod clock;
mod meter;
mod reading;
pub(crate) mod syscalls;
mod usage;

pub(crate) use clock::CpuClock;
pub(crate) use meter::{Cost, Meter};
pub use reading::Reading;
pub(crate) use usage::Usage;
