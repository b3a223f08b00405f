//! Connecting out without waiting.

use std::io::{self, ErrorKind};

use nix::errno::Errno;
use socket2::{SockAddr, Socket, Type};

/// Starts to connect, and returns at once. The socket becomes writable when the attempt has ended;
/// then [`connected`] says how. [`Conversation::connecting`](crate::Conversation::connecting) does
/// both.
///
/// TCP_NODELAY is set where the socket has it: small messages leave at once.
///
/// ```
/// use std::net::TcpListener;
/// use std::os::fd::AsFd;
/// use epoll_selector::{Interest, Mio, Selector, Token, Trigger, connect, connected};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let socket = connect(&listener.local_addr()?.into())?;
/// let mut selector = Mio::new(Trigger::Edge)?;
/// selector.add(socket.as_fd(), Token::from_key(0), Interest::WRITE)?;
/// let mut events = Vec::new();
/// selector.wait(None, &mut events)?;
/// assert!(connected(&socket)?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of socket(2) and connect(2), except EINPROGRESS. A Unix-domain socket whose backlog is
/// full says `WouldBlock`: try again later.
pub fn connect(to: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(to.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_tcp_nodelay(true); // Fails for a Unix-domain socket.
    match socket.connect(to) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(socket),
        // A signal came first. The attempt goes on (connect(2)).
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Whether the socket is connected, or still connecting. Call this at the first writable event,
/// before any read or write: SO_ERROR (socket(7)) has the reason of a failure, and only once. Shown
/// at [`connect`].
///
/// # Errors
///
/// Why the attempt has failed, such as `ConnectionRefused`.
pub fn connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
