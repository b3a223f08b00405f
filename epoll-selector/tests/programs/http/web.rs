//! What the tests of HTTP programs need: a folder of files, and a client that reads real bytes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use server_process::process::Process;

use crate::{connect, serve};

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("site-{}-{count}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The `http` example with this folder as its root.
    pub(crate) fn serve(&self, args: &[&str]) -> Process {
        serve("http", &[&["--root", self.0.to_str().unwrap()], args].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client that writes what it is told, and reads answers.
pub(crate) struct Web(pub(crate) BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header field; empty without it.
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|field| field.0.eq_ignore_ascii_case(name)).map_or("", |field| field.1.trim())
    }
}

impl Web {
    pub(crate) fn connect(server: &Process) -> Web {
        Web(BufReader::new(connect(server)))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str, fields: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        self.reply(true)
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "ended within a head: {head:?}");
        }
        assert!(head.starts_with("HTTP/1.1 "), "{head:?}");
        let status = head[9..12].parse().unwrap();
        Reply { status, head, body: Vec::new() }
    }

    /// The next answer.
    pub(crate) fn reply(&mut self, has_body: bool) -> Reply {
        let mut reply = self.head();
        if !has_body {
        } else if reply.field("transfer-encoding") == "chunked" {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).unwrap();
                assert!(chunk.ends_with(b"\r\n"));
                reply.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else {
            reply.body.resize(reply.field("content-length").parse().unwrap(), 0);
            self.0.read_exact(&mut reply.body).unwrap();
        }
        reply
    }

    /// Whether the server has ended the connection, and nothing came before.
    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }
}

/// Sends bytes on a connection of their own. Returns the first answer, and whether nothing came
/// behind it.
pub(crate) fn ask(server: &Process, bytes: &[u8]) -> (Reply, bool) {
    let mut web = Web::connect(server);
    web.send(bytes);
    let reply = web.reply(true);
    (reply, web.is_over())
}

/// Bytes in which a shift shows.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

/// The output of a program that need not be installed. Prints a line when it is not.
pub(crate) fn output_of(program: &str, args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{program} {args:?}: {output:?}");
            Some(output.stdout)
        }
        Err(_) => {
            eprintln!("SKIPPED: {program} is not installed");
            None
        }
    }
}
