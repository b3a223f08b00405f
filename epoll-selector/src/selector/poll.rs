//! poll(2): always level-triggered. The list is ours, and the kernel walks it on each wait.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Selector;
use crate::{Event, Interest, Token, Trigger};

/// The selector that every Unix has. The cost of a wait grows with the descriptors on the list.
#[derive(Debug, Default)]
pub struct Poll {
    /// What the kernel is asked: one entry for each descriptor.
    list: Vec<PollFd<'static>>,
    /// The handler behind each entry of the list.
    tokens: Vec<Token>,
    /// Where in the list a descriptor is.
    places: HashMap<RawFd, usize>,
}

impl Selector for Poll {
    fn new(trigger: Trigger) -> io::Result<Poll> {
        if trigger != Trigger::Level {
            return Err(io::Error::other(
                "poll is always level-triggered; use --selector polling for edge and oneshot",
            ));
        }
        Ok(Poll::default())
    }

    fn trigger(&self) -> Trigger {
        Trigger::Level
    }

    #[allow(unsafe_code)] // The list outlives the borrow.
    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        if interest.exclusive {
            return Err(io::Error::other("poll cannot wake one of several loops"));
        }
        if self.places.contains_key(&fd.as_raw_fd()) {
            return Err(Errno::EEXIST.into());
        }
        // SAFETY: the reactor removes each descriptor before it drops the handler that owns it.
        // poll(2) answers POLLNVAL for a descriptor that was closed all the same.
        let kept = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        self.places.insert(fd.as_raw_fd(), self.list.len());
        self.list.push(PollFd::new(kept, translate(interest)));
        self.tokens.push(token);
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let place = *self.places.get(&fd.as_raw_fd()).ok_or(Errno::ENOENT)?;
        self.list[place].set_events(translate(interest));
        self.tokens[place] = token;
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let place = self.places.remove(&fd.as_raw_fd()).ok_or(Errno::ENOENT)?;
        self.list.swap_remove(place);
        self.tokens.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(std::os::fd::AsFd::as_fd(moved).as_raw_fd(), place);
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        // Rounded up to whole milliseconds, so that the time has come when the call returns.
        let timeout = timeout.map(|timeout| timeout.as_nanos().div_ceil(1_000_000));
        let timeout = timeout.map_or(PollTimeout::NONE, |milliseconds| {
            PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut self.list, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()), // A signal came first.
            Err(error) => return Err(error.into()),
        }
        for (entry, token) in self.list.iter().zip(&self.tokens) {
            let answer = entry.revents().unwrap_or(PollFlags::all());
            if answer.is_empty() {
                continue;
            }
            // These come unasked, and a read or a write tells which it was.
            let ended =
                answer.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL);
            events.push(Event {
                token: *token,
                readable: ended || answer.contains(PollFlags::POLLIN),
                writable: ended || answer.contains(PollFlags::POLLOUT),
                read_closed: true, // Not every system has POLLRDHUP, so this cannot tell.
            });
        }
        Ok(())
    }
}

fn translate(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, interest.readable);
    flags.set(PollFlags::POLLOUT, interest.writable);
    flags
}
