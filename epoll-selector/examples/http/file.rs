//! The files below the root, and how they leave.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use epoll_selector::Producer;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// The directory below which all files are.
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens the root. Fails too when the kernel has no openat2(2).
    pub(crate) fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = Root(open(path, flags, Mode::empty())?);
        root.find("/")?;
        Ok(root)
    }

    /// Opens the file of a decoded path, or the `index.html` of a directory whose path ends with
    /// `/`.
    ///
    /// RESOLVE_BENEATH (openat2(2), Linux 5.6): the kernel refuses every path that leaves the root,
    /// also through a symbolic link. A check of the path alone could not see that.
    pub(crate) fn find(&self, path: &str) -> io::Result<Found> {
        let path = path.trim_start_matches('/');
        let index;
        let path = if path.is_empty() || path.ends_with('/') {
            index = format!("{path}index.html");
            &index
        } else {
            path
        };
        // O_NONBLOCK: the open of a FIFO would wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH);
        let file = match openat2(&self.0, path, how) {
            Ok(file) => File::from(file),
            Err(
                Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::EXDEV
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::EACCES
                | Errno::ENXIO, // A socket.
            ) => return Ok(Found::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let info = file.metadata()?;
        Ok(match info.file_type() {
            kind if kind.is_file() => Found::File(file, info.len()),
            kind if kind.is_dir() => Found::Directory,
            _ => Found::Nothing,
        })
    }
}

/// What is below the root at some path.
pub(crate) enum Found {
    /// A regular file, and its size in bytes.
    File(File, u64),
    /// The path lacks the `/` at its end.
    Directory,
    Nothing,
}

/// Bytes of a file, read when the peer has taken those before: a file needs no memory of its size.
///
/// The read is made on the loop. It comes from the page cache as a rule; a file on a slow disk
/// stops all clients for that time. `offload` shows what to do about it.
pub(crate) struct Piece {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) left: u64,
    /// Counts the reads: a client that takes bytes moves this on.
    pub(crate) progress: Rc<Cell<u64>>,
}

/// Bytes that one read takes.
const READ_BYTES: u64 = 64 * 1024;

impl Producer for Piece {
    fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let wanted = self.left.min(READ_BYTES);
        into.resize(wanted as usize, 0);
        self.file.read_exact_at(into, self.offset)?; // The file may have become shorter: end here.
        self.offset += wanted;
        self.left -= wanted;
        self.progress.set(self.progress.get() + 1);
        Ok(self.left > 0)
    }
}

/// The media type of a file, by the end of its name.
pub(crate) fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        _ if path.ends_with('/') => "text/html; charset=utf-8", // Its index.html.
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("txt" | "md" | "rs" | "toml") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("wasm") => "application/wasm",
        Some(_) => "application/octet-stream",
        None => "application/octet-stream",
    }
}
