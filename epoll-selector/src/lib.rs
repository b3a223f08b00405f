//! A toolkit for event-driven servers and clients: the kernel says who is ready, and a loop calls
//! back.
//!
//! The reactor pattern (D. C. Schmidt, 1995) in thin layers, and an answer to Python's selectors,
//! asyncore and asynchat. Each layer works without those below it in this table:
//!
//! | layer | what it does | begin with |
//! | --- | --- | --- |
//! | selector | asks the kernel who is ready | [`Selector`]: [`Mio`], [`Polling`], [`Poll`] |
//! | reactor | calls back who is ready, due, or woken | [`Reactor`], [`Handler`], [`Context`] |
//! | ways in | clients, connections out, other threads | [`Acceptor`], [`connect`], [`mailbox`] |
//! | outbox | bytes on their way to one peer | [`Outbox`], [`Producer`] |
//! | conversation | whole messages in, answers out | [`Conversation`], [`Protocol`], [`Until`] |
//!
//! Handlers never touch the selector: each call returns what the handler wants next, and only the
//! reactor registers, re-registers and closes. So an interest cannot disagree with the state that
//! it follows from. Handlers never touch each other: they share the state `T`, and wake each other
//! by [`Token`].
//!
//! A server that answers each line in upper case is at [`Acceptor`]. A chat's members are at
//! [`Peer`]. A program that leaves the computing to other threads is at [`Remote`].
//!
//! Not here: tasks, futures, priorities. A reactor that grows those is an async runtime.
#![deny(unsafe_code)]

mod acceptor;
mod chunk;
mod connect;
mod context;
mod conversation;
mod framing;
mod handler;
mod mailbox;
mod outbox;
mod protocol;
mod reactor;
mod readiness;
mod registry;
mod selector;
mod talk;
mod wire;

pub use acceptor::Acceptor;
pub use chunk::{Chunk, Producer};
pub use connect::{connect, connected};
pub use context::Context;
pub use conversation::Conversation;
pub use framing::{Found, PREFIX_BYTES, Until};
pub use handler::{End, Handler, Next};
pub use mailbox::{Job, Mailbox, Remote, mailbox};
pub use outbox::{Outbox, Sent};
pub use protocol::Protocol;
pub use reactor::Reactor;
pub use readiness::{Event, Interest, Token, Trigger};
pub use selector::{Mio, Poll, Polling, Selector};
pub use talk::{Pause, Pauses, Peer, Talk};
