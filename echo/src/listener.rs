//! The listening socket, and when not to accept from it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::Socket;

use crate::listen::{SocketFile, local_addr};
use crate::{Address, Options, Shortage, report};

/// How long accepting pauses after a shortage of descriptors or memory, unless one of the server's
/// connections ends earlier. Without a pause, a level-triggered loop would spin on the error.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most connections to accept in one turn: the connected must not wait for a storm of connects.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Accepts in a row that may fail because a queued peer has left. After this number, accepting pauses:
/// the cause is another one.
const ACCEPT_TRIES: usize = 256;

/// A listening socket that knows when not to accept.
///
/// A client that is not accepted waits in the backlog. The client sees an established connection.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    max_connections: usize,
    idle_timeout: Option<Duration>,
    nonblocking: bool,
    pause: Option<Pause>,
    /// `--verbose` has reported that the server is full, and it still is.
    full: bool,
    verbose: bool,
    shortage: Shortage,
    /// Removes the socket's file when the listener is dropped.
    file: Option<SocketFile>,
}

/// Why a listener does not accept after a shortage, until one of two things ends the pause.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    /// The clients at its beginning. When there are fewer, one has ended, and freed what it held.
    active: usize,
}

/// What [`Listener::accept`] has found.
#[derive(Debug)]
pub enum Accepted {
    /// A client that waited in the backlog.
    Client(Socket),
    /// No client waits. Only a non-blocking listener finds this.
    Nobody,
    /// There is no place for a client, or nothing to make one of: accepting pauses, and the backlog
    /// holds the clients. [`Listener::is_open`] tells when to accept again.
    Full,
}

impl Listener {
    pub(crate) fn new(
        socket: Socket,
        file: Option<SocketFile>,
        max_connections: usize,
        options: &Options,
    ) -> Listener {
        Listener {
            socket,
            max_connections,
            idle_timeout: options.idle_timeout,
            nonblocking: false,
            pause: None,
            full: false,
            verbose: options.verbose,
            shortage: Shortage::default(),
            file,
        }
    }

    /// Accepts one client, while `active` clients are connected.
    ///
    /// Peers that left while they were queued are passed over, as accept(2) advises under "Error
    /// handling". TCP_NODELAY is set on the stream: an echo must not wait for the acknowledgement of the
    /// echo before.
    ///
    /// # Errors
    ///
    /// Only those that concern the listener itself, such as EINVAL after a
    /// [`handle`](Listener::handle) was shut down.
    pub fn accept(&mut self, active: usize) -> io::Result<Accepted> {
        if !self.is_open(active) {
            return Ok(Accepted::Full);
        }
        for _ in 0..ACCEPT_TRIES {
            let error = match self.socket.accept() {
                Ok((stream, _)) => {
                    without_delay(&stream);
                    if self.set_waiting(&stream).is_err() {
                        continue; // The peer has reset the connection; some systems refuse options then.
                    }
                    return Ok(Accepted::Client(stream));
                }
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return Ok(Accepted::Nobody),
                Some(errno) if concerns_one_peer(errno) => {}
                _ => return self.pause_after(error, active).map(|()| Accepted::Full),
            }
        }
        self.pause(active);
        Ok(Accepted::Full)
    }

