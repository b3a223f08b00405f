//! The loop that calls back who is ready.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::handler::Requests;
use crate::{Context, Event, Handler, Interest, Next, Selector, Token, Trigger};

/// Timers that may be left of handlers that have gone, beside one for each that lives.
const SPARE_TIMERS: usize = 1024;

/// Owns the selector and the handlers, and runs the loop.
///
/// `S` is the selector, `T` what the handlers share.
pub struct Reactor<S, T> {
    selector: S,
    shared: T,
    handlers: Slab<Registration<T>>,
    /// Counts registrations, so that each gets a token that no earlier one had.
    generation: usize,
    /// Handlers to call without waiting: they said [`Next::Again`], or were woken.
    ready: Vec<Token>,
    timers: BinaryHeap<Reverse<(Instant, Token)>>,
    requests: Requests<T>,
    deadline: Option<Instant>,
}

struct Registration<T> {
    handler: Box<dyn Handler<T>>,
    token: Token,
    /// What the selector was told last.
    interest: Interest,
}

impl<S: Selector, T> Reactor<S, T> {
    /// A reactor without handlers.
    pub fn new(selector: S, shared: T) -> Reactor<S, T> {
        Reactor {
            selector,
            shared,
            handlers: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            timers: BinaryHeap::new(),
            requests: Requests {
                add: Vec::new(),
                wake: Vec::new(),
                timers: Vec::new(),
                stop: None,
                failure: None,
            },
            deadline: None,
        }
    }

    /// Adds a handler, and waits for `interest`.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::add`]; the handler is dropped.
    pub fn add(
        &mut self,
        mut handler: Box<dyn Handler<T>>,
        interest: Interest,
    ) -> io::Result<Token> {
        let token = Token::new(self.handlers.vacant_key(), self.generation);
        self.generation = self.generation.wrapping_add(1);
        handler.added(&mut Context {
            shared: &mut self.shared,
            token,
            trigger: self.selector.trigger(),
            requests: &mut self.requests,
        });
        self.handlers.insert(Registration { handler, token, interest: Interest::NONE });
        match self.register(token, interest) {
            Ok(()) => Ok(token),
            Err(error) => {
                self.close(token);
                Err(error)
            }
        }
    }

