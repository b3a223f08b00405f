//! Where a server listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::option;
use std::path::PathBuf;
use std::str::FromStr;

use socket2::{Domain, SockAddr};

/// Where a server listens, and what carries the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address, here or on another machine.
    Tcp(SocketAddr),
    /// A UDP address, here or on another machine.
    Udp(SocketAddr),
    /// The path of a stream socket of this machine (unix(7)).
    Unix(PathBuf),
}

/// What carries the bytes between clients and a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// A stream socket in the file system (unix(7)).
    Unix,
}

impl Address {
    /// What carries the bytes to it.
    pub fn transport(&self) -> Transport {
        match self {
            Address::Tcp(_) => Transport::Tcp,
            Address::Udp(_) => Transport::Udp,
            Address::Unix(_) => Transport::Unix,
        }
    }

    /// The same address for datagrams.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path: UDP has none.
    pub fn over_udp(self) -> io::Result<Address> {
        match self {
            Address::Tcp(addr) | Address::Udp(addr) => Ok(Address::Udp(addr)),
            Address::Unix(_) => {
                let text = "UDP has no paths: give HOST:PORT or [IPV6]:PORT";
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// The IP address and the port.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path, which has neither.
    pub fn socket_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Address::Tcp(addr) | Address::Udp(addr) => Ok(*addr),
            Address::Unix(path) => {
                let path = path.display();
                let text = format!("unix:{path} has no port");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// The address as connect(2) takes it.
    ///
    /// # Errors
    ///
    /// When the path is longer than that of a Unix-domain socket may be.
    pub fn to_sock_addr(&self) -> io::Result<SockAddr> {
        match self {
            Address::Tcp(addr) | Address::Udp(addr) => Ok(SockAddr::from(*addr)),
            Address::Unix(path) => SockAddr::unix(path),
        }
    }

    /// The family of the sockets that can connect to it.
    pub fn domain(&self) -> Domain {
        match self {
            Address::Tcp(addr) | Address::Udp(addr) => Domain::for_address(*addr),
            Address::Unix(_) => Domain::UNIX,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; a host's name is looked up at once.
    fn from_str(text: &str) -> Result<Address, String> {
        match text.strip_prefix("unix:") {
            Some("") => return Err("unix: needs a path, such as unix:/tmp/echo".to_owned()),
            Some(path) => return Ok(Address::Unix(path.into())),
            None => {}
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

impl ToSocketAddrs for Address {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(self.socket_addr()?).into_iter())
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
