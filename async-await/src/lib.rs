//! An executor, small enough to be read in one sitting: what is behind `async` and `await`.
//!
//! A future is a state machine that somebody polls. Each poll either ends it, or leaves it waiting, with a
//! waker where the event will be noticed. The language brings the state machines ([`Future`]) and the
//! words between the two sides ([`Context`](std::task::Context), [`Wake`](std::task::Wake)). The executor
//! is the rest:
//!
//! | item | what it is | file |
//! | --- | --- | --- |
//! | [`JoinHandle`], the task behind it | a future, and the waker that queues it, once | `task.rs` |
//! | [`Executor`] | the queue, and the loop that polls and sleeps | `executor.rs` |
//! | [`Source`], [`Ready`], [`Sleep`] | what a task waits for: a socket, a time | `io.rs` |
//! | [`race`] | both of two futures, until one ends | `lib.rs` |
//!
//! ```
//! # use std::time::{Duration, Instant};
//! use async_await::{Executor, Sleep};
//!
//! let executor = Executor::new()?;
//! let here = executor.clone();
//! let answer = executor.block_on(1, async move {
//!     let task = here.spawn(async { 6 * 7 });
//!     Sleep::until(&here, Instant::now() + Duration::from_millis(1)).await;
//!     task.await
//! })?;
//! assert_eq!(answer.ok(), Some(42));
//! # std::io::Result::Ok(())
//! ```
//!
//! Not here: cancelling a task by its handle, since a future that loses a [`race`] is cancelled; two tasks
//! that wait for one socket; queues for each thread.
#![deny(unsafe_code)] // Except for the promise that polling's `add` asks for.

mod executor;
mod io;
mod task;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

pub use executor::Executor;
pub use io::{Direction, Ready, Sleep, Source};
pub use task::JoinHandle;

/// What came first.
pub enum Either<A, B> {
    /// The left future, with this output.
    Left(A),
    /// The right one.
    Right(B),
}

/// Waits for the first of two futures. The left one is polled first. A future that is passed by
/// reference can go on afterwards.
pub fn race<A, B>(mut left: A, mut right: B) -> impl Future<Output = Either<A::Output, B::Output>>
where
    A: Future + Unpin,
    B: Future + Unpin,
{
    poll_fn(move |context| match Pin::new(&mut left).poll(context) {
        Poll::Ready(output) => Poll::Ready(Either::Left(output)),
        Poll::Pending => Pin::new(&mut right).poll(context).map(Either::Right),
    })
}
