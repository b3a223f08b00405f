//! From `--addr` to a listening socket.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use socket2::{Socket, Type};

use crate::{Address, Error, Listener, Options, Result};

/// Binds, listens, and prints `listening on ADDR` with the address that was really bound.
///
/// The socket blocks; a model that must not block calls [`Listener::set_nonblocking`].
/// `max_connections` is the most clients to serve at once, from [`Options::max_connections`].
///
/// # Errors
///
/// When the address cannot be bound or stdout cannot be written; the message says what to do.
pub fn listen(options: &Options, max_connections: usize) -> Result<Listener> {
    let listener = Listener::bind(options, max_connections)?;
    announce(&listener.local_addr()?)?;
    Ok(listener)
}

impl Listener {
    /// As [`listen`], and prints nothing.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound; the message says what to do.
    pub fn bind(options: &Options, max_connections: usize) -> Result<Listener> {
        bind(options, &options.addr, max_connections, false)
    }
}

/// As [`listen`], with `count` listeners on one address, one for each accepting loop: the kernel
/// distributes the connections among the listeners (SO_REUSEPORT, socket(7)).
///
/// # Errors
///
/// As for [`listen`]; and [`Error::BadArguments`] for a Unix-domain socket, which has no such option.
pub fn listen_on_all(
    options: &Options,
    max_connections: usize,
    count: usize,
) -> Result<Vec<Listener>> {
    if matches!(options.addr, Address::Unix(_)) {
        return Err(Error::bad_arguments("SO_REUSEPORT needs an --addr of the form HOST:PORT"));
    }
    // SO_REUSEPORT would share the port with a stranger's server too: first see that there is none.
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
) -> Result<Listener> {
    let socket = try_bind(options, addr, reuse_port).map_err(|source| bind_error(addr, source))?;
    Ok(Listener::new(socket, SocketFile::of(addr), max_connections, options))
}

/// What to say when `addr` cannot be bound.
pub(crate) fn bind_error(addr: &Address, source: io::Error) -> Error {
    let hint = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRINUSE) => "; stop what listens there, or choose another --addr",
        Some(Errno::EADDRNOTAVAIL) => "; choose an --addr of this machine",
        Some(Errno::EACCES) => "; choose an --addr that you may use, such as a port from 1024 up",
        Some(Errno::ENOENT) => "; create the directory first",
        _ => "",
    };
    Error::Listen { address: addr.clone(), source, hint }
}

fn try_bind(options: &Options, addr: &Address, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(addr.domain(), Type::STREAM, None)?;
    // A restart must not wait for the TIME_WAIT of the connections before it (socket(7)).
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    remove_if_stale(addr)?;
    socket.bind(&addr.to_sockaddr()?)?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

/// Removes a socket's file that a killed server has left: no process has a socket behind it.
pub(crate) fn remove_if_stale(addr: &Address) -> io::Result<()> {
    let Address::Unix(path) = addr else { return Ok(()) };
    // connect(2) to a regular file is refused too: only a socket may be removed.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // A datagram socket answers the probe of a stream with EPROTOTYPE, and is in use too.
    let probe = Socket::new(addr.domain(), Type::STREAM, None)?;
    probe.set_nonblocking(true)?; // A full backlog answers EAGAIN: the socket is in use.
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && probe.connect(&addr.to_sockaddr()?).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The address that `socket` was really bound to.
pub(crate) fn local_addr(socket: &Socket, file: Option<&SocketFile>) -> io::Result<Address> {
    match file {
        Some(file) => Ok(Address::Unix(file.path.clone())),
        None => match socket.local_addr()?.as_socket() {
            Some(addr) => Ok(Address::Tcp(addr)),
            None => Err(io::Error::other("the socket has no IP address")),
        },
    }
}

/// Prints the one line of stdout.
pub(crate) fn announce(addr: &Address) -> Result<()> {
    let mut stdout = io::stdout();
    let written = writeln!(stdout, "listening on {addr}").and_then(|()| stdout.flush());
    written.map_err(Error::Stdout)
}

/// The file of a Unix-domain socket. Unlike a port, the file outlives the socket and must be removed.
/// Only the process that made the file removes it, and only while the name still leads to that file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    owner: u32,
    inode: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file that this process has made by binding a socket to `addr`. An IP address has no file.
    pub(crate) fn of(addr: &Address) -> Option<SocketFile> {
        let Address::Unix(path) = addr else { return None };
        Some(SocketFile { path: path.clone(), owner: process::id(), inode: inode(path) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A forked child is another process, and another server may have taken the name since.
        if self.owner == process::id() && self.inode == inode(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file that a name leads to: device and inode (stat(2)).
fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
