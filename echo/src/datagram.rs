//! Echo over UDP: the other half of RFC 862.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, sendto};
use socket2::{Socket, Type};

use crate::listener::announce;
use crate::{Address, Options, Scratch, Tally, bad_arguments};

// The largest datagram that UDP over IPv4 carries is 65 507 bytes: a read into less would cut it.
const _: () = assert!(crate::SCRATCH_BYTES > 65_507);

/// Binds a UDP socket to `--addr`, and prints `listening on ADDR`.
///
/// There is nothing to listen for, to accept, or to close: a client is an address on a datagram, and no
/// state of it is kept. Nor is there back-pressure: what does not fit into a buffer is lost.
///
/// Do not let strangers reach it: a datagram with a forged sender makes two echo servers send to each
/// other for ever.
///
/// # Errors
///
/// When the address cannot be bound; and [`bad_arguments`] when it is a Unix-domain one.
pub fn bind_datagrams(options: &Options) -> io::Result<UdpSocket> {
    let Address::Tcp(addr) = options.addr else {
        return Err(bad_arguments("--udp needs an --addr of the form IP:PORT"));
    };
    let bind = || {
        // Not SO_REUSEADDR: on UDP it would let two servers take datagrams from each other.
        let socket = Socket::new(options.addr.domain(), Type::DGRAM, None)?;
        socket.bind(&addr.into())?;
        Ok(UdpSocket::from(socket))
    };
    let socket = bind().map_err(|error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot bind UDP {addr}: {error}; choose another --addr"),
        )
    })?;
    announce(&Address::Tcp(socket.local_addr()?))?;
    Ok(socket)
}

/// Echoes one datagram: recvfrom(2), sendto(2).
///
/// One that cannot be sent back counts as an error in `tally` and is lost, as UDP allows.
///
/// # Errors
///
/// Those of recvfrom(2): `WouldBlock` when none has arrived and the socket does not block, `Interrupted`
/// after a signal; and `UnexpectedEof` once the socket was shut down and the last has been read.
pub fn echo_datagram(
    socket: &UdpSocket,
    scratch: &mut Scratch,
    tally: &mut Tally,
) -> io::Result<()> {
    // Not std's `recv_from`: on a socket that was shut down there is no sender, and it panics.
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
