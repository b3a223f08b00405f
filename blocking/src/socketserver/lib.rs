//! # socketserver: the life of a request, and three ways to serve it
//!
//! A server takes requests from its socket, one after the other, and gives each to a [`Handler`].
//! The handler says what happens to one request. The [`Concurrency`] says who does it: the server's
//! own thread, a thread for each request, or a process for each request. The [`Address`] and the
//! type of the request say over what: TCP or a Unix-domain socket for a [`Socket`], UDP or a
//! Unix-domain socket for a [`Datagram`]. So one handler makes six servers. This is the interface
//! of Python's `socketserver`.
//!
//! ```
//! use std::io::{self, BufRead, BufReader, Read, Write};
//! use socketserver::{Concurrency, Server, Socket};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Answers one line in upper case.
//! let upper = |mut stream: &Socket| -> io::Result<()> {
//!     let mut line = String::new();
//!     BufReader::new(stream).take(1024).read_line(&mut line)?;
//!     stream.write_all(line.to_uppercase().as_bytes())
//! };
//! let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), upper)?;
//! let (address, stopper) = (server.address()?, server.stopper());
//! let serving = std::thread::spawn(move || server.serve_forever());
//!
//! let mut client = std::net::TcpStream::connect(address.to_string())?;
//! client.write_all(b"hello\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?; // To the end: the server closes the stream.
//! assert_eq!(answer, "HELLO\n");
//!
//! stopper.shutdown();
//! # serving.join().map_err(|_| "the loop panicked")??;
//! # Ok(())
//! # }
//! ```
//!
//! **The life of a request.** [`verify`](Handler::verify) → [`setup`](Handler::setup) →
//! [`handle`](Handler::handle) → [`finish`](Handler::finish) → close. A request that `verify`
//! refuses is closed at once. `finish` runs after each `setup` that has succeeded, even when
//! `handle` fails or panics. When `setup` fails, neither `handle` nor `finish` runs. The close is
//! always the last step.
//!
//! **What blocks, and where.** The loop sleeps in poll(2) until a request arrives, a thread or a
//! process ends, or a stop is requested. Each of these wakes the loop at once, so a
//! [shutdown](Stopper::shutdown) waits for no poll interval. Handlers block in their own calls:
//! that is the model of this package.
//!
//! **What is bounded.** At most [`THREADS_MAX`] threads or [`CHILDREN_MAX`] processes serve at the
//! same time. More requests wait in the kernel. They also wait when the process has no descriptor
//! left: the server then accepts nothing for [`ACCEPT_PAUSE`](echo::ACCEPT_PAUSE), and does not
//! spin. A handler must bound its own reads and its own waits: [`Socket::set_read_timeout`] in
//! `setup` is the usual way.
//!
//! **Why the server `blocking` does not use it.** The library has the same three ways to serve a
//! client as `blocking/src/main.rs`, but hides the loop. In `main.rs` the loop is the lesson, and
//! must stay whole on one page. That loop also blocks in accept(2), the call that the model is
//! named for, and not in poll(2). The server counts its clients, drains them after SIGTERM, and
//! ends those that are idle, which are no steps of a request's life. With the library, `main.rs`
//! would be neither shorter nor clearer. So the library stands beside `main.rs`, and shows what a
//! framework makes of the same loop. `blocking/examples/socketserver.rs` is a program that uses it.
//!
//! | Python | here |
//! | --- | --- |
//! | `TCPServer`, `UnixStreamServer` | [`Server`] with a [`Handler`] for [`Socket`] |
//! | `UDPServer`, `UnixDatagramServer` | [`Server`] with a [`Handler`] for [`Datagram`] |
//! | `ThreadingMixIn`, `ForkingMixIn` | [`Concurrency::threads`], [`Concurrency::processes`] |
//! | `BaseRequestHandler`, and its `self` | [`Handler`], and its [`Session`](Handler::Session) |
//! | `handle_error` | [`Handler::failed`] |
//! | `serve_forever`, `handle_request` | [`Server::serve_forever`], [`Server::handle_request`] |
//! | `shutdown`, which lags by up to 0.5 s | [`Stopper::shutdown`], at once |
//! | `server_close` | [`Server::close`], or a drop; bounded in time |
//!
//! Not here: hooks for each turn of the loop (`service_actions`), because the loop wakes only when
//! there is something to do.
#![deny(unsafe_code)] // Except for fork(2).

mod handler;
mod request;
mod server;
mod stopper;
mod wake;
mod workers;

pub use echo::Address;
pub use handler::{Failure, Handler, Step};
pub use request::{Datagram, Datagrams, Request, Taken};
pub use server::{BACKLOG, DRAIN, Server};
pub use socket2::Socket;
pub use stopper::Stopper;
pub use workers::{CHILDREN_MAX, Concurrency, THREADS_MAX};
