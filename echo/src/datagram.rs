//! Echo over UDP: the other half of RFC 862.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto};
use socket2::{Socket, Type};

use crate::listen::announce;
use crate::{Address, Error, Options, Result, Scratch, Tally};

// The largest datagram that UDP over IPv4 carries is 65 507 bytes: a read into less would cut it.
const _: () = assert!(crate::SCRATCH_BYTES > 65_507);

/// Binds a UDP socket to `--addr`, and prints `listening on ADDR`.
///
/// UDP has nothing to accept or to close. A client is an address on a datagram, and the server keeps no
/// state of it. UDP has no back-pressure: what does not fit into a buffer is lost.
///
/// Do not let strangers reach it: a datagram with a forged sender makes two echo servers send to each
/// other without end.
///
/// # Errors
///
/// When the address cannot be bound; and [`Error::BadArguments`] for a Unix-domain address.
pub fn bind_datagrams(options: &Options) -> Result<UdpSocket> {
    let Address::Tcp(addr) = options.addr else {
        return Err(Error::bad_arguments("--udp needs an --addr of the form HOST:PORT"));
    };
    let bind = || -> io::Result<UdpSocket> {
        // Not SO_REUSEADDR: on UDP it would let two servers take datagrams from each other.
        let socket = Socket::new(options.addr.domain(), Type::DGRAM, None)?;
        socket.bind(&addr.into())?;
        Ok(UdpSocket::from(socket))
    };
    let socket = bind().map_err(|source| Error::Listen {
        address: options.addr.clone(),
        source,
        hint: "; choose another --addr",
    })?;
    announce(&Address::Tcp(socket.local_addr()?))?;
    Ok(socket)
}

/// Echoes one datagram: recvfrom(2), sendto(2).
///
/// A datagram that cannot be sent back is lost, as UDP allows, and counts as an error in `tally`.
///
/// # Errors
///
/// Those of recvfrom(2): `WouldBlock` when the socket does not block and no datagram has arrived, and
/// `Interrupted` after a signal. `UnexpectedEof` when the socket was shut down and is empty.
pub fn echo_datagram(
    socket: &UdpSocket,
    scratch: &mut Scratch,
    tally: &mut Tally,
) -> io::Result<()> {
    // Not std's `recv_from`: a socket that was shut down names no sender, and std panics then.
    let (received, sender) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut scratch.buffer)?;
    let Some(sender) = sender else { return Err(ErrorKind::UnexpectedEof.into()) };
    scratch.work();
    let datagram = &scratch.buffer[..received];
    match sendto(socket.as_raw_fd(), datagram, &sender, MsgFlags::empty()) {
        Ok(sent) => tally.sent(sent as u64),
        Err(error) => tally.lost(&error.into()),
    }
    Ok(())
}
