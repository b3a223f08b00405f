//! mio: always edge-triggered, one system call for each wait.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll};

use super::{EVENTS_PER_WAIT, Selector, add_exclusive};
use crate::{Event, Interest, Token, Trigger};

/// The selector of the mio crate.
#[derive(Debug)]
pub struct Mio {
    poll: Poll,
    events: Events,
}

impl Selector for Mio {
    fn new(trigger: Trigger) -> io::Result<Mio> {
        if trigger != Trigger::Edge {
            return Err(io::Error::other(
                "mio is always edge-triggered; use --selector polling for level and oneshot",
            ));
        }
        Ok(Mio { poll: Poll::new()?, events: Events::with_capacity(EVENTS_PER_WAIT) })
    }

    fn trigger(&self) -> Trigger {
        Trigger::Edge
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        if interest.exclusive {
            return add_exclusive(self.poll.as_raw_fd(), fd, token, Trigger::Edge);
        }
        let interest = translate(interest)?;
        let token = mio::Token(token.to_key());
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let interest = translate(interest)?;
        let token = mio::Token(token.to_key());
        self.poll.registry().reregister(&mut SourceFd(&fd.as_raw_fd()), token, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal came first.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        events.extend(self.events.iter().map(|event| Event {
            token: Token::from_key(event.token().0),
            readable: event.is_readable(),
            writable: event.is_writable(),
            // A read stops at urgent data (tcp(7)), so a short read has not emptied the socket
            // either.
            read_closed: event.is_read_closed() || event.is_error() || is_urgent(event),
        }));
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn is_urgent(event: &mio::event::Event) -> bool {
    event.is_priority()
}

/// Elsewhere mio does not report urgent data.
#[cfg(not(target_os = "linux"))]
fn is_urgent(_: &mio::event::Event) -> bool {
    false
}

/// What is asked for a readable socket: on Linux, urgent data too.
#[cfg(target_os = "linux")]
const READABLE: mio::Interest = mio::Interest::READABLE.add(mio::Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const READABLE: mio::Interest = mio::Interest::READABLE;

/// mio cannot express an empty interest.
fn translate(interest: Interest) -> io::Result<mio::Interest> {
    match (interest.readable, interest.writable) {
        (true, true) => Ok(READABLE | mio::Interest::WRITABLE),
        (true, false) => Ok(READABLE),
        (false, true) => Ok(mio::Interest::WRITABLE),
        (false, false) => Err(ErrorKind::InvalidInput.into()),
    }
}
