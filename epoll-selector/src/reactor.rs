//! The loop: wait, call back, do what the handler wants next.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use echo::Stop;

use crate::registry::Registry;
use crate::{Context, End, Event, Handler, Interest, Next, Selector, Token, Trigger};

/// Owns the selector and the handlers, and runs the loop.
///
/// `S` is the selector, and `T` is what the handlers share. A reactor that is dropped before its
/// end drops its handlers without a call of [`Handler::closed`].
///
/// ```
/// use std::io::{self, Read};
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use epoll_selector::{Context, Event, Handler, Mio, Next, Reactor, Selector, Trigger};
///
/// /// Adds what arrives to the shared text.
/// struct Reader(UnixStream);
///
/// impl Handler<String> for Reader {
///     fn fd(&self) -> Option<BorrowedFd<'_>> {
///         Some(self.0.as_fd())
///     }
///
///     fn ready(&mut self, _: Event, context: &mut Context<'_, String>) -> io::Result<Next> {
///         self.0.read_to_string(context.shared)?; // The peer has closed, so this does not block.
///         Ok(Next::Close)
///     }
/// }
///
/// let (ours, theirs) = UnixStream::pair()?;
/// io::Write::write_all(&mut &ours, b"hello")?;
/// drop(ours);
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, String::new());
/// reactor.add(Reader(theirs));
/// assert_eq!(reactor.run()?, "hello");
/// # Ok::<(), io::Error>(())
/// ```
pub struct Reactor<S, T> {
    selector: S,
    shared: T,
    registry: Registry<T>,
    /// What the selector reported last. Empty between two turns; the memory is kept.
    events: Vec<Event>,
    /// The calls of this turn that are still to be made.
    calls: VecDeque<Call>,
    /// Whose request ends the loop, and how long the end may take.
    stop: Option<(Arc<Stop>, Duration)>,
}

/// One call of one handler.
enum Call {
    Start(Token),
    Ready(Event),
    Again(Token),
    Wake(Token),
    /// The timer was due at this time. Another handler may have closed this one since.
    Timeout(Token, Instant),
}

impl<S: Selector, T> Reactor<S, T> {
    /// A reactor without handlers.
    pub fn new(selector: S, shared: T) -> Reactor<S, T> {
        Reactor {
            selector,
            shared,
            registry: Registry::new(),
            events: Vec::new(),
            calls: VecDeque::new(),
            stop: None,
        }
    }

    /// Adds a handler. It starts in the next turn. If the selector does not take its descriptor,
    /// the handler is told ([`Handler::refused`], then [`End::Refused`]).
    pub fn add(&mut self, handler: impl Handler<T> + 'static) -> Token {
        self.registry.insert(Box::new(handler))
    }

    /// Has `stop` end the loop within `limit`, as [`Context::stop`] does. The loop looks at the
    /// request between two calls, so a long turn does not delay it by more than one call.
    pub fn stop_on(&mut self, stop: Arc<Stop>, limit: Duration) {
        self.add(Bell(Arc::clone(&stop)));
        self.stop = Some((stop, limit));
    }

    /// What the handlers share.
    pub fn shared(&mut self) -> &mut T {
        &mut self.shared
    }

    /// Runs until no handler is left that the reactor waits for, or until a stop is over. Returns
    /// what the handlers shared.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::wait`], and what a handler gave to [`Context::fail`].
    pub fn run(mut self) -> io::Result<T> {
        while self.turn(None)? {}
        Ok(self.shared)
    }

