//! # nonblocking: never wait, ask everybody again and again
//!
//! **What blocks, and where.** Nothing: with O_NONBLOCK (fcntl(2)) accept, read and write answer
//! EAGAIN where they would have slept. One thread can attend to many clients, but nobody tells it which.
//!
//! **What the kernel tells us.** Only what we ask, one socket at a time: `WouldBlock`, or bytes.
//!
//! **What it costs.** Two system calls for each message; and on every pass one for each client that had
//! nothing to say, and one for the listener: the cost grows with the clients *connected*, not with
//! those that speak. And while there is nothing to do it costs a whole CPU, unless `--wait` says how
//! to lose time instead.
//!
//! **How it differs from the model before.** `blocking` leaves the waiting to the kernel, one thread for
//! each client. Here one thread serves all, and the waiting is ours.
//!
//! ```console
//! $ cargo run --release -p nonblocking -- --wait sleep:50us
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: any way to ask about all sockets at once; that is `select`.
#![forbid(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::{
    ACCEPTS_PER_TURN, Connection, IdleClock, Listener, Options, Scratch, Stop, Tally, Totals, Wants,
};
use socket2::Socket;

/// Longest sleep: nothing wakes the loop from it, not even a request to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// TCP echo server: one thread asks every socket in turn, and never blocks.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What to do after a pass that found nothing to do: spin, yield (sched_yield), or sleep:DURATION
    #[arg(long, value_name = "WAIT", default_value = "spin")]
    wait: Wait,
}

/// How to lose time when there is nothing to do.
#[derive(Clone, Copy)]
enum Wait {
    /// Ask again at once: the least latency, and a whole CPU.
    Spin,
    /// Let others run first: the same, but kinder to them.
    Yield,
    /// Sleep: little CPU, and as much latency.
    Sleep(Duration),
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Stop::new()?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let mut clients: Vec<Connection<Socket>> = Vec::new();
    let mut scratch = Scratch::new(options);
    let mut tally = Tally::new(options);
    let mut idle = IdleClock::new(options);
    let mut deadline = None;
    let mut progress = true;
    loop {
        if stop.requested() && deadline.is_none() {
            deadline = Some(Instant::now() + options.drain);
            // Each client has sent all it will: what has arrived is echoed, then end of stream is found.
            for client in &clients {
                let _ = client.stream().shutdown(Shutdown::Read);
            }
        }
        if deadline.is_some_and(|deadline| clients.is_empty() || deadline <= Instant::now()) {
            tally.cut_off(clients.iter().map(Connection::stream));
            return Ok(tally.totals());
        }
        if idle.ticked() {
            for client in clients.iter_mut().filter_map(|client| client.tick().then_some(client)) {
                let _ = client.stream().shutdown(Shutdown::Both);
            }
        }

        if !progress {
            args.wait.lose_time();
        }
        progress = false;

        clients.retain_mut(|client| {
            // Neither a stop nor the end of its drain waits for the rest of a turn.
            if deadline.map_or(stop.requested(), |deadline| deadline <= Instant::now()) {
                return true;
            }
            let step = tally.step(client.step(&mut scratch), client.stream());
            progress |= !step.would_block;
            if step.wants == Wants::Close {
                listener.resume();
            }
            step.wants != Wants::Close
        });
        if deadline.is_none() {
            progress |= accept(&mut listener, &mut clients, &mut tally)?;
        }
    }
}

/// Accepts who waits, up to a bound. Returns whether anybody did.
fn accept(
    listener: &mut Listener,
    clients: &mut Vec<Connection<Socket>>,
    tally: &mut Tally,
) -> io::Result<bool> {
    for accepted in 0..ACCEPTS_PER_TURN {
        let Some(stream) = listener.accept(clients.len())? else { return Ok(accepted > 0) };
        tally.opened(&stream);
        clients.push(Connection::new(stream));
    }
    Ok(true)
}

impl Wait {
    fn lose_time(self) {
        match self {
            Wait::Spin => std::hint::spin_loop(),
            Wait::Yield => thread::yield_now(),
            Wait::Sleep(time) => thread::sleep(time),
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text.split_once(':') {
            None if text == "spin" => Ok(Wait::Spin),
            None if text == "yield" => Ok(Wait::Yield),
            Some(("sleep", time)) => match echo::parse_duration(time)? {
                time if time <= SLEEP_MAX => Ok(Wait::Sleep(time)),
                _ => Err("longer than 100ms: a request to stop must be noticed".to_owned()),
            },
            _ => Err("use spin, yield, or sleep:DURATION such as sleep:50us".to_owned()),
        }
    }
}
