//! Opening one connection without blocking.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use server_process::address::{Address, Transport};
use socket2::{SockAddr, Socket, Type};

/// A non-blocking socket whose connect(2) has started. When the connection is established, or has
/// failed, the socket is writable.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) socket: Socket,
    pub(crate) connected: bool,
}

impl Connecting {
    /// Starts a non-blocking connect, from `source` if given. connect(2) of a UDP socket sends
    /// nothing; from then on the kernel drops the datagrams of other senders (udp(7)).
    pub(crate) fn begin(address: &Address, source: Option<IpAddr>) -> io::Result<Connecting> {
        let kind = match address.transport() {
            Transport::Udp => Type::DGRAM,
            Transport::Tcp | Transport::Unix => Type::STREAM,
        };
        let peer = address.to_sock_addr()?;
        let socket = Socket::new(address.domain(), kind, None)?;
        socket.set_nonblocking(true)?;
        if let Address::Tcp(_) = address {
            // A message must not wait until the previous one is acknowledged (tcp(7)).
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(source) = source {
            // connect(2) then chooses a port that is free for this peer. bind(2) would need a port that
            // is free for all peers (ip(7)).
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        let connected = match socket.connect(&peer) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => false,
            Err(error) => return Err(error),
        };
        Ok(Connecting { socket, connected })
    }

    /// Waits until the connection is established.
    ///
    /// # Errors
    ///
    /// The error of connect(2), or `TimedOut` at `deadline`.
    pub(crate) fn finish(self, deadline: Instant) -> io::Result<Socket> {
        if self.connected {
            return Ok(self.socket);
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut fds, poll_timeout(left)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            return match self.socket.take_error()? {
                Some(error) => Err(error),
                None => Ok(self.socket),
            };
        }
    }
}

/// `left` as a timeout of poll(2): in milliseconds, rounded up so that a wait does not end early.
pub(crate) fn poll_timeout(left: Duration) -> PollTimeout {
    let millis = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
}
