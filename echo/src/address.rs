//! Where a server listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use socket2::{Domain, SockAddr};

/// The address of a socket: an address and a port over IPv4 or IPv6, or a Unix-domain socket (unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Written `127.0.0.1:7000`, `[::1]:7000` or `localhost:7000`; port 0 asks for a free one. Datagrams
    /// use UDP here.
    Tcp(SocketAddr),
    /// Written `unix:/path/to/socket`.
    Unix(PathBuf),
}

impl Address {
    /// The family of sockets that can be bound to it (socket(2)).
    pub fn domain(&self) -> Domain {
        match self {
            Address::Tcp(addr) => Domain::for_address(*addr),
            Address::Unix(_) => Domain::UNIX,
        }
    }

    /// The form that bind(2) takes.
    ///
    /// # Errors
    ///
    /// When a path is longer than a socket address holds: about 100 bytes.
    pub fn to_sockaddr(&self) -> io::Result<SockAddr> {
        match self {
            Address::Tcp(addr) => Ok(SockAddr::from(*addr)),
            Address::Unix(path) => SockAddr::unix(path),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads an address. A host name is resolved (getaddrinfo(3)); its first address is taken.
    fn from_str(text: &str) -> Result<Address, String> {
        let form = "write HOST:PORT such as 127.0.0.1:7000 or [::1]:7000, or unix:PATH";
        match text.strip_prefix("unix:") {
            Some("") => Err("write the path of the socket behind unix:".to_owned()),
            Some(path) => Ok(Address::Unix(path.into())),
            None if text.starts_with(':') => Err(form.to_owned()),
            None => match text.to_socket_addrs().map(|mut found| found.next()) {
                Ok(Some(addr)) => Ok(Address::Tcp(addr)),
                Ok(None) => Err("this host name has no address".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(form.to_owned()),
                Err(error) => Err(format!("{error}; {form}")),
            },
        }
    }
}