    /// Runs until no handler is left, or for as long as [`Context::stop`] allows. Returns what the
    /// handlers shared.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::wait`], what a handler gave to [`Context::fail`], and those of
    /// [`Selector::add`] that no handler knows what to do about ([`Handler::refused`]).
    pub fn run(mut self) -> io::Result<T> {
        let mut events = Vec::new();
        let mut ready = Vec::new();
        self.grant_requests()?; // Of the handlers that are there from the start.
        while !self.handlers.is_empty() {
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.tokens().into_iter().for_each(|token| self.close(token));
                break;
            }
            self.selector.wait(self.patience(), &mut events)?;
            for event in events.drain(..) {
                self.call(event.token, |handler, context| handler.ready(event, context))?;
            }
            // Those that become ready meanwhile are called in the next turn: the others come first.
            std::mem::swap(&mut ready, &mut self.ready);
            for token in ready.drain(..) {
                // Nothing is known of the socket, so anything may be true of it.
                let event = Event { token, readable: true, writable: true, read_closed: true };
                self.call(token, |handler, context| handler.ready(event, context))?;
            }
            while let Some(token) = self.expired() {
                self.call(token, |handler, context| handler.timeout(context))?;
            }
        }
        Ok(self.shared)
    }

    /// How long to wait at most: not at all if a handler is ready, else until the next timer or the
    /// deadline, or for ever.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.peek().map(|Reverse((time, _))| *time);
        let next = [timer, self.deadline].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// The next timer, if its time has come.
    fn expired(&mut self) -> Option<Token> {
        let Reverse((time, _)) = self.timers.peek()?;
        if *time > Instant::now() {
            return None;
        }
        self.timers.pop().map(|Reverse((_, token))| token)
    }

    /// Calls a handler, and does what it wants. An event for a handler that has gone is stale: a new one
    /// may sit in its place, and has another token.
    fn call(
        &mut self,
        token: Token,
        callback: impl FnOnce(&mut dyn Handler<T>, &mut Context<'_, T>) -> Next,
    ) -> io::Result<()> {
        let Some(registration) = self.handlers.get_mut(token.place()) else { return Ok(()) };
        if registration.token != token {
            return Ok(());
        }
        let mut context = Context {
            shared: &mut self.shared,
            token,
            trigger: self.selector.trigger(),
            requests: &mut self.requests,
        };
        match callback(&mut *registration.handler, &mut context) {
            Next::Wait(interest) => {
                let told = self.register(token, interest);
                told.or_else(|error| self.refuse(token, error))?;
            }
            Next::Again => self.ready.push(token),
            Next::Close => self.close(token),
        }
        self.grant_requests()
    }

    /// Tells the selector, unless it knows: under oneshot it has forgotten by now.
    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let Some(registration) = self.handlers.get_mut(token.place()) else { return Ok(()) };
        let (fd, before) = (registration.handler.fd(), registration.interest);
        match (before, interest) {
            (Interest::NONE, Interest::NONE) => Ok(()),
            (Interest::NONE, _) => self.selector.add(fd, token, interest),
            (_, Interest::NONE) => self.selector.remove(fd),
            _ if before == interest && self.selector.trigger() != Trigger::Oneshot => Ok(()),
            _ => self.selector.modify(fd, token, interest),
        }?;
        registration.interest = interest;
        Ok(())
    }

    /// Tells a handler that the selector did not take what it wants.
    fn refuse(&mut self, token: Token, error: io::Error) -> io::Result<()> {
        let Some(registration) = self.handlers.get_mut(token.place()) else { return Ok(()) };
        let mut context = Context {
            shared: &mut self.shared,
            token,
            trigger: self.selector.trigger(),
            requests: &mut self.requests,
        };
        registration.handler.refused(error, &mut context)
    }

    /// Every handler there is.
    fn tokens(&self) -> Vec<Token> {
        self.handlers.iter().map(|(_, registration)| registration.token).collect()
    }

    /// Takes a handler off the selector's list, and drops it.
    fn close(&mut self, token: Token) {
        let Some(mut registration) = self.handlers.try_remove(token.place()) else { return };
        if registration.interest != Interest::NONE {
            // Fails only if the handler has closed its descriptor, and then it is off the list.
            let _ = self.selector.remove(registration.handler.fd());
        }
        let mut context = Context {
            shared: &mut self.shared,
            token,
            trigger: self.selector.trigger(),
            requests: &mut self.requests,
        };
        registration.handler.closed(&mut context);
    }

    /// Does what handlers asked for while they were called.
    fn grant_requests(&mut self) -> io::Result<()> {
        while let Some((handler, interest)) = self.requests.add.pop() {
            // The kernel has no memory for this one: it is closed, and the others go on.
            let _ = self.add(handler, interest);
        }
        self.ready.append(&mut self.requests.wake);
        self.timers.extend(self.requests.timers.drain(..).map(Reverse));
        if self.timers.len() > 2 * self.handlers.len() + SPARE_TIMERS {
            // Most are of handlers that have gone: they must not outnumber the living.
            let handlers = &self.handlers;
            let lives = |token: Token| {
                handlers.get(token.place()).is_some_and(|entry| entry.token == token)
            };
            self.timers.retain(|Reverse((_, token))| lives(*token));
        }
        if let Some(limit) = self.requests.stop.take() {
            self.deadline = Some(Instant::now() + limit);
            for token in self.tokens() {
                self.call(token, |handler, context| handler.stop(context))?;
            }
        }
        match self.requests.failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Stdin, stdin};
    use std::os::fd::{AsFd, BorrowedFd};

    use super::*;
    use crate::Mio;

    /// Asks to be woken at a time that never comes.
    struct Sleeper(Stdin);

    impl Handler<()> for Sleeper {
        fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        fn added(&mut self, context: &mut Context<'_, ()>) {
            context.wake_at(Instant::now() + Duration::from_secs(3600));
        }

        fn ready(&mut self, _: Event, _: &mut Context<'_, ()>) -> Next {
            Next::Close
        }
    }

    #[test]
    fn timers_of_handlers_that_have_gone_do_not_pile_up() {
        let mut reactor = Reactor::new(Mio::new(Trigger::Edge).unwrap(), ());
        let add_sleeper = |reactor: &mut Reactor<Mio, ()>| {
            reactor.add(Box::new(Sleeper(stdin())), Interest::NONE).unwrap()
        };
        let living = add_sleeper(&mut reactor);
        for _ in 0..3 * SPARE_TIMERS {
            let gone = add_sleeper(&mut reactor);
            reactor.close(gone);
            reactor.grant_requests().unwrap();
            assert!(reactor.timers.len() <= 2 + SPARE_TIMERS);
        }
        assert!(reactor.timers.iter().any(|Reverse((_, token))| *token == living));
    }
}
