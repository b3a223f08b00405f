//! The listening socket, and when not to accept from it.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Socket, Type};

use crate::{Address, Options, bad_arguments};

/// How long accepting pauses when the system has run out of descriptors or memory and no connection of
/// ours ends before. Without a pause a level-triggered loop would spin on the error.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections to accept before turning to the connected again, so that a storm of connects does not
/// starve them.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Failed accepts in a row that are put down to peers that gave up while they queued. After as many,
/// accepting pauses: something else is wrong.
const ACCEPT_TRIES: usize = 256;

/// A listening socket that knows when not to accept.
///
/// A client that is not accepted is not lost: it waits in the backlog, connected as far as it can tell.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    max_connections: usize,
    idle_timeout: Option<Duration>,
    paused_until: Option<Instant>,
    nonblocking: bool,
    /// Removes the socket's file when the listener is dropped.
    file: Option<SocketFile>,
}

/// The name of a Unix-domain socket. Unlike a port it outlives the socket, and must be unlinked: by the
/// process that made it, and not by one forked from it; and only if it still is the one it made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    owner: u32,
    inode: Option<(u64, u64)>,
}

/// Binds, listens, and prints `listening on ADDR` with the address that was really bound.
///
/// The socket blocks; a model that must not block says so with [`Listener::set_nonblocking`].
/// `max_connections` is the most clients to serve at once, from [`Options::max_connections`].
///
/// # Errors
///
/// When the address cannot be bound or stdout cannot be written; the message says what to do.
pub fn listen(options: &Options, max_connections: usize) -> io::Result<Listener> {
    let listener = bind(options, &options.addr, max_connections, false)?;
    announce(&listener.local_addr()?)?;
    Ok(listener)
}

/// As [`listen`], with as many listeners on one address as there are loops to accept from them: the
/// kernel deals the connections out to them (SO_REUSEPORT, socket(7)).
///
/// # Errors
///
/// As for [`listen`]; and [`bad_arguments`] for a Unix-domain socket, which cannot be shared so.
pub fn listen_on_all(
    options: &Options,
    max_connections: usize,
    count: usize,
) -> io::Result<Vec<Listener>> {
    if matches!(options.addr, Address::Unix(_)) {
        return Err(bad_arguments("SO_REUSEPORT needs an --addr of the form IP:PORT"));
    }
    // SO_REUSEPORT would share the port with a stranger's server, too: first see that there is none.
    drop(bind(options, &options.addr, max_connections, false)?);
    let first = bind(options, &options.addr, max_connections, true)?;
    let addr = first.local_addr()?; // The others need the port that was really bound.
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(bind(options, &addr, max_connections, true)?);
    }
    announce(&addr)?;
    Ok(listeners)
}

fn bind(
    options: &Options,
    addr: &Address,
    max_connections: usize,
    reuse_port: bool,
) -> io::Result<Listener> {
    let socket = try_bind(options, addr, reuse_port).map_err(|error| {
        let hint = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => "; stop what listens there, or choose another --addr",
            Some(Errno::EADDRNOTAVAIL) => "; choose an --addr of this machine",
            Some(Errno::EACCES) => {
                "; choose an --addr that you may use, such as a port from 1024 up"
            }
            Some(Errno::ENOENT) => "; create the directory first",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}{hint}"))
    })?;
    let file = match addr {
        Address::Tcp(_) => None,
        Address::Unix(path) => {
            Some(SocketFile { path: path.clone(), owner: process::id(), inode: inode(path) })
        }
    };
    Ok(Listener {
        socket,
        max_connections,
        idle_timeout: options.idle_timeout,
        paused_until: None,
        nonblocking: false,
        file,
    })
}

