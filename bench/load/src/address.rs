//! Where the server listens, and how to connect to it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address, here or on another machine.
    Tcp(SocketAddr),
    /// A UDP address, here or on another machine.
    Udp(SocketAddr),
    /// The path of a stream socket of this machine (unix(7)).
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    /// `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; a host's name is looked up at once.
    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        let mut found = text
            .to_socket_addrs()
            .map_err(|error| format!("{error}; give it as HOST:PORT, [IPV6]:PORT or unix:PATH"))?;
        found.next().map(Address::Tcp).ok_or_else(|| "the name has no address".to_owned())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Udp(address) => write!(f, "udp:{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A non-blocking socket that is connected, or on the way: then it becomes writable, or has an
/// error.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) socket: Socket,
    pub(crate) connected: bool,
}

impl Address {
    /// Whether `source` is an address of the same family.
    pub(crate) fn is_reachable_from(&self, source: &IpAddr) -> bool {
        match self {
            Address::Tcp(address) | Address::Udp(address) => address.is_ipv4() == source.is_ipv4(),
            Address::Unix(_) => false,
        }
    }

    /// The same address for datagrams.
    ///
    /// # Errors
    ///
    /// A path has none here.
    pub fn over_udp(self) -> crate::Result<Address> {
        match self {
            Address::Tcp(address) | Address::Udp(address) => Ok(Address::Udp(address)),
            Address::Unix(_) => Err(crate::Error::BadPlan(
                "UDP has no paths: give HOST:PORT or [IPV6]:PORT".to_owned(),
            )),
        }
    }

    /// Begins to connect, from `source` if given. To connect(2) a UDP socket sends nothing: it has
    /// the kernel drop what comes from anyone else (udp(7)).
    pub(crate) fn connect(&self, source: Option<IpAddr>) -> io::Result<Connecting> {
        let (domain, kind, peer) = match self {
            Address::Tcp(address) => {
                (Domain::for_address(*address), Type::STREAM, (*address).into())
            }
            Address::Udp(address) => {
                (Domain::for_address(*address), Type::DGRAM, (*address).into())
            }
            Address::Unix(path) => (Domain::UNIX, Type::STREAM, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        if let Address::Tcp(_) = self {
            // A message must not wait for the acknowledgement of the one before (tcp(7)).
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(source) = source {
            // The port is chosen by connect(2), which needs it to be free for this peer only;
            // bind(2) would want one that is free for all (ip(7)).
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
}

impl Connecting {
    /// Waits until the connection stands.
    ///
    /// # Errors
    ///
    /// That of connect(2), or `TimedOut` at `deadline`.
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

/// `left` as poll(2) has it: in milliseconds, rounded up, so that a wait does not end early.
pub(crate) fn poll_timeout(left: Duration) -> PollTimeout {
    let millis = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
}