    /// Runs one turn: starts what was added, waits once, and makes the calls that this leads to.
    /// The wait takes `limit` at most. Returns whether there is another turn; if not, every handler
    /// has ended.
    ///
    /// # Errors
    ///
    /// As for [`run`](Reactor::run). Every handler has ended.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let goes_on = self.try_turn(limit);
        if !matches!(goes_on, Ok(true)) {
            self.calls.clear();
            let idle = self.registry.foreground == 0;
            for token in self.registry.tokens() {
                self.close(token, if idle { End::Done } else { End::CutOff });
            }
        }
        goes_on
    }

    fn try_turn(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        // Those that these add in turn start in the next turn.
        self.calls.extend(self.registry.added.drain(..).map(Call::Start));
        if !self.make_calls()? || self.registry.foreground == 0 {
            return Ok(false);
        }
        self.selector.wait(self.longest_wait(limit), &mut self.events)?;
        self.calls.extend(self.events.drain(..).map(Call::Ready));
        // Those that had a turn already come after those that are ready now.
        self.calls.extend(self.registry.again.drain(..).map(Call::Again));
        self.calls.extend(self.registry.woken.drain(..).map(Call::Wake));
        if !self.registry.timers.is_empty() {
            let now = Instant::now();
            let due = self.registry.timers.iter().take_while(|(at, _)| *at <= now);
            self.calls.extend(due.map(|(at, token)| Call::Timeout(*token, *at)));
        }
        Ok(self.make_calls()? && self.registry.foreground > 0)
    }

    /// The longest time to wait: not at all if a handler is to be called, else until the next
    /// timer, the deadline or `limit`.
    fn longest_wait(&self, limit: Option<Duration>) -> Option<Duration> {
        if self.registry.is_busy() {
            return Some(Duration::ZERO);
        }
        let timer = self.registry.timers.first().map(|(at, _)| *at);
        let next = [timer, self.registry.deadline].into_iter().flatten().min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        [left, limit].into_iter().flatten().min()
    }

    /// Makes the calls of this turn. Returns false when the deadline of a stop has passed.
    fn make_calls(&mut self) -> io::Result<bool> {
        loop {
            if let Some(error) = self.registry.failure.take() {
                return Err(error);
            }
            self.look_at_stop();
            // Without a stop in progress there is no look at the clock.
            if self.registry.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(false);
            }
            let Some(call) = self.calls.pop_front() else { return Ok(true) };
            self.make_call(call);
        }
    }

    fn make_call(&mut self, call: Call) {
        match call {
            Call::Start(token) => {
                if let Some(slot) = self.registry.get_mut(token) {
                    slot.started = true;
                }
                self.call(token, |handler, context| handler.added(context));
                if self.registry.deadline.is_some() {
                    self.call(token, |handler, context| handler.stop(context));
                }
            }
            Call::Ready(event) => {
                // An event for a handler that has gone is stale.
                let Some(slot) = self.registry.get_mut(event.token) else { return };
                slot.armed = self.selector.trigger() != Trigger::Oneshot;
                if !slot.again {
                    self.call(event.token, |handler, context| handler.ready(event, context));
                } // Else this turn has a call for it that allows everything.
            }
            Call::Again(token) => {
                let Some(slot) = self.registry.get_mut(token) else { return };
                slot.again = false;
                self.call(token, |handler, context| handler.ready(Event::any(token), context));
            }
            Call::Wake(token) => {
                let Some(slot) = self.registry.get_mut(token) else { return };
                slot.woken = false;
                self.call(token, |handler, context| handler.woken(context));
            }
            Call::Timeout(token, due) => {
                // Another call of this turn may have moved the timer or taken it back.
                let timer = self.registry.get_mut(token).and_then(|slot| slot.timer);
                if timer == Some(due) {
                    self.registry.set_timer(token, None);
                    self.call(token, |handler, context| handler.timeout(context));
                }
            }
        }
    }

    /// Begins a stop if one was requested: sets the deadline and tells every handler.
    fn look_at_stop(&mut self) {
        let stopping = self.registry.deadline.is_some();
        let signal = self.stop.as_ref().filter(|(stop, _)| !stopping && stop.requested());
        let signalled = signal.map(|(_, limit)| *limit);
        let Some(limit) = self.registry.stop.take().or(signalled) else { return };
        let deadline = Instant::now() + limit;
        self.registry.deadline =
            Some(self.registry.deadline.map_or(deadline, |first| first.min(deadline)));
        if stopping {
            return;
        }
        for token in self.registry.tokens() {
            // Those that have not started are told when they do.
            if self.registry.get_mut(token).is_some_and(|slot| slot.started) {
                self.call(token, |handler, context| handler.stop(context));
            }
        }
    }

    /// Calls a handler, and does what it wants next.
    fn call(
        &mut self,
        token: Token,
        callback: impl FnOnce(&mut dyn Handler<T>, &mut Context<'_, T>) -> io::Result<Next>,
    ) {
        match self.invoke(token, callback) {
            None => return,
            Some(Ok(Ok(next))) => {
                let interest = match next {
                    Next::Wait(interest) => Some(interest),
                    Next::Keep => self.registry.get_mut(token).map(|slot| slot.interest),
                    Next::Again | Next::Close => None,
                };
                if let Some(interest) = interest
                    && let Err(error) = self.register(token, interest)
                {
                    self.refuse(token, error);
                }
                match next {
                    Next::Wait(_) | Next::Keep => {}
                    Next::Again => self.registry.again(token),
                    Next::Close => self.close(token, End::Done),
                }
            }
            Some(Ok(Err(error))) => self.close(token, End::Failed(error)),
            Some(Err(_)) => self.close(token, End::Panicked),
        }
        while let Some(token) = self.registry.closing.pop_front() {
            self.close(token, End::Done);
        }
    }

    /// Takes a handler out of the table for the time of a call, and catches its panic. What the
    /// handler may have left half done is its own, and it is dropped after a panic.
    fn invoke<R>(
        &mut self,
        token: Token,
        callback: impl FnOnce(&mut dyn Handler<T>, &mut Context<'_, T>) -> R,
    ) -> Option<thread::Result<R>> {
        let mut handler = self.registry.get_mut(token)?.handler.take()?;
        let mut context = Context {
            shared: &mut self.shared,
            registry: &mut self.registry,
            token,
            trigger: self.selector.trigger(),
        };
        let result = catch_unwind(AssertUnwindSafe(|| callback(&mut *handler, &mut context)));
        self.registry.get_mut(token)?.handler = Some(handler);
        Some(result)
    }

    /// Tells the selector what a handler waits for, unless the selector knows.
    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let Some(slot) = self.registry.get_mut(token) else { return Ok(()) };
        if slot.interest == interest && slot.armed {
            return Ok(());
        }
        let Some(fd) = slot.handler.as_ref().and_then(|handler| handler.fd()) else {
            return Ok(());
        };
        match (slot.interest, interest) {
            (Interest::NONE, Interest::NONE) => Ok(()),
            (Interest::NONE, _) => self.selector.add(fd, token, interest),
            (_, Interest::NONE) => self.selector.remove(fd),
            _ => self.selector.modify(fd, token, interest),
        }?;
        slot.interest = interest;
        slot.armed = true;
        Ok(())
    }

    /// Tells a handler that the selector did not do what it wants.
    fn refuse(&mut self, token: Token, error: io::Error) {
        match self.invoke(token, |handler, context| handler.refused(error, context)) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => self.close(token, End::Refused(error)),
            Some(Err(_)) => self.close(token, End::Panicked),
        }
    }

    /// Takes a handler off the selector's list, tells it why, and drops it.
    fn close(&mut self, token: Token, why: End) {
        let Some(slot) = self.registry.remove(token) else { return };
        let Some(mut handler) = slot.handler else { return };
        let mut context = Context {
            shared: &mut self.shared,
            registry: &mut self.registry,
            token,
            trigger: self.selector.trigger(),
        };
        let selector = &mut self.selector;
        // The handler is gone for the reactor, whether this panics or not.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if slot.interest != Interest::NONE
                && let Some(fd) = handler.fd()
            {
                // Fails only if the handler has closed its descriptor, and then it is off the list.
                let _ = selector.remove(fd);
            }
            handler.closed(why, &mut context);
            drop(handler);
        }));
    }
}

/// Ends the wait when a stop is requested. The loop itself looks at the request between two calls.
struct Bell(Arc<Stop>);

impl<T> Handler<T> for Bell {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn added(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        context.background();
        Ok(Next::Wait(Interest::READ))
    }

    fn ready(&mut self, _: Event, _: &mut Context<'_, T>) -> io::Result<Next> {
        Ok(Next::Close)
    }

    fn refused(&mut self, error: io::Error, context: &mut Context<'_, T>) -> io::Result<()> {
        context.fail(error); // A server that cannot be stopped must not run.
        Ok(())
    }
}
