//! A reactor: the kernel keeps the list of what we wait for, and a loop calls back who is ready.
//!
//! The reactor pattern (D. C. Schmidt, 1995) in its smallest useful form, and an answer to Python's
//! asyncore and selectors. Four words carry it:
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Interest`], [`Event`] | what we ask for, and what the kernel reports: its readiness |
//! | [`Selector`] | the kernel facility behind one interface: [`Mio`], [`Polling`] |
//! | [`Handler`] | the object that is called back, and returns what it wants [`Next`] |
//! | [`Reactor`] | owns the selector and the handlers, and runs the loop |
//!
//! Handlers never touch the selector: they return what they want next, and only the reactor registers,
//! re-registers and closes. So an interest cannot disagree with the state that it follows from.
//!
//! Not here: tasks, wakers, channels, buffers. A reactor that grows those is an async runtime.
#![deny(unsafe_code)]

mod handler;
mod reactor;
mod readiness;
mod selector;

pub use handler::{Context, Handler, Next};
pub use reactor::Reactor;
pub use readiness::{Event, Interest, Token, Trigger};
pub use selector::{Mio, Polling, Selector};
