//! The reactor's table of handlers, and what they have asked for.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::{Handler, Interest, Token};

/// Spare write buffers that the loop keeps. More are freed.
const BUFFERS_MAX: usize = 16;

/// The largest write buffer that the loop keeps, in bytes.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// All handlers of a reactor, and what they have asked for while they were called.
pub(crate) struct Registry<T> {
    slots: Slab<Slot<T>>,
    /// Registrations so far. Each gets a token that no earlier one had.
    registrations: usize,
    /// Handlers that the reactor waits for before it ends.
    pub(crate) foreground: usize,
    /// One entry for each handler with a timer, the earliest first.
    pub(crate) timers: BTreeSet<(Instant, Token)>,
    /// Handlers that have not started, in the order in which they were added.
    pub(crate) added: Vec<Token>,
    /// Handlers to wake, each once.
    pub(crate) woken: Vec<Token>,
    /// Handlers that said [`Next::Again`](crate::Next::Again), each once.
    pub(crate) again: Vec<Token>,
    /// Handlers to close.
    pub(crate) closing: VecDeque<Token>,
    /// A stop that was asked for and has not begun.
    pub(crate) stop: Option<Duration>,
    /// When the stop in progress ends.
    pub(crate) deadline: Option<Instant>,
    pub(crate) failure: Option<io::Error>,
    /// The loop's read buffer, unless it is lent.
    pub(crate) scratch: Option<Box<[u8]>>,
    buffers: Vec<Vec<u8>>,
}

/// A handler's place in the table.
pub(crate) struct Slot<T> {
    /// Absent while it is being called.
    pub(crate) handler: Option<Box<dyn Handler<T>>>,
    pub(crate) token: Token,
    pub(crate) timer: Option<Instant>,
    /// What the selector was told last.
    pub(crate) interest: Interest,
    /// The selector still watches for `interest`. A oneshot event ends that.
    pub(crate) armed: bool,
    pub(crate) started: bool,
    pub(crate) woken: bool,
    pub(crate) again: bool,
    background: bool,
}

impl<T> Registry<T> {
    pub(crate) fn new() -> Registry<T> {
        Registry {
            slots: Slab::new(),
            registrations: 0,
            foreground: 0,
            timers: BTreeSet::new(),
            added: Vec::new(),
            woken: Vec::new(),
            again: Vec::new(),
            closing: VecDeque::new(),
            stop: None,
            deadline: None,
            failure: None,
            scratch: None,
            buffers: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, handler: Box<dyn Handler<T>>) -> Token {
        let token = Token::new(self.slots.vacant_key(), self.registrations);
        self.registrations = self.registrations.wrapping_add(1);
        self.slots.insert(Slot {
            handler: Some(handler),
            token,
            timer: None,
            interest: Interest::NONE,
            armed: true,
            started: false,
            woken: false,
            again: false,
            background: false,
        });
        self.foreground += 1;
        self.added.push(token);
        token
    }

    /// The handler's slot, unless it has gone. Another may sit in its place and has another token.
    pub(crate) fn get(&self, token: Token) -> Option<&Slot<T>> {
        self.slots.get(token.place()).filter(|slot| slot.token == token)
    }

    /// As [`get`](Registry::get), to change it.
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Slot<T>> {
        self.slots.get_mut(token.place()).filter(|slot| slot.token == token)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Slot<T>> {
        self.set_timer(token, None);
        self.set_background(token);
        self.get_mut(token)?;
        self.slots.try_remove(token.place())
    }

    pub(crate) fn set_timer(&mut self, token: Token, at: Option<Instant>) {
        let Some(slot) = self.get_mut(token) else { return };
        let before = std::mem::replace(&mut slot.timer, at);
        if let Some(before) = before {
            self.timers.remove(&(before, token));
        }
        if let Some(at) = at {
            self.timers.insert((at, token));
        }
    }

    pub(crate) fn set_background(&mut self, token: Token) {
        let Some(slot) = self.get_mut(token) else { return };
        if !std::mem::replace(&mut slot.background, true) {
            self.foreground -= 1;
        }
    }

    pub(crate) fn wake(&mut self, token: Token) {
        let Some(slot) = self.get_mut(token) else { return };
        if !std::mem::replace(&mut slot.woken, true) {
            self.woken.push(token);
        }
    }

    pub(crate) fn again(&mut self, token: Token) {
        let Some(slot) = self.get_mut(token) else { return };
        if !std::mem::replace(&mut slot.again, true) {
            self.again.push(token);
        }
    }

    /// The tokens of all handlers.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.slots.iter().map(|(_, slot)| slot.token).collect()
    }

    /// Whether handlers are to be called without a wait.
    pub(crate) fn is_busy(&self) -> bool {
        !(self.added.is_empty() && self.woken.is_empty() && self.again.is_empty())
    }

    /// An empty write buffer.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a write buffer back that is no longer needed.
    pub(crate) fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if fits && self.buffers.len() < BUFFERS_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;
    impl Handler<()> for Nothing {}

    #[test]
    fn the_timers_never_outnumber_the_handlers() {
        let mut registry = Registry::<()>::new();
        let now = Instant::now();
        let kept = registry.insert(Box::new(Nothing));
        for moves in 0..100 {
            registry.set_timer(kept, Some(now + Duration::from_secs(moves)));
            let gone = registry.insert(Box::new(Nothing));
            registry.set_timer(gone, Some(now));
            registry.remove(gone);
            registry.set_timer(gone, Some(now)); // Whose place is free, or another's.
            assert_eq!(registry.timers.len(), 1);
        }
        registry.set_timer(kept, None);
        assert!(registry.timers.is_empty());
    }
}
