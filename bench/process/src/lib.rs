//! A server as a child process, and what every tool that starts servers needs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`process`] | a server as a child process: started, signalled, stopped, never orphaned |
//! | [`catalogue`] | the servers of this workspace: name, package, arguments, traits |
//! | [`files`] | files that are written whole or not at all |
//! | [`guard`] | what must not outlive this process, however it ends |
//! | [`seccomp`] | a kernel that refuses a system call, for tests |
//!
//! A server is always another process: nothing here links one.

pub mod catalogue;
pub mod files;
pub mod guard;
pub mod process;
pub mod seccomp;
