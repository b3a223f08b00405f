//! An HTTP/1.1 server: files, and `POST /echo`.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example http -- --root target/doc --log
//! listening on 127.0.0.1:7000
//! $ curl http://127.0.0.1:7000/echo/index.html
//! $ curl --data hello http://127.0.0.1:7000/echo
//! hello
//! ```
//!
//! Where does a message end? HTTP uses four answers, and each is one [`Until`]. A head ends with an empty
//! line. A body has a length, or comes in chunks, and each chunk has a length of its own. The protocol
//! changes its `Until` inside the callback. Pipelined requests need no extra code: the conversation delivers
//! no request before the answer to the one before is on its way.
//!
//! The parser is the crate httparse; `request.rs` decides what is refused. `file.rs` keeps clients inside the
//! root.
//!
//! Not here: TLS, HTTP/2, compression, caching, directory listings.

#[path = "../common/mod.rs"]
mod common;
mod file;
mod request;

use std::cell::Cell;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, Protocol, Talk, Until};

use crate::file::{Piece, Root, media_type};
use crate::request::{
    BAD_REQUEST, Body, ByteRange, Method, Refused, Request, TOO_MANY_FIELDS, parse_chunk_size,
};

/// Files up to this size leave with their head in one piece; larger ones have a producer.
const SMALL_FILE: u64 = 64 * 1024;

/// Longest line between two chunks, in bytes.
const CHUNK_LINE_MAX: usize = 1024;

/// HTTP/1.1 server for the files of a directory, and for POST /echo
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Directory with the files; nothing outside of it is served
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,

    /// Longest head of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024)]
    longest_head: usize,

    /// Longest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    longest_body: u64,

    /// How long a connection may be idle, a request incomplete, or an answer not taken
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = echo::parse_duration)]
    timeout: Duration,

    /// Write a line on stderr for each answer
    #[arg(long)]
    log: bool,
}

/// What all connections share.
struct Site {
    root: Root,
    longest_body: u64,
    timeout: Duration,
    log: bool,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let root = Root::open(&args.root).map_err(|error| {
        let root = args.root.display();
        echo::Error::bad_arguments(format_args!("cannot open --root {root}: {error}"))
    })?;
    let Args { longest_body, timeout, log, longest_head, .. } = *args;
    let (mut reactor, listener) = args.serving.start(Site { root, longest_body, timeout, log })?;
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Site>| {
        Some(Conversation::new(stream, Client::default()).until(HEAD_END).longest(longest_head))
    }));
    reactor.run()?;
    Ok(())
}

const HEAD_END: Until = Until::Bytes(b"\r\n\r\n");

/// One connection.
#[derive(Default)]
struct Client {
    expects: Expects,
    /// Whether the body goes back to the client.
    echoes: bool,
    /// Whether the echo is chunked.
    chunked: bool,
    /// Bytes of the body so far.
    received: u64,
    /// The connection ends after this answer.
    close: bool,
    /// The head that is being parsed; the memory is kept for the next one.
    head: Vec<u8>,
    /// Moves on while the client takes a file.
    progress: Rc<Cell<u64>>,
    /// What was pending, and the progress, when the timer was set.
    before: (usize, u64),
}

/// What the next message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expects {
    #[default]
    Head,
    /// A part of a body with this number of bytes left.
    Body(u64),
    ChunkSize,
    /// A part of a chunk with this number of bytes left.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Fields behind the last chunk, until an empty line.
    Trailer,
}

impl Protocol<Site> for Client {
    fn opened(&mut self, talk: &mut Talk<'_, Site>) -> io::Result<()> {
        self.set_timer(talk);
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Site>) -> io::Result<()> {
        let refused = match self.expects {
            Expects::Head => self.answer_head(bytes, talk),
            Expects::Body(left) => Ok(self.take_body(bytes, left, talk)),
            Expects::ChunkSize => self.take_chunk_size(bytes, talk),
            Expects::Chunk(left) => Ok(self.take_chunk(bytes, left, talk)),
            Expects::ChunkEnd if !bytes.is_empty() => Err(BAD_REQUEST),
            Expects::ChunkEnd => Ok(self.expect(Expects::ChunkSize, talk)),
            Expects::Trailer if !bytes.is_empty() => Ok(self.expect(Expects::Trailer, talk)),
            Expects::Trailer => Ok(self.end_body(talk)),
        };
        if let Err(refused) = refused {
            self.refuse(refused, talk);
        }
        Ok(())
    }