fn try_bind(options: &Options, addr: &Address, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(addr.domain(), Type::STREAM, None)?;
    // A restart must not wait for the TIME_WAIT of the connections before it (socket(7)).
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if let Address::Unix(path) = addr {
        // A socket that nobody listens behind was left by a server that was killed. Any other file is
        // somebody's, and connect(2) would refuse that, too.
        let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let probe = Socket::new(addr.domain(), Type::STREAM, None)?;
        probe.set_nonblocking(true)?; // A full backlog says that it is in use, too.
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && probe.connect(&addr.to_sockaddr()?).is_err_and(refused) {
            fs::remove_file(path)?;
        }
    }
    socket.bind(&addr.to_sockaddr()?)?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

/// What a name stands for: device and inode (stat(2)).
fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Prints the one line of stdout.
pub(crate) fn announce(addr: &Address) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {addr}")
        .and_then(|()| stdout.flush())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to stdout: {error}")))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owner == process::id() && self.inode == inode(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Accepts one client, or `None` when there is none to be had now:
    ///
    /// - none waits (only a non-blocking listener says so), or
    /// - `active` clients are as many as `--max-connections` allows, or
    /// - the process or the system is out of descriptors or memory: accepting pauses until
    ///   [`resume`](Listener::resume) or for [`ACCEPT_PAUSE`].
    ///
    /// Peers that gave up while they queued are passed over, as accept(2) says under "Error handling".
    /// TCP_NODELAY is set on the stream: an echo must not wait for the acknowledgement of the one before.
    ///
    /// # Errors
    ///
    /// Only those that mean the listener itself is of no use any more, such as EINVAL after its
    /// [`doorbell`](Listener::doorbell) was rung.
    pub fn accept(&mut self, active: usize) -> io::Result<Option<Socket>> {
        if !self.is_open(active) {
            return Ok(None);
        }
        for _ in 0..ACCEPT_TRIES {
            let error = match self.socket.accept() {
                Ok((stream, _)) => {
                    without_delay(&stream);
                    if self.set_waiting(&stream).is_err() {
                        continue; // Reset by now, and on some systems of no use for any option.
                    }
                    return Ok(Some(stream));
                }
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => return Ok(None),
                Some(errno) if is_shortage(errno) => break,
                Some(errno) if concerns_one_peer(errno) => {}
                _ => return Err(error),
            }
        }
        self.pause();
        Ok(None)
    }

    /// Judges an accept that the model has made by other means than [`accept`](Listener::accept), with the
    /// same outcome: a stream, or `None` for a peer that gave up or a shortage, which begins a pause.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Listener::accept).
    pub fn accepted(&mut self, result: io::Result<Socket>) -> io::Result<Option<Socket>> {
        let error = match result {
            Ok(stream) => {
                without_delay(&stream);
                return Ok(Some(stream));
            }
            Err(error) => error,
        };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if concerns_one_peer(errno) => Ok(None),
            _ => self.pause_after(error).map(|()| None),
        }
    }

    /// Makes `stream` wait, or not, as the listener does.
    fn set_waiting(&self, stream: &Socket) -> io::Result<()> {
        // Linux does not hand the listener's O_NONBLOCK on, the BSDs do.
        stream.set_nonblocking(self.nonblocking)?;
        if !self.nonblocking && self.idle_timeout.is_some() {
            set_timeouts(stream, self.idle_timeout)?;
        }
        Ok(())
    }

    /// Whether to accept, or to watch for clients to accept, while `active` clients are connected.
    pub fn is_open(&mut self, active: usize) -> bool {
        if self.paused_until.is_some_and(|until| until <= Instant::now()) {
            self.paused_until = None;
        }
        self.paused_until.is_none() && active < self.max_connections
    }

    /// Stops accepting for [`ACCEPT_PAUSE`]: something that a connection needs has run out.
    pub fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
    }

    /// [Pauses](Listener::pause) after an error that says what has run out.
    ///
    /// # Errors
    ///
    /// Any other comes back.
    pub fn pause_after(&mut self, error: io::Error) -> io::Result<()> {
        if !error.raw_os_error().map(Errno::from_raw).is_some_and(is_shortage) {
            return Err(error);
        }
        self.pause();
        Ok(())
    }

    /// Ends a pause: a connection has ended, and what it held is free again.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    /// How long to wait at most: until the pause is over, or for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Makes [`accept`](Listener::accept) return at once when no client waits, and the streams that it
    /// returns say `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2); none is expected.
    pub fn set_nonblocking(&mut self) -> io::Result<()> {
        self.nonblocking = true;
        self.socket.set_nonblocking(true)
    }

    /// The address that was really bound.
    fn local_addr(&self) -> io::Result<Address> {
        match &self.file {
            Some(file) => Ok(Address::Unix(file.path.clone())),
            None => match self.socket.local_addr()?.as_socket() {
                Some(addr) => Ok(Address::Tcp(addr)),
                None => Err(io::Error::other("the listening socket has no IP address")),
            },
        }
    }

    /// A second listener on the same socket, for another loop.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Listener> {
        let socket = self.socket.try_clone()?;
        Ok(Listener { socket, paused_until: None, file: None, ..*self })
    }

    /// A second handle of the socket, for whoever must wake a thread that blocks in `accept`:
    /// `shutdown(Read)` on it makes accept(2) return EINVAL on Linux. Closing it would not wake anyone.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn doorbell(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }
}

/// Ends a blocking read(2) or write(2) that moves nothing for `limit`: it fails with EAGAIN (SO_RCVTIMEO
/// and SO_SNDTIMEO, socket(7)).
///
/// # Errors
///
/// Those of setsockopt(2); none is expected.
pub fn set_timeouts(stream: &Socket, limit: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// TCP_NODELAY: an echo must not wait for the acknowledgement of the one before.
fn without_delay(stream: &Socket) {
    // Fails when the peer has reset already, which its first read will tell; and for a Unix socket.
    let _ = stream.set_tcp_nodelay(true);
}

/// Errors that say what the process or the system has run out of: of accept(2), and ENOSPC of epoll_ctl(2).
fn is_shortage(errno: Errno) -> bool {
    use Errno::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    matches!(errno, EMFILE | ENFILE | ENOBUFS | ENOMEM | ENOSPC)
}

/// Errors of accept(2) that are a queued peer's, or the network's on its behalf, and not the listener's.
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
