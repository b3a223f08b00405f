//! A TCP port forwarder: each client gets a connection to another server.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example forward -- --to 127.0.0.1:7000 --addr 127.0.0.1:7001
//! listening on 127.0.0.1:7001
//! ```
//!
//! Two [`Half`]s know each other. What one receives goes into the outbox of the other. While that outbox is
//! full, the first half does not read ([`Pause::Partner`]): so back-pressure reaches from one end to the
//! other. The end of a stream is passed on as the end of the other stream, in each direction on its own. A
//! half that fails closes its partner.
//!
//! With `--delay`, `--rate` and `--cut` the forwarder stands in for a bad network.

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::Serving;
use echo::Address;
use epoll_selector::{
    Acceptor, Context, Conversation, End, Pause, Peer, Protocol, Talk, connect,
};
use socket2::{SockAddr, Socket};

/// Bytes that one read may deliver when a rate or a delay holds them back: they wait in our memory.
const HELD_MAX: usize = 1024 * 1024;

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
        Some(Conversation::new(stream, Half::new(context.shared.weather)))
    }));
    reactor.run()?;
    Ok(())
}

/// One of the two connections: what it receives goes to the other.
struct Half {
    /// The other half. The client's half has none until it has begun to connect.
    other: Option<Peer>,
    is_client: bool,
    /// One half has failed, so the other must fail too: a reset is passed on as a reset.
    failed: Rc<RefCell<bool>>,
    weather: Weather,
    held: Held,
    received: u64,
}

impl Half {
    /// The half of a client that has just been accepted.
    fn new(weather: Weather) -> Half {
        let failed = Rc::default();
        Half { other: None, is_client: true, failed, weather, held: Held::default(), received: 0 }
    }

    /// Passes on what is due. While the other half is full, nothing more is read.
    fn pass_on(&mut self, talk: &mut Talk<'_, Shared>) {
        let Some(other) = &self.other else { return };
        while !other.is_full()
            && let Some(bytes) = self.held.take_due()
        {
            let _ = other.push(bytes, &mut talk.context); // It is not full.
        }
        match other.is_full() {
            true => talk.pause(Pause::Partner), // It wakes us when it has drained.
            false => talk.resume(Pause::Partner),
        }
        match self.held.bytes >= HELD_MAX {
            true => talk.pause(Pause::Rate),
            false => talk.resume(Pause::Rate),
        }
        if self.held.is_over() {
            other.finish(&mut talk.context);
        }
        // While the other half is full, its wake comes before any time does.
        talk.context.timer(if other.is_full() { None } else { self.held.next_due() });
    }
}

impl Protocol<Shared> for Half {
    fn opened(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if *self.failed.borrow() {
            return Err(io::Error::other("the client has gone"));
        }
        if self.is_client {
            let other = Some(talk.peer());
            let (failed, weather) = (Rc::clone(&self.failed), self.weather);
            let held = Held::default();
            let upstream = Half { other, is_client: false, failed, weather, held, received: 0 };
            let (to, limit) = (&talk.context.shared.to, talk.context.shared.connect_timeout);
            let upstream = Conversation::connecting(connect(to)?, upstream, limit);
            // Bytes for it wait in its outbox until it is connected.
            self.other = Some(upstream.add_to(&mut talk.context));
        }
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.received += bytes.len() as u64;
        if self.weather.cut.is_some_and(|cut| self.received > cut) {
            reset_when_closed(talk.stream());
            return Err(io::Error::other(format!("cut after {} bytes", self.received)));
        }
        self.held.push(bytes, self.weather);
        self.pass_on(talk);
        Ok(())
    }

    fn end_of_input(&mut self, _: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.held.ended = true;
        self.pass_on(talk);
        Ok(())
    }

    fn timeout(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        self.pass_on(talk);
        Ok(())
    }

    /// Our outbox is down to its low mark: the other half may read again.
    fn drained(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if let Some(other) = &self.other {
            talk.context.wake(other.token());
        }
        Ok(())
    }

    fn woken(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if *self.failed.borrow() {
            reset_when_closed(talk.stream());
            return Err(io::Error::other("the other half has failed"));
        }
        self.pass_on(talk);
        Ok(())
    }

    /// What the client has sent is still answered, so only its input ends.
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
        }
        if let Some(other) = &self.other {
            context.wake(other.token());
        }
    }
}

/// What was received and not passed on, and when each piece is due.
#[derive(Default)]
struct Held {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// With a rate: when the next byte may leave.
    free_at: Option<Instant>,
    /// The end of the stream follows the last piece.
    ended: bool,
}

impl Held {
    fn push(&mut self, bytes: &[u8], weather: Weather) {
        let now = Instant::now();
        self.bytes += bytes.len();
        let earliest = now + weather.delay.unwrap_or_default();
        let Some(rate) = weather.rate else {
            return self.pieces.push_back((earliest, bytes.to_vec()));
        };
        // Pieces of 10 ms: a larger one would leave in a burst.
        let piece = usize::try_from(rate / 100).unwrap_or(usize::MAX).max(1);
        for bytes in bytes.chunks(piece) {
            let due = self.free_at.map_or(earliest, |free| free.max(earliest));
            self.free_at = Some(due + Duration::from_secs_f64(bytes.len() as f64 / rate as f64));
            self.pieces.push_back((due, bytes.to_vec()));
        }
    }

    fn take_due(&mut self) -> Option<Vec<u8>> {
        let due = self.next_due().is_some_and(|due| due <= Instant::now());
        let (_, bytes) = if due { self.pieces.pop_front()? } else { return None };
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
