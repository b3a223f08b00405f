//! A feed of many small messages, sent in three ways: one by one, gathered, or held back by a timer.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example batch -- --send gathered
//! listening on 127.0.0.1:7000
//! $ cargo run --release -p epoll-selector --example batch_client -- 127.0.0.1:7000
//! 10000 messages, 640000 bytes; microseconds from due to received: p50 604, p99 1104
//! ```
//!
//! The server then says what the same messages cost it: system calls, and bytes in a packet (TCP_INFO,
//! tcp(7)). Each way trades one cost for another: a call for each message, or a wait.

mod common;

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use common::Serving;
use epoll_selector::{Acceptor, Context, End, Event, Handler, Interest, Next, Outbox, Sent};
use nix::libc;
use nix::time::{ClockId, clock_gettime};
use socket2::Socket;

/// The selector's timers have a resolution of a millisecond, so the feed moves in such ticks.
const TICK: Duration = Duration::from_millis(1);

/// Bytes of a message that tell when it was due: nanoseconds of CLOCK_MONOTONIC.
const STAMP_BYTES: usize = 8;

/// Sends each client a number of small messages at a constant rate, then closes
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// How to send
    #[arg(long, value_enum, default_value_t = Way::Gathered)]
    send: Way,

    /// Messages for each client
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    messages: u64,

    /// Size of a message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(8..=16384))]
    size: u16,

    /// Messages per second and client
    #[arg(long, value_name = "RATE", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// With --send held: how long the first message of a batch may wait
    #[arg(long, value_name = "DURATION", default_value = "10ms", value_parser = echo::parse_duration)]
    hold: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A system call for each message
    Single,
    /// All messages of one turn in one system call
    Gathered,
    /// All messages of one --hold in one system call
    Held,
}

fn main() -> ExitCode {
    common::finish(serve(Args::parse()))
}

fn serve(args: Args) -> echo::Result<()> {
    let (mut reactor, listener) = args.serving.start(())?;
    let Args { send, messages, size, rate, hold, .. } = args;
    let (size, period) = (size.into(), Duration::from_secs(1) / rate);
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, ()>| {
        Some(Feed {
            stream: Counting { stream, calls: 0 },
            outbox: Outbox::new(),
            send,
            hold,
            message: vec![0; size],
            left: messages,
            period,
            due: Instant::now(),
            flush_at: None,
        })
    }));
    Ok(reactor.run()?)
}

/// One client's feed.
struct Feed {
    stream: Counting,
    outbox: Outbox,
    send: Way,
    hold: Duration,
    message: Vec<u8>,
    /// Messages to send.
    left: u64,
    /// Time between two messages.
    period: Duration,
    /// When the next message is due.
    due: Instant,
    /// With [`Way::Held`]: when the batch must leave.
    flush_at: Option<Instant>,
}

impl Handler<()> for Feed {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.stream.as_fd())
    }

    fn added(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.due = Instant::now();
        self.timeout(context)
    }

    /// The client takes bytes again.
    fn ready(&mut self, _: Event, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.flush()?;
        self.next(context)
    }

    /// A tick: queues what is due, unless the client is behind.
    fn timeout(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        let now = Instant::now();
        while self.left > 0 && self.due <= now && !self.outbox.is_full() {
            let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from)?;
            let due = since_boot.saturating_sub(now - self.due).as_nanos() as u64;
            self.message[..STAMP_BYTES].copy_from_slice(&due.to_le_bytes());
            self.outbox.push(&self.message[..]);
            self.left -= 1;
            self.due += self.period;
            if self.send == Way::Single {
                self.flush()?;
            }
        }
        let leaves = match self.send {
            Way::Single | Way::Gathered => true,
            Way::Held => {
                let flush_at = *self.flush_at.get_or_insert(now + self.hold);
                flush_at <= now || self.left == 0 || self.outbox.is_full()
            }
        };
        if leaves {
            self.flush_at = None;
            self.flush()?;
        }
        self.next(context)
    }

    fn closed(&mut self, why: End, _: &mut Context<'_, ()>) {
        let (bytes, calls) = (self.outbox.total(), self.stream.calls);
        let messages = bytes / self.message.len() as u64;
        let packets = packets_sent(&self.stream.stream);
        let per_packet = packets.map_or("unavailable".to_owned(), |packets| {
            format!("{:.0}", bytes as f64 / packets.max(1) as f64)
        });
        echo::report(format_args!(
            "{why}: {:?}, {messages} messages, {bytes} bytes, {calls} system calls, bytes in a packet: \
             {per_packet}",
            self.send
        ));
    }
}

impl Feed {
    fn flush(&mut self) -> io::Result<Sent> {
        self.outbox.write_to(&mut self.stream)
    }

    fn next(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        if self.outbox.is_empty() && self.left == 0 {
            return Ok(Next::Close);
        }
        // While the client is behind, its socket wakes us, not the timer.
        let blocked = self.outbox.is_full();
        context.timer((!blocked).then(|| Instant::now() + TICK));
        Ok(Next::Wait(if blocked { Interest::WRITE } else { Interest::NONE }))
    }
}

/// A stream that counts the calls that write to it.
struct Counting {
    stream: Socket,
    calls: u64,
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.calls += 1;
        self.stream.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packets with data that the kernel has sent on this connection, or `None` where it does not say.
fn packets_sent(stream: &Socket) -> Option<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`.
    let result = unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(stream.as_raw_fd(), level, name, info.as_mut_ptr().cast(), &raw mut len)
    };
    // SAFETY: all zeroes are a valid value, and the kernel has overwritten a part.
    let info = unsafe { info.assume_init() };
    (result == 0).then_some(info.tcpi_data_segs_out)
}
