//! Echo of datagrams: the other half of RFC 862, over UDP or a Unix-domain socket.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto};
use socket2::{Socket, Type};

use crate::listen::{SocketFile, announce, bind_error, local_addr, remove_if_stale};
use crate::{Address, Options, Result, Scratch, Tally};

// The largest datagram that UDP over IPv4 carries is 65 507 bytes: a read into less would cut it.
const _: () = assert!(crate::SCRATCH_BYTES > 65_507);

/// A bound datagram socket: UDP (udp(7)) for an [`Address::Tcp`], a Unix-domain socket (unix(7))
/// for an [`Address::Unix`].
///
/// Datagrams have no connection: there is nothing to accept or to close. A client is an address on
/// a datagram, and the server keeps no state of it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = echo::DatagramSocket::bind(&"127.0.0.1:0".parse()?)?;
/// let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", socket.local_addr()?.to_string())?;
///
/// let mut buffer = [0; 64];
/// let (received, sender) = socket.receive(&mut buffer)?;
/// if let Some(sender) = sender {
///     socket.send(&buffer[..received], &sender)?;
/// }
/// assert_eq!(client.recv(&mut [0; 64])?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    ended: AtomicBool,
    /// Removes the socket's file when the socket is dropped.
    file: Option<SocketFile>,
}

/// The address that a datagram came from. A Unix-domain socket has one only if it is bound.
#[derive(Clone, Debug)]
pub struct Sender(SockaddrStorage);

/// Binds a datagram socket to `--addr`, and prints `listening on ADDR`.
///
/// Datagrams have no back-pressure here: what does not fit into a buffer is lost.
///
/// Do not let strangers reach it: a datagram with a forged sender makes two echo servers send to
/// each other without end.
///
/// # Errors
///
/// When the address cannot be bound or stdout cannot be written; the message says what to do.
pub fn bind_datagrams(options: &Options) -> Result<DatagramSocket> {
    let socket = DatagramSocket::bind(&options.addr)?;
    announce(&socket.local_addr()?)?;
    Ok(socket)
}

impl DatagramSocket {
    /// Binds a socket that blocks. Replaces the file of a Unix-domain socket that no process has
    /// open.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound; the message says what to do.
    pub fn bind(addr: &Address) -> Result<DatagramSocket> {
        let bind = || -> io::Result<Socket> {
            // Not SO_REUSEADDR: on UDP it would let two servers take datagrams from each other.
            let socket = Socket::new(addr.domain(), Type::DGRAM, None)?;
            remove_if_stale(addr)?;
            socket.bind(&addr.to_sockaddr()?)?;
            Ok(socket)
        };
        let socket = bind().map_err(|source| bind_error(addr, source))?;
        Ok(DatagramSocket { socket, ended: AtomicBool::new(false), file: SocketFile::of(addr) })
    }

    /// The address that was really bound.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<Address> {
        local_addr(&self.socket, self.file.as_ref())
    }

    /// Makes [`receive`](DatagramSocket::receive) answer `WouldBlock` when no datagram waits.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Ends the reception, and wakes a thread that sleeps in it. What has arrived can still be
    /// received; behind the last datagram, [`receive`](DatagramSocket::receive) fails with
    /// `UnexpectedEof`.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        // Fails with ENOTCONN over UDP, and wakes recvfrom(2) all the same.
        let _ = self.socket.shutdown(Shutdown::Read);
    }

    /// Receives one datagram: recvfrom(2). Returns its length in bytes, and its sender if the
    /// sender has an address. A datagram that fills the whole of `buffer` may have been longer: the
    /// rest is gone.
    ///
    /// # Errors
    ///
    /// Those of recvfrom(2): `WouldBlock` when the socket does not block and no datagram has
    /// arrived, and `Interrupted` after a signal. `UnexpectedEof` after
    /// [`end`](DatagramSocket::end), when no datagram is left.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Sender>)> {
        // Not std's `recv_from`: a socket that was shut down names no sender, and std panics then.
        match recvfrom(self.socket.as_raw_fd(), buffer) {
            // A socket that was shut down answers (0, None). An empty datagram from a Unix-domain
            // socket without an address looks the same, so `ended` decides.
            Ok((0, None)) | Err(Errno::EAGAIN) if self.ended.load(Ordering::Relaxed) => {
                Err(ErrorKind::UnexpectedEof.into())
            }
            Ok((received, sender)) => Ok((received, sender.map(Sender))),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one datagram, without waiting for room: sendto(2) with MSG_DONTWAIT. A Unix-domain
    /// socket would otherwise wait until the peer reads, and one peer could stop the server for
    /// all.
    ///
    /// # Errors
    ///
    /// Those of sendto(2). Each concerns this datagram alone: `WouldBlock` when there is no room
    /// for it.
    pub fn send(&self, bytes: &[u8], to: &Sender) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), bytes, &to.0, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Echoes one datagram: recvfrom(2), sendto(2).
///
/// A datagram that cannot be sent back is lost, and counts as an error in `tally`. These are: one
/// that the sender has no room for, one whose sender has no address, and one that fills the whole
/// of `scratch`, because its end may be missing. UDP carries none as long as that; a Unix-domain
/// socket does.
///
/// # Errors
///
/// Those of [`DatagramSocket::receive`].
pub fn echo_datagram(
    socket: &DatagramSocket,
    scratch: &mut Scratch,
    tally: &mut Tally,
) -> io::Result<()> {
    let (received, sender) = socket.receive(&mut scratch.buffer)?;
    scratch.work();
    let echoed = match sender {
        None => Err(Errno::EDESTADDRREQ.into()),
        Some(_) if received == scratch.buffer.len() => Err(Errno::EMSGSIZE.into()),
        Some(sender) => socket.send(&scratch.buffer[..received], &sender),
    };
    match echoed {
        Ok(()) => tally.sent(received as u64),
        Err(error) => tally.lost(&error),
    }
    Ok(())
}
