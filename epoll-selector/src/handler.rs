//! The objects that are called back.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::{Event, Interest, Token, Trigger};

/// An object that is called back when its descriptor is ready.
///
/// `S` is what all handlers of one reactor share. A handler never blocks, and an error of its peer is its
/// own affair: it returns [`Next::Close`].
pub trait Handler<S> {
    /// The descriptor to watch. It stays the same for as long as the handler lives.
    fn fd(&self) -> BorrowedFd<'_>;

    /// The handler has a token now, and is called from here on. Called once, before all others.
    fn added(&mut self, context: &mut Context<'_, S>) {
        let _ = context;
    }

    /// The descriptor may be ready, as `event` says.
    fn ready(&mut self, event: Event, context: &mut Context<'_, S>) -> Next;

    /// The time that [`Context::wake_at`] asked for has come.
    fn timeout(&mut self, context: &mut Context<'_, S>) -> Next {
        let _ = context;
        Next::Close
    }

    /// The selector could not do what [`Next::Wait`] asks: a descriptor that was not watched before still
    /// is not. A handler that knows when to try again asks to be woken, and returns `Ok`.
    ///
    /// # Errors
    ///
    /// What ends [`Reactor::run`](crate::Reactor::run): by default any.
    fn refused(&mut self, error: io::Error, context: &mut Context<'_, S>) -> io::Result<()> {
        let _ = context;
        Err(error)
    }

    /// The reactor is asked to stop: finish what is pending, and close.
    fn stop(&mut self, context: &mut Context<'_, S>) -> Next {
        let _ = context;
        Next::Close
    }

    /// The handler is about to be dropped, whoever wanted that. Called once.
    fn closed(&mut self, context: &mut Context<'_, S>) {
        let _ = context;
    }
}

/// What a handler wants next. Only the reactor acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To wait until the descriptor is ready; with [`Interest::NONE`], until it is woken.
    Wait(Interest),
    /// To be called again once the others had their turn: there may be more to do now.
    Again,
    /// To be removed and dropped, which closes the descriptor.
    Close,
}

/// What a handler can ask of its reactor while it is being called.
pub struct Context<'a, S> {
    /// What all handlers of this reactor share.
    pub shared: &'a mut S,
    pub(crate) token: Token,
    pub(crate) trigger: Trigger,
    pub(crate) requests: &'a mut Requests<S>,
}

/// What handlers asked for. The reactor does it once the call has returned.
pub(crate) struct Requests<S> {
    pub(crate) add: Vec<(Box<dyn Handler<S>>, Interest)>,
    pub(crate) wake: Vec<Token>,
    pub(crate) timers: Vec<(Instant, Token)>,
    pub(crate) stop: Option<Duration>,
    pub(crate) failure: Option<io::Error>,
}

impl<S> Context<'_, S> {
    /// The handler being called.
    pub fn token(&self) -> Token {
        self.token
    }

    /// How the selector reports readiness: under [`Trigger::Edge`] a handler must go on until
    /// `WouldBlock`, or nobody will call it again.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Adds a handler, and waits for `interest`.
    pub fn add(&mut self, handler: impl Handler<S> + 'static, interest: Interest) {
        self.requests.add.push((Box::new(handler), interest));
    }

    /// Calls another handler's [`ready`](Handler::ready) soon, as if its descriptor were.
    pub fn wake(&mut self, handler: Token) {
        self.requests.wake.push(handler);
    }

    /// Calls this handler's [`timeout`](Handler::timeout) at `time` or a little later. A timer is not
    /// taken back: a handler that has changed its mind by then ignores it.
    pub fn wake_at(&mut self, time: Instant) {
        self.requests.timers.push((time, self.token));
    }

    /// Stops the reactor: every handler is told, and those still there after `limit` are dropped.
    pub fn stop(&mut self, limit: Duration) {
        self.requests.stop = Some(limit);
    }

    /// Ends [`Reactor::run`](crate::Reactor::run) with an error: the reactor is of no use any more.
    pub fn fail(&mut self, error: io::Error) {
        self.requests.failure = Some(error);
    }
}
