//! A minimal echo server on io_uring: a receive and a send for each message, without checks.
//!
//! A yardstick for `cargo bench --bench compare -- --yardsticks`; compare it with
//! `uring-completion`. Each client owns one buffer. Every operation is single-shot. When a receive
//! completes, the send of the same bytes starts. When the send completes, the next receive starts.
//! This server does not keep the contract: a short send loses bytes, and there are no limits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use clap::Parser;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use nix::errno::Errno;
use slab::Slab;

/// TCP echo server: a bare io_uring loop
#[derive(Parser)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7000")]
    addr: SocketAddr,
}

/// Operations that one io_uring_enter(2) can submit.
const ENTRIES: u32 = 1024;

/// Size of a client's buffer in bytes.
const BUFFER_BYTES: usize = 4096;

/// `user_data` of the accept. The `user_data` of a client's operation is the client's key, shifted
/// left by one bit. Bit 0 is 1 for a send and 0 for a receive.
const ACCEPT: u64 = u64::MAX;

struct Client {
    stream: OwnedFd,
    buffer: Box<[u8; BUFFER_BYTES]>,
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(Args::parse().addr)?;
    println!("listening on {}", listener.local_addr()?);
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(ENTRIES)?;
    let mut clients: Slab<Client> = Slab::new();
    push(&mut ring, accept(listener.as_raw_fd()))?;
    loop {
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => continue,
            Err(error) => return Err(error),
        }
        while let Some(completion) = { ring.completion().next() } {
            let (data, result) = (completion.user_data(), completion.result());
            if data == ACCEPT {
                push(&mut ring, accept(listener.as_raw_fd()))?;
                if result < 0 {
                    continue;
                }
                // SAFETY: the kernel has created this descriptor, and no other value owns it.
                let stream = unsafe { OwnedFd::from_raw_fd(result) };
                nix::sys::socket::setsockopt(
                    &stream,
                    nix::sys::socket::sockopt::TcpNoDelay,
                    &true,
                )?;
                let key = clients.insert(Client { stream, buffer: Box::new([0; BUFFER_BYTES]) });
                push(&mut ring, receive(&mut clients[key], key))?;
                continue;
            }
            let (key, was_send) = ((data >> 1) as usize, data & 1 == 1);
            if result <= 0 {
                clients.remove(key);
            } else if was_send {
                push(&mut ring, receive(&mut clients[key], key))?;
            } else {
                push(&mut ring, send(&clients[key], key, result.unsigned_abs()))?;
            }
        }
    }
}

/// Builds an accept.
fn accept(listener: RawFd) -> squeue::Entry {
    let (addr, len) = (std::ptr::null_mut(), std::ptr::null_mut());
    opcode::Accept::new(Fd(listener), addr, len).build().user_data(ACCEPT)
}

/// Builds a receive into the client's buffer.
fn receive(client: &mut Client, key: usize) -> squeue::Entry {
    let (buffer, len) = (client.buffer.as_mut_ptr(), BUFFER_BYTES as u32);
    opcode::Recv::new(Fd(client.stream.as_raw_fd()), buffer, len)
        .build()
        .user_data((key as u64) << 1)
}

/// Builds a send of the first `len` bytes of the client's buffer.
fn send(client: &Client, key: usize, len: u32) -> squeue::Entry {
    let send = opcode::Send::new(Fd(client.stream.as_raw_fd()), client.buffer.as_ptr(), len);
    send.build().user_data((key as u64) << 1 | 1)
}

/// Queues an operation. Submits the queue first if it is full.
fn push(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<()> {
    // SAFETY: each buffer is on the heap and belongs to a client. A client has one operation in
    // flight, and is removed only when this operation has completed.
    while unsafe { ring.submission().push(&entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
