//! What a server takes from its socket: a client's stream, or a datagram.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use echo::{Accepted, Address, DatagramSocket, Listener, Options, Sender};
use socket2::Socket;

use crate::BACKLOG;

/// What a server takes from its socket, once in each turn of its loop, and gives to a
/// [`Handler`](crate::Handler).
///
/// [`Socket`] is a client's connected stream. [`Datagram`] is a packet, with the way back to its
/// sender. Both work over IP and over Unix-domain sockets: the [`Address`] decides.
///
/// ```
/// use socketserver::{Address, Datagram, Request, Socket};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let any: Address = "127.0.0.1:0".parse()?;
/// let (tcp, udp) = (<Socket as Request>::bind(&any)?, <Datagram as Request>::bind(&any)?);
/// assert_ne!(Socket::address(&tcp)?, any); // The system has chosen a port.
/// assert_ne!(Datagram::address(&udp)?, any);
/// # Ok(())
/// # }
/// ```
pub trait Request: Sized + Send + Sync + 'static {
    /// The bound socket that the requests come from. It is readable when a request waits.
    type Source: AsFd + Send;

    /// Binds the socket, which must not block.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound; the message says what to do.
    fn bind(addr: &Address) -> echo::Result<Self::Source>;

    /// The address that was really bound.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    fn address(source: &Self::Source) -> io::Result<Address>;

    /// Takes the request that has waited longest, while `active` are being served.
    ///
    /// # Errors
    ///
    /// What concerns the bound socket itself, and so ends the server.
    fn take(source: &mut Self::Source, active: usize) -> io::Result<Taken<Self>>;

    /// Ends the reception for this request when the server closes. Runs on another thread than the
    /// handler.
    fn end_reading(&self) {}

    /// Wakes the handler from any call that waits, when the drain of a close is over. Runs on
    /// another thread than the handler.
    fn cut_off(&self) {}

    /// The last step of a request's life: tells the peer that nothing more comes.
    fn close(&self) {}
}

/// What [`Request::take`] has found.
///
/// ```
/// use socketserver::{Request, Socket, Taken};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = <Socket as Request>::bind(&"127.0.0.1:0".parse()?)?;
/// assert!(matches!(Socket::take(&mut listener, 0)?, Taken::Nobody));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum Taken<R> {
    /// This one.
    Request(R),
    /// None waits. A client may have left since poll(2) reported it.
    Nobody,
    /// One waits, but a descriptor or memory is missing: try again after a pause.
    Shortage,
}

impl Request for Socket {
    type Source = Listener;

    fn bind(addr: &Address) -> echo::Result<Listener> {
        let options = Options {
            addr: addr.clone(),
            backlog: BACKLOG,
            max_connections: None,
            drain: Duration::ZERO,
            work: Duration::ZERO,
            idle_timeout: None,
            verbose: false,
        };
        let mut listener = Listener::bind(&options, usize::MAX)?;
        listener.set_nonblocking()?;
        Ok(listener)
    }

    fn address(listener: &Listener) -> io::Result<Address> {
        listener.local_addr()
    }

    fn take(listener: &mut Listener, active: usize) -> io::Result<Taken<Socket>> {
        match listener.accept(active)? {
            // The listener does not block, and its streams do not either. A handler's stream does.
            Accepted::Client(stream) => match stream.set_nonblocking(false) {
                Ok(()) => Ok(Taken::Request(stream)),
                Err(_) => Ok(Taken::Nobody), // Some systems refuse options after a peer's reset.
            },
            Accepted::Nobody => Ok(Taken::Nobody),
            Accepted::Full => Ok(Taken::Shortage),
        }
    }

    fn end_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }

    fn cut_off(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn close(&self) {
        // The peer sees the end of the stream now, even if a forked process still has a copy of it.
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// A packet, and the way back to its sender.
///
/// ```
/// use std::net::UdpSocket;
/// use socketserver::{Concurrency, Datagram, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = |datagram: &Datagram| datagram.reply(datagram.bytes());
/// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::one_at_a_time(), echo)?;
///
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", server.address()?.to_string())?;
/// assert!(server.handle_request(None)?);
/// assert_eq!(client.recv(&mut [0; 64])?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Datagram {
    bytes: Vec<u8>,
    sender: Option<Sender>,
    socket: Arc<DatagramSocket>,
}

impl Datagram {
    /// What was sent; may be empty. A datagram of [`SCRATCH_BYTES`](echo::SCRATCH_BYTES) or more is
    /// dropped before, because its end may be missing. Only a Unix-domain socket carries such a
    /// one.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends one datagram back to the sender. Does not wait until the peer has room for it.
    ///
    /// # Errors
    ///
    /// Those of sendto(2): `WouldBlock` when the peer has no room. `NotConnected` when the sender
    /// has no address: a Unix-domain socket that is not bound.
    pub fn reply(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.sender {
            Some(sender) => self.socket.send(bytes, sender),
            None => Err(io::Error::new(ErrorKind::NotConnected, "the sender has no address")),
        }
    }
}

/// The bound socket that [`Datagram`]s come from.
///
/// ```
/// use socketserver::{Datagram, Datagrams, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket: Datagrams = Datagram::bind(&"127.0.0.1:0".parse()?)?;
/// println!("{}", Datagram::address(&socket)?);
/// # Ok(())
/// # }
/// ```
pub struct Datagrams {
    socket: Arc<DatagramSocket>,
    buffer: Vec<u8>,
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Request for Datagram {
    type Source = Datagrams;

    fn bind(addr: &Address) -> echo::Result<Datagrams> {
        let socket = DatagramSocket::bind(addr)?;
        socket.set_nonblocking()?;
        Ok(Datagrams { socket: Arc::new(socket), buffer: vec![0; echo::SCRATCH_BYTES] })
    }

    fn address(source: &Datagrams) -> io::Result<Address> {
        source.socket.local_addr()
    }

    fn take(source: &mut Datagrams, _active: usize) -> io::Result<Taken<Datagram>> {
        match source.socket.receive(&mut source.buffer) {
            Ok((received, _)) if received == source.buffer.len() => Ok(Taken::Nobody),
            Ok((received, sender)) => {
                let bytes = source.buffer[..received].to_vec();
                let socket = Arc::clone(&source.socket);
                Ok(Taken::Request(Datagram { bytes, sender, socket }))
            }
            Err(error) => match error.kind() {
                // No datagram, or one with a wrong checksum, or a signal.
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Taken::Nobody),
                _ => Err(error),
            },
        }
    }
}
