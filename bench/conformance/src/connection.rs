//! A connection to the server. Each wait has an end, and each failure names its cause where it can.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use server_process::address::Address;
use server_process::proc;
use socket2::{Socket, Type};

use crate::cause::Cause;
use crate::verdict::{Trouble, Verdict, fails_because};
use crate::watch::{ENDING, LOOK_INTERVAL, Stall, Watch};
use crate::{tcp, words};

/// The most payload of a TCP segment, as on Ethernet. With loopback's 64 KiB, the kernel reserves several
/// times the memory for each connection. Fifty connections that nobody reads would then use all memory
/// that the kernel has for TCP (tcp_mem), and the kernel would drop packets.
const SEGMENT_BYTES: u32 = 1460;

/// A non-blocking socket that is connected to the server, or about to be.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    /// The timeout of one answer.
    pub(crate) timeout: Duration,
    /// The port of the server. `None` for a Unix-domain socket.
    port: Option<u16>,
    /// `None` when the process of the server is not ours.
    watch: Option<Watch>,
}

/// What one read has found.
pub(crate) enum Found {
    Bytes(usize),
    End,
    Nothing,
}

impl Connection {
    /// Starts a non-blocking connect. With a full backlog, TCP returns at once. A Unix-domain socket
    /// retries until there is room, at most for `timeout`.
    pub(crate) fn begin(
        addr: &Address,
        timeout: Duration,
        watch: Option<Watch>,
    ) -> Verdict<Connection> {
        let socket = Socket::new(addr.domain(), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Address::Tcp(_) = addr {
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_mss(SEGMENT_BYTES)?;
            // BBR, the default of some systems, pauses by itself. The suite takes a pause for a server
            // that has stopped reading. Reno is on every system, and needs no permission.
            let _ = socket.set_tcp_congestion(b"reno");
        }
        let port = addr.socket_addr().ok().map(|addr| addr.port());
        let connection = Connection { socket, timeout, port, watch };
        let (to, deadline) = (addr.to_sock_addr()?, connection.deadline());
        while let Err(error) = connection.socket.connect(&to) {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINPROGRESS) => break,
                // A Unix-domain socket whose backlog is full.
                Some(Errno::EAGAIN) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Some(Errno::EADDRNOTAVAIL) => return Err(Trouble::NoLocalPort),
                _ => return connection.refused(addr, &error),
            }
        }
        Ok(connection)
    }

    /// Waits until the connection to `addr` is established. On loopback, it is established when the
    /// server's kernel has queued it. The server need not have accepted it.
    pub(crate) fn expect_established(&self, addr: &Address) -> Verdict {
        if !self.wait(PollFlags::POLLOUT, self.deadline()) {
            let limit = words::duration(self.timeout);
            return self.fails(
                format_args!("a connection to {addr} within {limit}"),
                "the connection was not established",
            );
        }
        match self.socket.take_error()? {
            None => Ok(()),
            Some(error) => self.refused(addr, &error),
        }
    }

    /// The failure of a connect.
    fn refused<T>(&self, addr: &Address, error: &io::Error) -> Verdict<T> {
        self.fails_at_end(
            format_args!("a connection to {addr}"),
            format_args!("connect failed: {error}"),
        )
    }

    /// Reads once.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Verdict<Found> {
        match (&self.socket).read(buffer) {
            Ok(0) => Ok(Found::End),
            Ok(count) => Ok(Found::Bytes(count)),
            Err(error) if is_not_now(&error) => Ok(Found::Nothing),
            Err(error) => self.fails_at_end(
                "a connection that lasts until the client has all bytes back",
                format_args!("receiving failed: {error}"),
            ),
        }
    }

    /// Writes once, and returns how many bytes the kernel took. 0 means that it takes none now.
    pub(crate) fn write(&self, bytes: &[u8]) -> Verdict<usize> {
        match (&self.socket).write(bytes) {
            Ok(taken) => Ok(taken),
            Err(error) if is_not_now(&error) => Ok(0),
            Err(error) => self.fails_at_end(
                "a server that continues to read",
                format_args!("sending failed: {error}"),
            ),
        }
    }

    /// Waits until the server's kernel has acknowledged all bytes. The server need not have read them.
    pub(crate) fn wait_until_arrived(&self) -> Verdict {
        let deadline = self.deadline();
        while tcp::unacknowledged(&self.socket)? > 0 {
            if Instant::now() >= deadline {
                return self.fails(
                    "the server's kernel acknowledges what the client has sent",
                    "it does not, since its buffer is full",
                );
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether bytes are on the way that the server's kernel has not acknowledged.
    pub(crate) fn is_in_flight(&self) -> bool {
        tcp::is_in_flight(&self.socket)
    }

    /// Shuts down the sending half: after the bytes that were sent, the server reads end of stream.
    pub(crate) fn half_close(&self) -> Verdict {
        match self.socket.shutdown(Shutdown::Write) {
            Ok(()) => Ok(()),
            Err(error) => self.fails_at_end(
                "a connection that lasts until the client closes it",
                format_args!("the half-close failed: {error}"),
            ),
        }
    }

    /// Closes the connection with RST: a close with SO_LINGER of 0 discards the bytes on the way
    /// (socket(7)). A Unix-domain socket has no reset, and closes in the ordinary way.
    pub(crate) fn reset(self) {
        // An error means that the server has reset first.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    /// Whether a packet in either direction is on its way, or this is unknown. A kernel repeats what was
    /// dropped, with growing pauses in which the server may sleep.
    fn has_packets_on_the_way(&self) -> bool {
        if tcp::is_connecting(&self.socket) || tcp::is_in_flight(&self.socket) {
            return true;
        }
        let Some(server) = self.port else { return false };
        let client = self.socket.local_addr().ok().and_then(|addr| addr.as_socket());
        let of_server =
            client.and_then(|client| proc::unacknowledged(server, client.port()).ok().flatten());
        of_server != Some(0)
    }

    /// A failure while the connection lasts.
    pub(crate) fn fails<T>(
        &self,
        expected: impl fmt::Display,
        seen: impl fmt::Display,
    ) -> Verdict<T> {
        fails_because(self.cause(Duration::ZERO), expected, seen)
    }

    /// A failure at the end of the connection. The server may be about to end too.
    pub(crate) fn fails_at_end<T>(
        &self,
        expected: impl fmt::Display,
        seen: impl fmt::Display,
    ) -> Verdict<T> {
        fails_because(self.cause(ENDING), expected, seen)
    }

    /// The cause of a failure, if it shows from here. `limit` is the longest wait for the server's end.
    pub(crate) fn cause(&self, limit: Duration) -> Option<Cause> {
        let of_server = self.watch.as_ref().and_then(|watch| watch.cause(limit));
        of_server.or_else(|| {
            let port = self.port.filter(|_| tcp::is_connecting(&self.socket))?;
            proc::accept_queue(port).ok().flatten().map(Cause::Backlog)
        })
    }

    /// What the server does while the client waits in vain, to follow another text.
    pub(crate) fn state(&self) -> &'static str {
        match &self.watch {
            _ if tcp::is_connecting(&self.socket) => "; the connection was not established",
            Some(watch) if watch.is_asleep() => "; all threads of the server sleep",
            Some(_) => "; the server uses CPU time",
            None => "",
        }
    }

    /// The end of the timeout of an answer that is expected from now on.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sleeps until poll(2) reports one of `events`, an error or a hang-up. Returns false at `deadline`, or
    /// earlier when the server has slept for so long that no answer can come.
    pub(crate) fn wait(&self, events: PollFlags, deadline: Instant) -> bool {
        let mut stall = self.watch.as_ref().map(Watch::stall);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.poll(events, if stall.is_some() { left.min(LOOK_INTERVAL) } else { left }) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            let stalled = stall.as_mut().is_some_and(Stall::look);
            // The answer may have come during the look.
            if stalled && !self.poll(events, Duration::ZERO) && !self.has_packets_on_the_way() {
                return false;
            }
        }
    }

    /// Whether poll(2) reports one of `events`, an error or a hang-up now or within `limit`. May return
    /// false earlier: after a signal, or since poll(2) rounds down to milliseconds.
    fn poll(&self, events: PollFlags, limit: Duration) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), events)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, limit).is_ok_and(|ready| ready > 0)
    }
}

/// Whether a call on a non-blocking socket must only be repeated.
fn is_not_now(error: &io::Error) -> bool {
    // ENOTCONN: the connection is not established yet.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}
