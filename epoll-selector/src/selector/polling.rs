//! polling: every trigger, and five system calls for each wait on Linux (polling arms its timer and
//! its notifier again around the wait).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use polling::{Events, PollMode, Poller};

use super::{EVENTS_PER_WAIT, Selector, add_exclusive};
use crate::{Event, Interest, Token, Trigger};

/// The selector of the polling crate.
#[derive(Debug)]
pub struct Polling {
    poller: Poller,
    events: Events,
    trigger: Trigger,
}

impl Selector for Polling {
    fn new(trigger: Trigger) -> io::Result<Polling> {
        let capacity = EVENTS_PER_WAIT.try_into().map_err(io::Error::other)?;
        Ok(Polling { poller: Poller::new()?, events: Events::with_capacity(capacity), trigger })
    }

    fn trigger(&self) -> Trigger {
        self.trigger
    }

    #[allow(unsafe_code)] // polling's `add` asks for a promise that the compiler cannot check.
    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        if interest.exclusive {
            return add_exclusive(self.poller.as_raw_fd(), fd, token, self.trigger);
        }
        let event = translate(token, interest);
        // SAFETY: the reactor removes every descriptor before the handler that owns it is dropped.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event, mode(self.trigger)) }
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        // polling's default is oneshot: `modify` without a mode would go back to it.
        self.poller.modify_with_mode(fd, translate(token, interest), mode(self.trigger))
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.events.clear(); // `wait` appends.
        self.poller.wait(&mut self.events, timeout)?; // Retries EINTR itself.
        events.extend(self.events.iter().map(|event| Event {
            token: Token::from_key(event.key),
            readable: event.readable,
            writable: event.writable,
            read_closed: true, // polling does not ask for EPOLLRDHUP, so it cannot tell.
        }));
        Ok(())
    }
}

fn translate(token: Token, interest: Interest) -> polling::Event {
    polling::Event::new(token.to_key(), interest.readable, interest.writable)
}

fn mode(trigger: Trigger) -> PollMode {
    match trigger {
        Trigger::Level => PollMode::Level,
        Trigger::Edge => PollMode::Edge,
        Trigger::Oneshot => PollMode::Oneshot,
    }
}
