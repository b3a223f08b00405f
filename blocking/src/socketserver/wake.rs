//! The self-pipe: how anything wakes a loop that sleeps in poll(2).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A byte in the pipe means: something has changed, look. What has changed is known elsewhere.
#[derive(Debug)]
pub(crate) struct Wake {
    reader: UnixStream,
    writer: UnixStream,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Wake> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Wake { reader, writer })
    }

    /// Ends the present or the next [`wait`](Wake::wait).
    pub(crate) fn ring(&self) {
        // A full pipe wakes just as well.
        let _ = (&self.writer).write(&[1]);
    }

    /// A second handle for a signal handler, which writes a byte into it.
    pub(crate) fn writer(&self) -> io::Result<UnixStream> {
        self.writer.try_clone()
    }

    /// Sleeps until somebody rings, `source` is readable, a signal comes, or `limit` is over.
    pub(crate) fn wait(
        &self,
        source: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let mut fds = [Some(self.reader.as_fd()), source]
            .map(|fd| PollFd::new(fd.unwrap_or(self.reader.as_fd()), PollFlags::POLLIN));
        // poll(2) counts whole milliseconds. What is too long for it is no limit.
        let limit = limit.map(|limit| limit.as_micros().div_ceil(1000));
        let timeout = limit.and_then(|limit| PollTimeout::try_from(limit).ok());
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].any() != Some(false) {
            // Bytes that are left wake the next wait, which finds nothing new.
            let _ = (&self.reader).read(&mut [0; 64]);
        }
        Ok(())
    }
}
