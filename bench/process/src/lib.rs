//! A server as a child process, and what every tool that starts servers needs.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`address`] | where a server listens |
//! | [`process`] | a server as a child process: started, signalled, stopped, never orphaned |
//! | [`catalogue`] | the servers of this workspace: name, package, arguments, traits |
//! | [`proc`] | what proc(5) says of a process, its descendants and the machine |
//! | [`files`] | files that are written completely or not at all |
//! | [`guard`] | what must not outlive this process, whatever ends it |
//! | [`witness`] | a view of a running server for other threads |
//! | [`signals`] | the signals that a child inherits |
//! | [`seccomp`] | a kernel that refuses a system call, for tests |
//!
//! A server is always another process: nothing here links one. All errors are one enum, [`Error`].

pub mod address;
pub mod catalogue;
mod error;
pub mod files;
pub mod guard;
pub mod proc;
pub mod process;
pub mod seccomp;
pub mod signals;
pub mod witness;

pub use error::{Error, Result};
