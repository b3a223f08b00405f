//! A minimal echo server on epoll: a level-triggered loop without checks.
//!
//! A yardstick for `cargo bench --bench compare -- --yardsticks`. This server has no limits, no
//! drain and no idle timeout. It does not keep the contract, so a comparison shows the cost of the
//! contract.
//!
//! With `--burn`, the server is slower by a known amount. A comparison must detect this amount.
//!
//! ```console
//! $ cargo build --release -p bench --example bare_epoll
//! $ S=target/release/examples/bare_epoll
//! $ cargo bench --bench compare -- --server "plain=$S --addr {addr}" \
//!       --server "slow=$S --addr {addr} --burn 250ns" --reference plain 'active/slow/64'
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

/// TCP echo server: a bare epoll loop
#[derive(Parser)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7000")]
    addr: SocketAddr,

    /// CPU time to burn for each message, e.g. 250ns. The clock is read without a system call
    /// (vdso(7))
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = humantime::parse_duration)]
    burn: Duration,
}

/// The listener's key in the events. The keys of clients are smaller.
const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let Args { addr, burn } = Args::parse();
    let listener = TcpListener::bind(addr)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    println!("listening on {}", listener.local_addr()?);
    let mut clients: Slab<TcpStream> = Slab::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => continue, // After SIGSTOP and SIGCONT.
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

/// Reads once, burns CPU time, and writes the bytes back. Fails on an I/O error and at the end of
/// the stream.
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