    /// Judges an accept that the model has made by other means than [`accept`](Listener::accept), while
    /// `active` clients are connected. A peer that left while it was queued counts as nobody.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Listener::accept).
    pub fn accepted(&mut self, result: io::Result<Socket>, active: usize) -> io::Result<Accepted> {
        let error = match result {
            Ok(stream) => {
                without_delay(&stream);
                return Ok(Accepted::Client(stream));
            }
            Err(error) => error,
        };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if concerns_one_peer(errno) => Ok(Accepted::Nobody),
            _ => self.pause_after(error, active).map(|()| Accepted::Full),
        }
    }

    /// Makes `stream` wait, or not, as the listener does.
    fn set_waiting(&self, stream: &Socket) -> io::Result<()> {
        // Linux does not pass the listener's O_NONBLOCK on, the BSDs do.
        stream.set_nonblocking(self.nonblocking)?;
        if !self.nonblocking && self.idle_timeout.is_some() {
            set_timeouts(stream, self.idle_timeout)?;
        }
        Ok(())
    }

    /// Whether to accept, or to watch for clients to accept, while `active` clients are connected.
    pub fn is_open(&mut self, active: usize) -> bool {
        if self.pause.is_some_and(|pause| active < pause.active || pause.until <= Instant::now()) {
            self.pause = None;
        }
        let full = active >= self.max_connections;
        if full && !self.full && self.verbose {
            report(format_args!("full: {active} clients; the next ones wait in the backlog"));
        }
        self.full = full;
        self.pause.is_none() && !full
    }

    /// Stops accepting for [`ACCEPT_PAUSE`], or until there are fewer clients than `active`.
    pub fn pause(&mut self, active: usize) {
        self.pause = Some(Pause { until: Instant::now() + ACCEPT_PAUSE, active });
    }

    /// [Pauses](Listener::pause) after an error that names a shortage, and reports the shortage once.
    ///
    /// # Errors
    ///
    /// Returns every other error.
    pub fn pause_after(&mut self, error: io::Error, active: usize) -> io::Result<()> {
        if !error.raw_os_error().map(Errno::from_raw).is_some_and(is_shortage) {
            return Err(error);
        }
        self.shortage.report(format_args!("accepting pauses with {active} clients: {error}"));
        self.pause(active);
        Ok(())
    }

    /// What is left of a pause, or `None` without one.
    pub fn pause_left(&self) -> Option<Duration> {
        self.pause.map(|pause| pause.until.saturating_duration_since(Instant::now()))
    }

    /// Makes [`accept`](Listener::accept) return at once when no client waits, and the streams that it
    /// returns answer `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn set_nonblocking(&mut self) -> io::Result<()> {
        self.nonblocking = true;
        self.socket.set_nonblocking(true)
    }

    /// The address that was really bound.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<Address> {
        local_addr(&self.socket, self.file.as_ref())
    }

    /// A second listener on the same socket, for another loop.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Listener> {
        let socket = self.socket.try_clone()?;
        let shortage = Shortage::default();
        Ok(Listener { socket, pause: None, file: None, shortage, ..*self })
    }

    /// A second handle of the socket. `shutdown(Read)` on it wakes a thread that blocks in accept(2),
    /// which returns EINVAL on Linux. Closing the handle wakes no thread.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn handle(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }
}

/// Ends a blocking read(2) or write(2) that moves nothing for `limit`: it fails with EAGAIN (SO_RCVTIMEO
/// and SO_SNDTIMEO, socket(7)).
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn set_timeouts(stream: &Socket, limit: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// TCP_NODELAY: an echo must not wait for the acknowledgement of the echo before.
fn without_delay(stream: &Socket) {
    // Fails for a Unix socket, and after a reset, which the first read will report.
    let _ = stream.set_tcp_nodelay(true);
}

/// Errors that name a shortage: of accept(2), and ENOSPC of epoll_ctl(2).
fn is_shortage(errno: Errno) -> bool {
    use Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    matches!(errno, EMFILE | ENFILE | ENOBUFS | ENOMEM | ENOSPC)
}

/// Errors of accept(2) that concern one queued peer, or the network on the way to it.
fn concerns_one_peer(errno: Errno) -> bool {
    match errno {
        Errno::EINTR
        | Errno::ECONNABORTED
        | Errno::EPROTO
        | Errno::EPERM
        | Errno::ENETDOWN
        | Errno::ENETUNREACH
        | Errno::EHOSTDOWN
        | Errno::EHOSTUNREACH
        | Errno::ENOPROTOOPT
        | Errno::EOPNOTSUPP => true,
        #[cfg(target_os = "linux")]
        Errno::ENONET => true,
        _ => false,
    }
}
