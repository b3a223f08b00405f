//! An echo server that is slower by a known amount: does the ruler see it?
//!
//! ```console
//! $ cargo build --release -p bench --example slowed
//! $ S=target/release/examples/slowed
//! $ cargo bench --bench compare -- --server "plain=$S {addr}" --server "slow=$S {addr} --burn 250ns" \
//!       --reference plain 'active/slow/64'
//! ```
//!
//! A level-triggered epoll loop and nothing more: it does not keep the contract.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

/// TCP echo server that is slower than itself by a known amount.
#[derive(Parser)]
struct Args {
    /// Address to listen on
    addr: SocketAddr,

    /// Time to burn for each message. The clock is read without a system call (vdso(7))
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = humantime::parse_duration)]
    burn: Duration,
}

/// The listener's place among the events; no client is ever given it.
const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let Args { addr, burn } = Args::parse();
    let listener = TcpListener::bind(addr)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut clients: Slab<TcpStream> = Slab::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => continue, // SIGSTOP and SIGCONT do that.
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                let (client, _) = listener.accept()?;
                client.set_nodelay(true)?;
                let entry = clients.vacant_entry();
                epoll.add(&client, EpollEvent::new(EpollFlags::EPOLLIN, entry.key() as u64))?;
                entry.insert(client);
                continue;
            }
            let key = event.data() as usize;
            if echo(&mut clients[key], &mut buffer, burn).is_err() {
                let client = clients.remove(key);
                epoll.delete(client.as_fd())?;
            }
        }
    }
}

/// Reads once, burns, and writes it back; an error also at the end of the stream.
fn echo(client: &mut TcpStream, buffer: &mut [u8], burn: Duration) -> io::Result<()> {
    let received = client.read(buffer)?;
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !burn.is_zero() {
        let start = Instant::now();
        while start.elapsed() < burn {
            std::hint::spin_loop();
        }
    }
    client.write_all(&buffer[..received])
}