    fn too_long(&mut self, _: usize, talk: &mut Talk<'_, Site>) -> io::Result<()> {
        match self.expects {
            Expects::Head => self.refuse(TOO_MANY_FIELDS, talk),
            _ => self.refuse(BAD_REQUEST, talk),
        }
        Ok(())
    }

    fn timeout(&mut self, talk: &mut Talk<'_, Site>) -> io::Result<()> {
        let now = (talk.pending(), self.progress.get());
        if talk.pending() > 0 && now == self.before {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not taken"));
        }
        if talk.pending() > 0 {
            self.set_timer(talk);
        } else if self.expects == Expects::Head {
            talk.close(); // Idle, or slow to ask.
        } else {
            self.refuse(Refused(408, "Request Timeout"), talk);
        }
        Ok(())
    }
}

impl Client {
    /// A request's head is there.
    fn answer_head(&mut self, head: &[u8], talk: &mut Talk<'_, Site>) -> Result<(), Refused> {
        self.head.clear();
        self.head.extend_from_slice(head);
        self.head.extend_from_slice(b"\r\n\r\n");
        let request = Request::parse(&self.head)?;
        self.set_timer(talk);
        self.close = request.close;
        self.received = 0;
        self.chunked = request.body == Body::Chunked;
        if matches!(request.body, Body::Length(length) if length > talk.context.shared.longest_body)
        {
            return Err(Refused(413, "Content Too Large"));
        }
        self.echoes = request.path == "/echo" && request.method == Method::Post;
        match request.method {
            Method::Post if self.echoes => self.answer_echo(&request, talk),
            Method::Get | Method::Head => self.answer_file(&request, talk),
            Method::Post => return Err(Refused(404, "Not Found")),
            Method::Other => return Err(Refused(405, "Method Not Allowed")),
        }
        match request.body {
            Body::Length(0) => self.end_body(talk),
            Body::Length(length) => self.expect(Expects::Body(length), talk),
            Body::Chunked => self.expect(Expects::ChunkSize, talk),
        }
        Ok(())
    }

