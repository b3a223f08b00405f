//! io_uring(7) behind a safe interface, small enough to read before the server that uses it.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Ring`] | the two queues: operations go in, [`Completion`]s come out |
//! | [`Operation`] | the name of an operation in flight, to cancel it by |
//! | [`Buffer`] | bytes that the kernel received, in memory that goes back to the kernel when dropped |
//! | [`Outgoing`] | bytes on their way to a peer, and how many of them are sent |
//!
//! The kernel uses our memory between an operation's start and its completion. In this time the ring
//! owns the memory, so the caller can neither free it nor write to it too early.
//!
//! All `unsafe` of the server is in this library.
#[cfg(not(target_os = "linux"))]
compile_error!("uring-completion is for Linux only: leave it out with --exclude uring-completion");

mod buffers;
mod outgoing;
mod ring;
mod setup;

pub use buffers::Buffer;
pub use outgoing::Outgoing;
pub use ring::{Completion, Operation, Ring};
