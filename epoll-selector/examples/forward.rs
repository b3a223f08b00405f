//! A TCP port forwarder: each client gets a connection to another server.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example forward -- --to 127.0.0.1:7000 --addr 127.0.0.1:7001
//! listening on 127.0.0.1:7001
//! ```
//!
//! Two [`Half`]s share two [`Line`]s, one for each direction. What one half receives goes into the line to
//! the other, which the other half sends. While that line is full, the first half does not read
//! ([`Pause::Partner`]): so back-pressure reaches from one end to the other. The end of a stream is passed on
//! as the end of the other stream, in each direction on its own. A reset is passed on as a reset.
//!
//! With `--delay`, `--rate` and `--cut` the forwarder stands in for a bad network.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::Serving;
use echo::Address;
use epoll_selector::{Acceptor, Context, Conversation, End, Pause, Protocol, Talk, Token, connect};
use socket2::{SockAddr, Socket};

/// Bytes that may wait in one direction of one connection. From here on the sender is not read.
const LINE_MAX: usize = 1024 * 1024;

/// Bytes that may wait for the socket; the others wait in the line.
const OUTBOX_MAX: usize = 256 * 1024;

/// Forwards each connection to another server
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Where to forward to: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR")]
    to: Address,

    /// Longest time to connect to the other server
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = echo::parse_duration)]
    connect_timeout: Duration,

    /// Hold all bytes back for this time, in each direction
    #[arg(long, value_name = "DURATION", value_parser = echo::parse_duration)]
    delay: Option<Duration>,

    /// Forward at most this number of bytes per second, in each direction of each connection
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Reset a connection after this number of bytes in one direction
    #[arg(long, value_name = "BYTES")]
    cut: Option<u64>,

    /// Report on stderr why a connection has failed
    #[arg(short, long)]
    verbose: bool,
}

/// What all connections share.
struct Shared {
    to: SockAddr,
    connect_timeout: Duration,
    weather: Weather,
    verbose: bool,
}

/// The bad network that the forwarder stands in for.
#[derive(Clone, Copy)]
struct Weather {
    delay: Option<Duration>,
    rate: Option<u64>,
    cut: Option<u64>,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let shared = Shared {
        to: args.to.to_sockaddr()?,
        connect_timeout: args.connect_timeout,
        weather: Weather { delay: args.delay, rate: args.rate, cut: args.cut },
        verbose: args.verbose,
    };
    let (mut reactor, listener) = args.serving.start(shared)?;
    reactor.add(Acceptor::new(listener, |stream, context: &mut Context<'_, Shared>| {
        Some(Conversation::new(stream, Half::client(context.shared.weather)))
    }));
    reactor.run()?;
    Ok(())
}

/// One of the two connections.
struct Half {
    /// The other half. The client's half has none until it has begun to connect.
    other: Option<Token>,
    is_client: bool,
    /// What the other half has received, for us to send.
    from_other: Rc<RefCell<Line>>,
    /// What we have received.
    to_other: Rc<RefCell<Line>>,
    /// One half has failed, so the other must fail too.
    failed: Rc<Cell<bool>>,
}

impl Half {
    /// The half of a client that has just been accepted.
    fn client(weather: Weather) -> Half {
        let line = || Rc::new(RefCell::new(Line::new(weather)));
        let (from_other, to_other) = (line(), line());
        Half { other: None, is_client: true, from_other, to_other, failed: Rc::default() }
    }

    /// The half that connects for `self`.
    fn upstream(&self, client: Token) -> Half {
        Half {
            other: Some(client),
            is_client: false,
            from_other: Rc::clone(&self.to_other),
            to_other: Rc::clone(&self.from_other),
            failed: Rc::clone(&self.failed),
        }
    }

    /// Sends what is due, and lets the other half read again when the line has room.
    fn send(&mut self, talk: &mut Talk<'_, Shared>) {
        let mut line = self.from_other.borrow_mut();
        while talk.pending() < OUTBOX_MAX
            && let Some(bytes) = line.take_due()
        {
            talk.push(bytes);
        }
        if line.is_over() {
            talk.finish();
        }
        // With a full outbox, `drained` comes before any time does.
        let next = if talk.pending() < OUTBOX_MAX { line.next_due() } else { None };
        talk.context.timer(next);
        if line.sender_waits && line.bytes < LINE_MAX / 2 {
            line.sender_waits = false;
            self.wake_other(talk);
        }
    }

