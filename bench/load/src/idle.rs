//! Connections that stay open and silent.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::connecting::poll_timeout;
use crate::{Error, Fault, Faults, Result};

/// Most events for one epoll_wait(2).
const EVENTS: usize = 64;

/// Silent connections. The generator checks them between two slices, and not while a slice runs.
pub(crate) struct IdleHerd {
    epoll: Epoll,
    sockets: Vec<Option<Socket>>,
    events: Vec<EpollEvent>,
    first_fault: Option<String>,
}

impl IdleHerd {
    pub(crate) fn new(sockets: Vec<Socket>) -> Result<IdleHerd> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(Error::generator("epoll_create1(2)"))?;
        for (index, socket) in sockets.iter().enumerate() {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            let event = EpollEvent::new(interest, index as u64);
            epoll.add(socket, event).map_err(Error::generator("epoll_ctl(2)"))?;
        }
        Ok(IdleHerd {
            epoll,
            sockets: sockets.into_iter().map(Some).collect(),
            events: vec![EpollEvent::empty(); EVENTS],
            first_fault: None,
        })
    }

    /// Waits until the server speaks or closes, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(limit)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::generator("poll(2)")(error)),
        }
    }

    /// Closes and counts the connections on which the server has spoken, or has closed its side.
    pub(crate) fn check(&mut self) -> Faults {
        let mut faults = Faults::default();
        // epoll_wait(2) fails only for a signal. Then the next check sees the same events.
        while let Ok(count) = self.epoll.wait(&mut self.events, EpollTimeout::ZERO)
            && count > 0
        {
            for event in &self.events[..count] {
                let index = event.data() as usize;
                let Some(socket) = self.sockets[index].take() else { continue };
                let mut byte = [std::mem::MaybeUninit::uninit()];
                let fault = match socket.recv(&mut byte) {
                    Ok(0) => Fault::EarlyClose,
                    Ok(_) => Fault::SpokeFirst,
                    Err(error) => Fault::of(&error),
                };
                faults.add(fault);
                self.first_fault
                    .get_or_insert_with(|| format!("{} on idle connection {index}", fault.name()));
            }
        }
        faults
    }

    /// The first fault and its place, in words.
    pub(crate) fn first_fault(&self) -> Option<&str> {
        self.first_fault.as_deref()
    }
}
