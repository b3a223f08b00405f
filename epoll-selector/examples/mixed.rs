//! One reactor, six kinds of sources: TCP, Unix sockets, UDP, a timer, signals and standard input.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example mixed -- --unix /tmp/mixed --every 1s
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! $ echo hello | nc -N -U /tmp/mixed
//! $ echo hello | nc -u -w1 127.0.0.1 7000
//! $ pkill -USR1 mixed                     # statistics now; and so does the line `stats` on stdin
//! ```
//!
//! All of them echo, count into one shared state without a lock, and run in one thread. Only standard input
//! needs a second thread: it may be a regular file, and no selector can watch a regular file (EPERM).

mod common;

use std::io::{self, BufRead, ErrorKind, Read};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::Serving;
use echo::{Address, SCRATCH_BYTES};
use epoll_selector::{
    Acceptor, Context, Conversation, Event, Handler, Interest, Next, Protocol, Remote, Talk,
    mailbox,
};
use signal_hook::consts::SIGUSR1;
use signal_hook::low_level::pipe;
use socket2::{SockRef, Socket, Type};

/// Datagrams echoed before the others get their turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// Echoes on TCP, UDP and a Unix socket at the same time
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// Path of a Unix socket to listen on, too
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,

    /// Print the statistics on stderr each time this has passed
    #[arg(long, value_name = "DURATION", value_parser = echo::parse_duration)]
    every: Option<Duration>,
}

/// What has been echoed so far.
#[derive(Debug, Default)]
struct Statistics {
    streams: u64,
    stream_bytes: u64,
    datagrams: u64,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    let Address::Tcp(_) = args.serving.addr else {
        return Err(echo::Error::bad_arguments("--addr needs HOST:PORT here; add --unix PATH"));
    };
    let (ours, signalled) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    pipe::register(SIGUSR1, signalled)?;
    let (mut reactor, listener) = args.serving.start(Statistics::default())?;
    reactor.add(Signals(ours));

    // UDP on the port that TCP has got.
    let addr = SockRef::from(&listener).local_addr()?;
    let udp = UdpSocket::from(Socket::new(addr.domain(), Type::DGRAM, None)?);
    SockRef::from(&udp).bind(&addr)?;
    udp.set_nonblocking(true)?;
    reactor.add(Datagrams(udp));
    if let Some(path) = &args.unix {
        let serving = Serving { addr: Address::Unix(path.clone()), ..args.serving.clone() };
        reactor.add(Acceptor::new(serving.listen()?, client));
    }
    reactor.add(Acceptor::new(listener, client));
    if let Some(every) = args.every {
        reactor.add(Clock(every));
    }
    let (remote, mailbox) = mailbox(16)?;
    reactor.add(mailbox);
    thread::spawn(move || read_commands(&remote));
    let statistics = reactor.run()?;
    echo::report(format_args!("{statistics:?}"));
    Ok(())
}

/// The handler of each client, on TCP and on the Unix socket.
fn client(stream: Socket, context: &mut Context<'_, Statistics>) -> Option<Conversation<Echo>> {
    context.shared.streams += 1;
    Some(Conversation::new(stream, Echo))
}

struct Echo;

impl Protocol<Statistics> for Echo {
    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Statistics>) -> io::Result<()> {
        talk.context.shared.stream_bytes += bytes.len() as u64;
        talk.push(bytes);
        Ok(())
    }
}

/// One handler for all UDP clients: UDP has no connections.
struct Datagrams(UdpSocket);

impl Handler<Statistics> for Datagrams {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Statistics>) -> io::Result<Next> {
        let mut buffer = [0; SCRATCH_BYTES];
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.0.recv_from(&mut buffer) {
                Ok((received, sender)) => {
                    context.shared.datagrams += 1;
                    let _ = self.0.send_to(&buffer[..received], sender); // UDP may lose it too.
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Next::Wait(Interest::READ));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A peer's ICMP answer (ECONNREFUSED) concerns one datagram.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Again)
    }
}

/// Reports each time its timer is due. It has no descriptor.
struct Clock(Duration);

impl Handler<Statistics> for Clock {
    fn added(&mut self, context: &mut Context<'_, Statistics>) -> io::Result<Next> {
        context.timer(Some(Instant::now() + self.0));
        Ok(Next::Keep)
    }

    fn timeout(&mut self, context: &mut Context<'_, Statistics>) -> io::Result<Next> {
        echo::report(format_args!("{:?}", context.shared));
        self.added(context)
    }
}

/// Reports on SIGUSR1. The signal's handler writes a byte into a pipe, and the loop watches the pipe.
struct Signals(UnixStream);

impl Handler<Statistics> for Signals {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Statistics>) -> io::Result<Next> {
        let mut bytes = [0; 64];
        // Several signals may be one byte, and one signal several reads: only "any" counts.
        while matches!(self.0.read(&mut bytes), Ok(1..)) {}
        echo::report(format_args!("{:?}", context.shared));
        Ok(Next::Wait(Interest::READ))
    }
}

/// Reads commands from standard input, and carries them out in the loop's thread.
fn read_commands(remote: &Remote<Statistics>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let done = match line.trim() {
            "stats" => remote.call(|context| echo::report(format_args!("{:?}", context.shared))),
            "quit" => remote.call(|context| context.stop(Duration::from_secs(1))),
            _ => {
                echo::report("use stats or quit");
                Ok(())
            }
        };
        if done.is_err() {
            return; // The loop has ended.
        }
    }
}