    fn answer_echo(&mut self, request: &Request, talk: &mut Talk<'_, Site>) {
        if request.expects_continue {
            talk.push("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let length = match request.body {
            Body::Length(length) => format!("Content-Length: {length}\r\n"),
            Body::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        self.push_head("200 OK", "application/octet-stream", &length, talk);
        log(request, 200, talk);
    }

    fn answer_file(&mut self, request: &Request, talk: &mut Talk<'_, Site>) {
        let (file, size) = match talk.context.shared.root.file(&request.path) {
            Ok(Some(found)) => found,
            Ok(None) => return self.answer_error(request, Refused(404, "Not Found"), talk),
            Err(_) => {
                return self.answer_error(request, Refused(503, "Service Unavailable"), talk);
            }
        };
        let (from, to) = match request.range.map(|range| bounds(range, size)) {
            None => (0, size),
            Some(Some(bounds)) => bounds,
            Some(None) => {
                let range = format!("Content-Length: 0\r\nContent-Range: bytes */{size}\r\n");
                self.push_head("416 Range Not Satisfiable", "text/plain", &range, talk);
                return log(request, 416, talk);
            }
        };
        let left = to - from;
        let mut fields = format!("Content-Length: {left}\r\nAccept-Ranges: bytes\r\n");
        let (code, status) = if request.range.is_some() {
            fields += &format!("Content-Range: bytes {from}-{}/{size}\r\n", to - 1);
            (206, "206 Partial Content")
        } else {
            (200, "200 OK")
        };
        let mut small = Vec::new();
        if request.method == Method::Get && left <= SMALL_FILE {
            small.resize(left as usize, 0);
            if file.read_exact_at(&mut small, from).is_err() {
                return self.answer_error(request, Refused(503, "Service Unavailable"), talk);
            }
        }
        self.push_head(status, media_type(&request.path), &fields, talk);
        if request.method == Method::Get && left > SMALL_FILE {
            talk.produce(Piece { file, offset: from, left, progress: Rc::clone(&self.progress) });
        } else {
            talk.push(&small[..]);
        }
        log(request, code, talk);
    }

    /// An answer that does not end the connection.
    fn answer_error(&mut self, request: &Request, refused: Refused, talk: &mut Talk<'_, Site>) {
        let Refused(code, reason) = refused;
        let body = format!("{code} {reason}\n");
        let length = format!("Content-Length: {}\r\n", body.len());
        self.push_head(&format!("{code} {reason}"), "text/plain", &length, talk);
        if request.method != Method::Head {
            talk.push(body);
        }
        log(request, code, talk);
    }

    /// Answers what cannot be understood, or is too much. Where the next request would begin is not known,
    /// so the connection ends.
    fn refuse(&mut self, refused: Refused, talk: &mut Talk<'_, Site>) {
        let Refused(code, reason) = refused;
        if matches!(self.expects, Expects::Head) || !self.echoes {
            self.close = true;
            let body = format!("{code} {reason}\n");
            let length = format!("Content-Length: {}\r\n", body.len());
            let allow = if code == 405 { "Allow: GET, HEAD, POST\r\n" } else { "" };
            let fields = length + allow;
            self.push_head(&format!("{code} {reason}"), "text/plain", &fields, talk);
            talk.push(body);
        } // Else an answer has begun: its early end is all that we can say.
        if talk.context.shared.log {
            echo::report(format_args!("{}: refused with {code} {reason}", peer(talk)));
        }
        talk.close();
    }

    fn push_head(&self, status: &str, media: &str, fields: &str, talk: &mut Talk<'_, Site>) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let connection = if self.close { "Connection: close\r\n" } else { "" };
        talk.push(format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {media}\r\n{fields}{connection}\r\n"
        ));
    }

    fn expect(&mut self, next: Expects, talk: &mut Talk<'_, Site>) {
        self.expects = next;
        talk.until(match next {
            Expects::Head => HEAD_END,
            Expects::Body(left) | Expects::Chunk(left) => {
                Until::AtMost(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Expects::ChunkSize | Expects::ChunkEnd | Expects::Trailer => Until::Bytes(b"\r\n"),
        });
    }

    fn take_body(&mut self, bytes: &[u8], left: u64, talk: &mut Talk<'_, Site>) {
        self.set_timer(talk);
        if self.echoes {
            talk.push(bytes);
        }
        match left - bytes.len() as u64 {
            0 => self.end_body(talk),
            left => self.expect(Expects::Body(left), talk),
        }
    }

    fn take_chunk_size(&mut self, line: &[u8], talk: &mut Talk<'_, Site>) -> Result<(), Refused> {
        if line.len() > CHUNK_LINE_MAX {
            return Err(BAD_REQUEST);
        }
        let size = parse_chunk_size(line).ok_or(BAD_REQUEST)?;
        self.received = self.received.saturating_add(size);
        if self.received > talk.context.shared.longest_body {
            return Err(Refused(413, "Content Too Large"));
        }
        let next = if size == 0 { Expects::Trailer } else { Expects::Chunk(size) };
        self.expect(next, talk);
        Ok(())
    }

    fn take_chunk(&mut self, bytes: &[u8], left: u64, talk: &mut Talk<'_, Site>) {
        self.set_timer(talk);
        if self.echoes {
            talk.push(format!("{:x}\r\n", bytes.len()));
            talk.push(bytes);
            talk.push("\r\n");
        }
        match left - bytes.len() as u64 {
            0 => self.expect(Expects::ChunkEnd, talk),
            left => self.expect(Expects::Chunk(left), talk),
        }
    }

    /// The request is complete, and so is its answer, up to what the client has not taken.
    fn end_body(&mut self, talk: &mut Talk<'_, Site>) {
        if self.echoes && self.chunked {
            talk.push("0\r\n\r\n");
        }
        self.expect(Expects::Head, talk);
        if self.close {
            talk.close();
        }
    }

    fn set_timer(&mut self, talk: &mut Talk<'_, Site>) {
        self.before = (talk.pending(), self.progress.get());
        let timeout = talk.context.shared.timeout;
        talk.context.timer(Some(Instant::now() + timeout));
    }
}

/// Where a range begins, and where it ends (exclusive); `None` when it has no byte of the file.
fn bounds(range: ByteRange, size: u64) -> Option<(u64, u64)> {
    let (from, to) = match range {
        ByteRange::From(from) => (from, size),
        ByteRange::FromTo(from, to) => (from, to.saturating_add(1).min(size)),
        ByteRange::Last(count) => (size.saturating_sub(count), size),
    };
    (from < to).then_some((from, to))
}

fn log(request: &Request, code: u16, talk: &Talk<'_, Site>) {
    if talk.context.shared.log {
        let (peer, method) = (peer(talk), format!("{:?}", request.method).to_uppercase());
        echo::report(format_args!("{peer}: {method} {} {code}", request.target.escape_debug()));
    }
}

/// The client's address, for the log.
fn peer(talk: &Talk<'_, Site>) -> String {
    let addr = talk.stream().peer_addr().ok().and_then(|addr| addr.as_socket());
    addr.map_or_else(|| "unix".to_owned(), |addr| addr.to_string())
}
