//! A server as a child process, and what every tool that starts servers needs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`address`] | where a server listens |
//! | [`process`] | a server as a child process: started, signalled, stopped, never orphaned |
//! | [`catalogue`] | the servers of this workspace: name, package, arguments, traits |
//! | [`proc`] | what proc(5) says of a process, its descendants and the machine |
//! | [`files`] | files that are written whole or not at all |
//! | [`guard`] | what must not outlive this process, however it ends |
//! | [`seccomp`] | a kernel that refuses a system call, for tests |
//!
//! A server is always another process: nothing here links one.

pub mod address;
pub mod catalogue;
pub mod files;
pub mod guard;
pub mod proc;
pub mod process;
pub mod seccomp;
