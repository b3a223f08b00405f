//! Connections that are held open and silent.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::connecting::poll_timeout;
use crate::{Fault, Faults};

/// Events looked at per check.
const EVENTS: usize = 64;

/// Silent connections. They cost the generator nothing while a slice runs; between slices it looks
/// whether the server has kept them.
pub(crate) struct IdleHerd {
    epoll: Epoll,
    sockets: Vec<Option<Socket>>,
    events: Vec<EpollEvent>,
    first_fault: Option<String>,
}

impl IdleHerd {
    pub(crate) fn new(sockets: Vec<Socket>) -> io::Result<IdleHerd> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, socket) in sockets.iter().enumerate() {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            epoll.add(socket, EpollEvent::new(interest, index as u64))?;
        }
        Ok(IdleHerd {
            epoll,
            sockets: sockets.into_iter().map(Some).collect(),
            events: vec![EpollEvent::empty(); EVENTS],
            first_fault: None,
        })
    }

    /// Waits until something happens that should not, or `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(limit)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes and counts those that the server has spoken to or closed.
    pub(crate) fn check(&mut self) -> Faults {
        let mut faults = Faults::default();
        // An error of epoll_wait here could only be a signal: the next check sees the same events.
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

    /// Where the first fault happened, in words.
    pub(crate) fn first_fault(&self) -> Option<&str> {
        self.first_fault.as_deref()
    }
}
