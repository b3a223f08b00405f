//! What a handler can do while it is being called.

use std::io;
use std::time::{Duration, Instant};

use crate::registry::Registry;
use crate::{Handler, Token, Trigger};

/// What a handler can ask of its reactor while it is being called.
///
/// Every method is possible in every callback. The reactor acts when the call has returned.
///
/// ```
/// use std::io;
/// use epoll_selector::{Context, Handler, Mio, Next, Reactor, Selector, Trigger};
///
/// struct Parent;
/// struct Child;
///
/// impl Handler<u32> for Parent {
///     fn added(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
///         let child = context.add(Child); // Its token is known at once,
///         context.wake(child); // so the child can be woken,
///         context.wake(child); // and two wakes are one.
///         Ok(Next::Close)
///     }
/// }
///
/// impl Handler<u32> for Child {
///     fn woken(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
///         *context.shared += 1;
///         Ok(Next::Close)
///     }
/// }
///
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, 0);
/// reactor.add(Parent);
/// assert_eq!(reactor.run()?, 1);
/// # Ok::<(), io::Error>(())
/// ```
pub struct Context<'a, T> {
    /// What all handlers of this reactor share.
    pub shared: &'a mut T,
    pub(crate) registry: &'a mut Registry<T>,
    pub(crate) token: Token,
    pub(crate) trigger: Trigger,
}

impl<T> Context<'_, T> {
    /// The token of the handler that is being called.
    pub fn token(&self) -> Token {
        self.token
    }

    /// How the selector reports readiness. Under [`Trigger::Edge`] a handler goes on until
    /// `WouldBlock` or a short read or write; otherwise the rest is not reported again. After a
    /// short read with [`Event::read_closed`](crate::Event::read_closed) it reads once more, for
    /// the end of stream.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Adds a handler, and returns its token at once. The handler starts before the next wait.
    /// Handlers start in the order in which they were added.
    pub fn add(&mut self, handler: impl Handler<T> + 'static) -> Token {
        self.registry.insert(Box::new(handler))
    }

    /// Has [`Handler::woken`] called for `who`, once a turn at most. Does nothing if `who` has
    /// gone.
    pub fn wake(&mut self, who: Token) {
        self.registry.wake(who);
    }

    /// Whether `who` is still there: it was added and has not ended.
    pub fn lives(&self, who: Token) -> bool {
        self.registry.get(who).is_some()
    }

    /// Closes `who` when this call has returned. Its end is [`End::Done`](crate::End::Done). Does
    /// nothing if `who` has gone.
    pub fn close(&mut self, who: Token) {
        self.registry.closing.push_back(who);
    }

    /// Sets this handler's timer, its only one, or moves it; `None` takes it back. At that time or
    /// a little later the reactor calls [`Handler::timeout`].
    pub fn timer(&mut self, at: Option<Instant>) {
        self.registry.set_timer(self.token, at);
    }

    /// Marks this handler as one that the reactor does not wait for: the reactor ends when only
    /// such handlers are left. There is no way back.
    pub fn background(&mut self) {
        self.registry.set_background(self.token);
    }

    /// Stops the reactor. Each handler's [`Handler::stop`] is called. Handlers that are still there
    /// after `limit` end with [`End::CutOff`](crate::End::CutOff). A second stop can only shorten
    /// the first.
    pub fn stop(&mut self, limit: Duration) {
        self.registry.stop = Some(self.registry.stop.map_or(limit, |first| first.min(limit)));
    }

    /// Whether a stop is in progress.
    pub fn stopping(&self) -> bool {
        self.registry.deadline.is_some()
    }

    /// Ends [`Reactor::run`](crate::Reactor::run) with this error. It is for errors of the server
    /// itself, such as a listener that no longer works; an error of one connection is returned
    /// instead.
    pub fn fail(&mut self, error: io::Error) {
        self.registry.failure.get_or_insert(error);
    }

    /// Lends the loop's one read buffer of [`SCRATCH_BYTES`](echo::SCRATCH_BYTES) to `job`, so that
    /// connections need no read buffers of their own. What the buffer holds at first is undefined.
    pub fn scratch<R>(&mut self, job: impl FnOnce(&mut [u8], &mut Context<'_, T>) -> R) -> R {
        let mut buffer = self.registry.scratch.take().unwrap_or_else(|| {
            // The first use, or the last user panicked, or a scratch within a scratch.
            vec![0; echo::SCRATCH_BYTES].into_boxed_slice()
        });
        let result = job(&mut buffer, &mut self.reborrow());
        self.registry.scratch = Some(buffer);
        result
    }

    /// The same context for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Context<'_, T> {
        Context {
            shared: self.shared,
            registry: self.registry,
            token: self.token,
            trigger: self.trigger,
        }
    }
}