    fn wake_other(&self, talk: &mut Talk<'_, Shared>) {
        if let Some(other) = self.other {
            talk.context.wake(other);
        }
    }

    fn check(&self, talk: &Talk<'_, Shared>) -> io::Result<()> {
        if self.failed.get() {
            reset_when_closed(talk.stream());
            return Err(io::Error::other("the other half has failed"));
        }
        Ok(())
    }
}

impl Protocol<Shared> for Half {
    fn opened(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.check(talk)?; // The client may have failed while its upstream was connecting.
        if self.is_client {
            let upstream = self.upstream(talk.context.token());
            let (to, limit) = (&talk.context.shared.to, talk.context.shared.connect_timeout);
            let upstream = Conversation::connecting(connect(to)?, upstream, limit);
            self.other = Some(upstream.add_to(&mut talk.context).token());
        }
        self.send(talk);
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        let mut line = self.to_other.borrow_mut();
        if let Err(error) = line.push(bytes) {
            reset_when_closed(talk.stream());
            return Err(error);
        }
        if line.bytes >= LINE_MAX {
            line.sender_waits = true;
            talk.pause(Pause::Partner);
        }
        self.wake_other(talk);
        Ok(())
    }

    fn end_of_input(&mut self, _: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.to_other.borrow_mut().ended = true;
        self.wake_other(talk);
        Ok(())
    }

    fn woken(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.check(talk)?;
        if !self.to_other.borrow().sender_waits {
            talk.resume(Pause::Partner);
        }
        self.send(talk);
        Ok(())
    }

    fn timeout(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.send(talk);
        Ok(())
    }

    fn drained(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.send(talk);
        Ok(())
    }

    /// What the client has sent is still answered, so only the client's input ends.
    fn stop(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if self.is_client {
            talk.end_input();
        }
        Ok(())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Shared>) {
        if let Err(error) = why.into_result() {
            let first = !self.failed.replace(true);
            if first && context.shared.verbose {
                echo::report(error);
            }
            if let Some(other) = self.other {
                context.wake(other);
            }
        }
    }
}

/// One direction of a connection: what was received and not sent, and when each piece is due.
struct Line {
    weather: Weather,
    pieces: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes in `pieces`.
    bytes: usize,
    /// Bytes that have come in all.
    total: u64,
    /// With a rate: when the next byte may leave.
    free_at: Option<Instant>,
    /// The line was full, and the half that fills it does not read.
    sender_waits: bool,
    /// The end of the stream follows the last piece.
    ended: bool,
}

impl Line {
    fn new(weather: Weather) -> Line {
        let pieces = VecDeque::new();
        let (bytes, total, free_at) = (0, 0, None);
        Line { weather, pieces, bytes, total, free_at, sender_waits: false, ended: false }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Weather { delay, rate, cut } = self.weather;
        self.total += bytes.len() as u64;
        if cut.is_some_and(|cut| self.total > cut) {
            return Err(io::Error::other(format!("cut after {} bytes", self.total)));
        }
        let earliest = Instant::now() + delay.unwrap_or_default();
        self.bytes += bytes.len();
        let Some(rate) = rate else {
            self.pieces.push_back((earliest, bytes.to_vec()));
            return Ok(());
        };
        // Pieces of 10 ms: a larger piece would leave in a burst.
        let piece = usize::try_from(rate / 100).unwrap_or(usize::MAX).max(1);
        for bytes in bytes.chunks(piece) {
            let due = self.free_at.map_or(earliest, |free| free.max(earliest));
            self.free_at = Some(due + Duration::from_secs_f64(bytes.len() as f64 / rate as f64));
            self.pieces.push_back((due, bytes.to_vec()));
        }
        Ok(())
    }

    fn take_due(&mut self) -> Option<Vec<u8>> {
        self.next_due().filter(|due| *due <= Instant::now())?;
        let (_, bytes) = self.pieces.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    fn next_due(&self) -> Option<Instant> {
        self.pieces.front().map(|(due, _)| *due)
    }

    fn is_over(&self) -> bool {
        self.ended && self.pieces.is_empty()
    }
}

/// Makes the close of a socket a reset (SO_LINGER, socket(7)).
fn reset_when_closed(stream: &Socket) {
    let _ = stream.set_linger(Some(Duration::ZERO)); // Fails for a Unix-domain socket.
}
