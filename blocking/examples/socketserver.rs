//! # One handler, twelve servers
//!
//! Answers each line, or with `--udp` each datagram, in upper case. The handler is the same over
//! TCP and over Unix-domain sockets, for one request at a time, with a thread for each, or with a
//! process for each.
//!
//! ```console
//! $ cargo run -p blocking --example socketserver -- --per-request process
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! HELLO
//! ```
#![deny(unsafe_code)] // Except for the promise of a process with one thread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use echo::parse_duration;
use socketserver::{Address, Concurrency, Datagram, Handler, Request, Server, Socket};

/// Longest line that is answered, in bytes. The rest of a longer line is answered as the next one.
const LINE_MAX: u64 = 64 * 1024;

/// Answers each line, or each datagram, in upper case
#[derive(Parser)]
struct Args {
    /// Address to listen on: HOST:PORT, [IPV6]:PORT (port 0: a free one), or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    addr: Address,

    /// What serves a request
    #[arg(long, value_enum, default_value_t = PerRequest::Thread)]
    per_request: PerRequest,

    /// Most requests served at the same time; the others wait
    /// [default: 1024 threads or 40 processes]
    #[arg(long, value_name = "COUNT")]
    at_most: Option<usize>,

    /// Answer datagrams instead of lines
    #[arg(long)]
    udp: bool,

    /// Close a connection after this time without a byte moved; 0s: no limit
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,

    /// Longest time to finish requests after SIGINT or SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    drain: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum PerRequest {
    /// The server's own thread, one request at a time
    None,
    /// A thread for each request
    Thread,
    /// A process for each request
    Process,
}

struct Upper {
    timeout: Duration,
}

impl Handler<Socket> for Upper {
    type Session = BufReader<Socket>;

    fn setup(&self, stream: &Socket) -> io::Result<BufReader<Socket>> {
        echo::set_timeouts(stream, Some(self.timeout))?; // Zero: no limit.
        Ok(BufReader::new(stream.try_clone()?))
    }

    fn handle(&self, reader: &mut BufReader<Socket>, mut stream: &Socket) -> io::Result<()> {
        let mut line = Vec::new();
        while reader.take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
            stream.write_all(&line.to_ascii_uppercase())?;
            line.clear();
        }
        Ok(())
    }
}

impl Handler<Datagram> for Upper {
    type Session = ();

    fn setup(&self, _: &Datagram) -> io::Result<()> {
        Ok(())
    }

    fn handle(&self, (): &mut (), datagram: &Datagram) -> io::Result<()> {
        datagram.reply(&datagram.bytes().to_ascii_uppercase())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let served = if args.udp { serve::<Datagram>(&args) } else { serve::<Socket>(&args) };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            echo::report(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve<R: Request>(args: &Args) -> echo::Result<()>
where
    Upper: Handler<R>,
{
    let handler = Upper { timeout: args.timeout };
    let mut server = Server::bind(&args.addr, concurrency(args), handler)?;
    server.stopper().request_on_signals()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", server.address()?).and_then(|()| stdout.flush())?;
    server.serve_forever()?;
    server.close(args.drain);
    Ok(())
}

#[allow(unsafe_code)]
fn concurrency(args: &Args) -> Concurrency {
    let concurrency = match args.per_request {
        PerRequest::None => Concurrency::one_at_a_time(),
        PerRequest::Thread => Concurrency::threads(),
        // SAFETY: this program starts no thread of its own, and the library starts none then.
        PerRequest::Process => unsafe { Concurrency::processes() },
    };
    args.at_most.map_or(concurrency, |most| concurrency.at_most(most))
}
