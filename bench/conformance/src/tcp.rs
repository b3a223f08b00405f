//! What the kernel of the client knows of a connection (tcp(7)).

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use socket2::{Domain, Socket};

/// The bytes that the client's kernel still holds, because the server's kernel has not acknowledged them
/// (SIOCOUTQ of tcp(7), which is TIOCOUTQ under its portable name). 0 for a Unix-domain socket: what is
/// sent is in the peer's queue at once.
///
/// # Errors
///
/// Those of ioctl(2), which does not usually fail for a socket.
pub(crate) fn unacknowledged(socket: &Socket) -> io::Result<i32> {
    let mut count = 0;
    if socket.domain()? == Domain::UNIX {
        return Ok(0);
    }
    // SAFETY: the request writes one int, and `count` is an int that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    Errno::result(result)?;
    Ok(count)
}

/// Whether bytes are on the way to the server's kernel, which has not acknowledged them (tcpi_unacked of
/// TCP_INFO). Bytes that wait for the server's window to open are not on the way. False for a Unix-domain
/// socket.
pub(crate) fn is_in_flight(socket: &Socket) -> bool {
    info(socket).is_some_and(|info| info.tcpi_unacked > 0)
}

/// Whether the connection is still being established: the server's kernel has not answered.
pub(crate) fn is_connecting(socket: &Socket) -> bool {
    const SYN_SENT: u8 = 2; // TCP_SYN_SENT of netinet/tcp.h.
    info(socket).is_some_and(|info| info.tcpi_state == SYN_SENT)
}

/// TCP_INFO; `None` for a Unix-domain socket.
fn info(socket: &Socket) -> Option<libc::tcp_info> {
    // SAFETY: all fields of the struct are integers.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut size = mem::size_of_val(&info) as libc::socklen_t;
    let (fd, into) = (socket.as_raw_fd(), (&raw mut info).cast());
    // SAFETY: the kernel writes at most `size` bytes to `info`, which outlives the call.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut size) };
    (result == 0).then_some(info)
}
