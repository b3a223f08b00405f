//! The client of `batch`: reads the feed, and says how late the messages were.
//!
//! The two processes must run on one machine: a message carries a time of CLOCK_MONOTONIC.

mod common;

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use echo::Address;
use nix::time::{ClockId, clock_gettime};
use socket2::{Socket, Type};

/// Reads the feed until its end, and prints how late the messages were
#[derive(Parser)]
struct Args {
    /// Address of the server: HOST:PORT or unix:PATH
    #[arg(default_value = "127.0.0.1:7000")]
    server: Address,

    /// Size of a message in bytes, as the server's --size
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(8..=16384))]
    size: u16,
}

fn main() -> ExitCode {
    common::finish(read_feed(&Args::parse()))
}

fn read_feed(args: &Args) -> echo::Result<()> {
    let stream = Socket::new(args.server.domain(), Type::STREAM, None)?;
    stream.connect(&args.server.to_sockaddr()?)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    let (mut lateness_us, mut bytes) = (Vec::new(), 0);
    loop {
        let received = (&stream).read(&mut buffer[filled..])?;
        if received == 0 {
            break;
        }
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from)?;
        (filled, bytes) = (filled + received, bytes + received);
        let whole = filled - filled % usize::from(args.size);
        for message in buffer[..whole].chunks_exact(args.size.into()) {
            let stamp = message.first_chunk().copied().map_or(0, u64::from_le_bytes);
            lateness_us.push(now.saturating_sub(Duration::from_nanos(stamp)).as_micros());
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
    lateness_us.sort_unstable();
    let Some(last) = lateness_us.len().checked_sub(1) else {
        return Err(io::Error::other("the feed ended before its first message").into());
    };
    println!(
        "{} messages, {bytes} bytes; microseconds from due to received: p50 {}, p99 {}",
        lateness_us.len(),
        lateness_us[last / 2],
        lateness_us[last * 99 / 100],
    );
    Ok(())
}
