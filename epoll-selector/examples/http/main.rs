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
//! Where does a message end? HTTP uses four answers, and each is one `Until`. A head ends with an
//! empty line. A body has a length, or comes in chunks, and each chunk has a length of its own. The
//! protocol changes its `Until` inside the callback (`body.rs`). Pipelined requests need no extra
//! code: the conversation delivers no request before the answer to the one before is on its way.
//!
//! The parser is the crate httparse; `request.rs` decides what is refused. `file.rs` keeps clients
//! inside the root, with a system call that only Linux has.
//!
//! Not here: TLS, HTTP/2, compression, caching, directory listings, several ranges in one answer.

mod answer;
mod body;
#[path = "../common/mod.rs"]
mod common;
mod file;
mod request;

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, Protocol, Talk};

use crate::answer::log;
use crate::body::{Body, Part};
use crate::file::Root;
use crate::request::{
    BAD_REQUEST, Connection, HEAD_TOO_LARGE, Method, NOT_ALLOWED, Refused, Request, TIMEOUT,
    TOO_LARGE,
};

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

    /// Longest time that a connection may be idle, a head incomplete, or a body or an answer stuck
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = echo::parse_duration)]
    timeout: Duration,

    /// Write a line on stderr for each answer; the loop waits for whoever reads stderr
    #[arg(long)]
    log: bool,
}

/// What all connections share.
struct Site {
    root: Root,
    longest_body: u64,
    timeout: Duration,
    log: bool,
    /// The head that is being parsed: one memory for all.
    head: Vec<u8>,
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
    let site = Site { root, longest_body, timeout, log, head: Vec::new() };
    let (mut reactor, listener) = args.serving.start(site)?;
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Site>| {
        let client = Conversation::new(stream, Client::default());
        Some(client.until(Part::Head.until()).longest(longest_head))
    }));
    reactor.run()?;
    Ok(())
}

/// One connection.
#[derive(Default)]
struct Client {
    /// What the next message is.
    part: Part,
    /// How the body goes back to the client.
    echo: Option<Body>,
    /// Bytes of the chunks so far.
    received: u64,
    /// The answer to the current request has begun.
    has_answered: bool,
    /// The request's method is HEAD: its answer has no content.
    is_head: bool,
    connection: Connection,
    /// The time is over: what has arrived is looked at, and the connection ends.
    is_late: bool,
    /// Moves on while the client takes a file.
    progress: Rc<Cell<u64>>,
    /// What was pending, and the progress, when the timer was set.
    before: (usize, u64),
}

impl Protocol<Site> for Client {
    fn opened(&mut self, talk: &mut Talk<'_, Site>) -> io::Result<()> {
        self.set_timer(talk);
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Site>) -> io::Result<()> {
        let outcome = match self.part {
            Part::Head => self.take_head(bytes, talk),
            part => self.take_body(part, bytes, talk),
        };
        if let Err(refused) = outcome {
            self.refuse(refused, talk);
        }
        Ok(())
    }

    fn too_long(&mut self, _: usize, talk: &mut Talk<'_, Site>) -> io::Result<()> {
        let why = if self.part == Part::Head { HEAD_TOO_LARGE } else { BAD_REQUEST };
        self.refuse(why, talk);
        Ok(())
    }

    /// A request that has begun and cannot become complete gets an answer.
    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, Site>) -> io::Result<()> {
        if rest.is_empty() && self.part == Part::Head || talk.context.stopping() {
            talk.close();
        } else {
            self.refuse(if self.is_late { TIMEOUT } else { BAD_REQUEST }, talk);
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
        } else {
            self.is_late = true;
            talk.end_input(); // `end_of_input` tells an idle client from a slow one.
        }
        Ok(())
    }
}

impl Client {
    /// A request's head is there. The answer begins before the body has arrived.
    fn take_head(&mut self, head: &[u8], talk: &mut Talk<'_, Site>) -> Result<(), Refused> {
        let mut whole = std::mem::take(&mut talk.context.shared.head);
        whole.clear();
        whole.extend_from_slice(head);
        whole.extend_from_slice(b"\r\n\r\n"); // httparse wants the end too.
        let outcome = self.answer(&whole, talk);
        talk.context.shared.head = whole;
        self.expect(Part::of(outcome?), talk);
        Ok(())
    }

    /// Answers a request, and returns what its body is.
    fn answer(&mut self, head: &[u8], talk: &mut Talk<'_, Site>) -> Result<Body, Refused> {
        (self.is_head, self.has_answered) = (head.starts_with(b"HEAD "), false);
        (self.echo, self.received) = (None, 0);
        self.set_timer(talk);
        let request = Request::parse(head)?;
        self.connection = request.connection;
        if matches!(request.body, Body::Length(length) if length > talk.context.shared.longest_body)
        {
            return Err(TOO_LARGE);
        }
        match request.method {
            Method::Post if request.path == "/echo" => self.answer_echo(&request, talk),
            Method::Post => return Err(NOT_ALLOWED),
            Method::Get | Method::Head => self.answer_file(&request, talk),
        }
        self.has_answered = true;
        Ok(request.body)
    }

    fn answer_echo(&mut self, request: &Request<'_>, talk: &mut Talk<'_, Site>) {
        if request.expects_continue {
            talk.push("HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.echo = Some(request.body);
        let media = "application/octet-stream";
        let (head, bytes) = match request.body {
            Body::Length(length) => (self.head("200 OK", media, length, ""), length),
            Body::Chunked => (self.head_of("200 OK", media, "Transfer-Encoding: chunked\r\n"), 0),
        };
        talk.push(head);
        log(request, 200, bytes, talk); // Nobody knows yet how long a chunked body is: 0.
    }

    /// A part of the body is there.
    fn take_body(
        &mut self,
        part: Part,
        bytes: &[u8],
        talk: &mut Talk<'_, Site>,
    ) -> Result<(), Refused> {
        let next = part.after(bytes).ok_or(BAD_REQUEST)?;
        if part.is_content() {
            self.set_timer(talk);
            match self.echo {
                Some(Body::Length(_)) => talk.push(bytes),
                Some(Body::Chunked) => {
                    talk.push(format!("{:x}\r\n", bytes.len()).as_str());
                    talk.push(bytes);
                    talk.push("\r\n");
                }
                None => {}
            }
        } else if let Part::Chunk(size) = next {
            self.received = self.received.saturating_add(size);
            if self.received > talk.context.shared.longest_body {
                return Err(TOO_LARGE);
            }
        }
        if next == Part::Head && self.echo == Some(Body::Chunked) {
            talk.push("0\r\n\r\n");
        }
        self.expect(next, talk);
        Ok(())
    }

    fn expect(&mut self, next: Part, talk: &mut Talk<'_, Site>) {
        self.part = next;
        talk.until(next.until());
        if next == Part::Head {
            (self.has_answered, self.is_head) = (false, false);
            if self.connection == Connection::Closes {
                talk.close();
            }
        }
    }

    fn set_timer(&mut self, talk: &mut Talk<'_, Site>) {
        self.before = (talk.pending(), self.progress.get());
        let timeout = talk.context.shared.timeout;
        talk.context.timer(Some(Instant::now() + timeout));
    }
}
