//! WebSockets (RFC 6455): an echo, and a chat with its page.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example websocket
//! listening on 127.0.0.1:7000
//! $ xdg-open http://127.0.0.1:7000/                # the page, in a browser
//! $ websocat ws://127.0.0.1:7000/echo              # or any other client
//! ```
//!
//! A connection begins as HTTP, and one request turns it into a WebSocket: the conversation changes
//! its `Until`, from an empty line to whatever arrives. A frame's length has seven, 16 or 64 bits,
//! and a mask follows. No terminator and no fixed prefix describes that, so a protocol crate reads
//! it: tungstenite's `WebSocketContext` does no I/O of its own (`socket.rs`). `handshake.rs`
//! decides who may come in.
//!
//! A chat message for a thousand members is one frame in memory, as in `chat`. A member that does
//! not read is dropped, and the others are told.
//!
//! Not here: TLS (a proxy does it), compression (RFC 7692), names that differ.

#[path = "../common/mod.rs"]
mod common;
mod handshake;
mod socket;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::Serving;
use epoll_selector::{Acceptor, Context, Conversation, End, Peer, Protocol, Talk, Token, Until};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::handshake::{Asked, Place, Refused};
use crate::socket::{Event, Socket, text_frame};

/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;

const PAGE: &str = include_str!("page.html");

/// WebSocket server: a page at /, an echo at /echo, and a chat at /chat?name=NAME
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Longest message in bytes, of all its fragments together; a longer one ends its connection
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    longest: usize,

    /// Bytes that may wait for a client; a member of the chat for whom more wait is dropped
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    unread: usize,

    /// A client that is silent for this long gets a ping; after as long again without an answer it
    /// is dropped
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = echo::parse_duration)]
    timeout: Duration,
}

/// What all connections share.
struct Shared {
    members: Vec<Member>,
    longest: usize,
    timeout: Duration,
}

#[derive(Clone)]
struct Member {
    peer: Peer,
    name: String,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let Args { longest, unread, timeout, .. } = *args;
    let shared = Shared { members: Vec::new(), longest, timeout };
    let (mut reactor, listener) = args.serving.start(shared)?;
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Shared>| {
        let client = Conversation::new(stream, Client::Visitor);
        let client = client.until(Until::Bytes(b"\r\n\r\n")).longest(HEAD_MAX);
        Some(client.marks(unread / 2, unread))
    }));
    reactor.run()?;
    Ok(())
}

/// One connection.
enum Client {
    /// Has not asked for anything yet.
    Visitor,
    Socket {
        place: Place,
        socket: Box<Socket>,
        /// A ping was sent, and nothing has come since.
        pinged: bool,
    },
}

impl Protocol<Shared> for Client {
    fn opened(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        set_timer(&mut talk.context);
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        match self {
            Client::Visitor => match Asked::parse(&[bytes, b"\r\n\r\n"].concat()) {
                Ok(Asked::Page) => answer("200 OK", "text/html; charset=utf-8", "", PAGE, talk),
                Ok(Asked::Socket { place, accept }) => self.upgrade(place, &accept, talk)?,
                Err(refused) => refuse(&refused, talk),
            },
            Client::Socket { place, socket, pinged } => {
                *pinged = false;
                set_timer(&mut talk.context);
                take_frames(bytes, place, socket, talk)?;
            }
        }
        Ok(())
    }

    fn too_long(&mut self, _: usize, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        refuse(&Refused(431, "Request Header Fields Too Large", ""), talk);
        Ok(())
    }

    fn timeout(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        match self {
            Client::Socket { socket, pinged, .. } if !*pinged => {
                *pinged = true;
                socket.write(Message::Ping("".into()));
                talk.push(socket.take_output());
                set_timer(&mut talk.context);
                Ok(())
            }
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Says goodbye with a close frame.
    fn stop(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if let Client::Socket { socket, .. } = self {
            socket.fail(CloseCode::Away);
            talk.push(socket.take_output());
        }
        talk.close();
        Ok(())
    }

    fn ended(&mut self, _: End, context: &mut Context<'_, Shared>) {
        leave(context.token(), "has left", context);
    }
}

impl Client {
    fn upgrade(
        &mut self,
        place: Place,
        accept: &str,
        talk: &mut Talk<'_, Shared>,
    ) -> io::Result<()> {
        talk.push(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        talk.until(Until::Any);
        if let Place::Chat(name) = &place {
            let member = Member { peer: talk.peer(), name: name.clone() };
            talk.context.shared.members.push(member);
            say(&format!("* {name} has joined"), &mut talk.context)?;
        }
        let socket = Box::new(Socket::new(talk.context.shared.longest));
        *self = Client::Socket { place, socket, pinged: false };
        Ok(())
    }
}

/// Reads all frames in `bytes`, and answers them.
fn take_frames(
    mut bytes: &[u8],
    place: &Place,
    socket: &mut Socket,
    talk: &mut Talk<'_, Shared>,
) -> io::Result<()> {
    let is_over = loop {
        let event = match (socket.read(&mut bytes), place) {
            (Event::Message(message), Place::Echo) => {
                socket.write(message);
                continue;
            }
            (Event::Message(Message::Text(text)), Place::Chat(name)) => {
                say(&format!("{name}: {text}"), &mut talk.context)?;
                continue;
            }
            (Event::Message(_), Place::Chat(_)) => socket.fail(CloseCode::Unsupported),
            (event, _) => event,
        };
        break matches!(event, Event::Closed);
    };
    talk.push(socket.take_output());
    if is_over {
        // No frame may follow the close frame.
        leave(talk.context.token(), "has left", &mut talk.context);
        talk.close();
    }
    Ok(())
}

/// Sends one copy of a frame to all members. Drops those that do not read.
fn say(text: &str, context: &mut Context<'_, Shared>) -> io::Result<()> {
    let frame: Arc<[u8]> = Arc::from(text_frame(text.to_owned())?);
    let mut too_slow = Vec::new();
    for Member { peer, .. } in context.shared.members.clone() {
        if !peer.push(Arc::clone(&frame), context) {
            context.close(peer.token());
            too_slow.push(peer.token());
        }
    }
    // After the loop: this calls `say` again, for fewer members.
    for token in too_slow {
        leave(token, "does not read, and was dropped", context);
    }
    Ok(())
}

/// Removes a member, and tells the others. Does nothing if the member was removed before.
fn leave(who: Token, how: &str, context: &mut Context<'_, Shared>) {
    let members = &mut context.shared.members;
    let Some(at) = members.iter().position(|member| member.peer.token() == who) else { return };
    let name = members.remove(at).name;
    if !context.stopping() {
        // Writing a frame into memory does not fail.
        let _ = say(&format!("* {name} {how}"), context);
    }
}

fn refuse(refused: &Refused, talk: &mut Talk<'_, Shared>) {
    let Refused(code, reason, field) = refused;
    let status = format!("{code} {reason}");
    answer(&status, "text/plain", field, &format!("{status}\n"), talk);
}

/// A plain HTTP answer, which is the last of its connection.
fn answer(status: &str, media: &str, field: &str, body: &str, talk: &mut Talk<'_, Shared>) {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let length = body.len();
    talk.push(format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\
         {field}Connection: close\r\n\r\n{body}"
    ));
    talk.close();
}

fn set_timer(context: &mut Context<'_, Shared>) {
    let timeout = context.shared.timeout;
    context.timer(Some(Instant::now() + timeout));
}
