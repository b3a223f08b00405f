//! # uring-completion: hand the kernel the work, and be told when it is done
//!
//! **What blocks, and where.** Only io_uring_enter(2), in [`Ring::enter`]. The call hands over all
//! operations that were started since the last call, and sleeps until one has completed.
//!
//! **What the kernel tells us.** What it *has done*, not what we could do now: a client was accepted,
//! these bytes were received, this number of bytes was sent. One request to accept or to receive brings
//! any number of completions (multishot). So both phases of a read are the kernel's: it waits for the
//! data, and it copies the data.
//!
//! **What it costs.** One system call for each turn, for any number of clients that speak in it. That is
//! one call for each message at worst, and fewer when the server is busier. Memory that the kernel uses
//! must not be touched until the completion: [`Ring`] owns it until then. The kernel receives into
//! buffers from a pool that all clients share.
//!
//! **How it differs from the model before.** `epoll-selector` is told who is ready, and makes the calls
//! to read and to write itself. Here the kernel makes them, and the answers of a whole turn go out
//! together, with the next wait.
//!
//! ```console
//! $ cargo run --release -p uring-completion
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! The module [`client`] decides what a client needs next. [`Ring`] is the safe interface to the kernel.
//!
//! Not here: a kernel thread that polls the queue (SQPOLL), because it trades a CPU for the last system
//! call; sends without a copy, because loopback copies them all the same.
#![forbid(unsafe_code)]

mod client;

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use echo::{Accepted, Lifecycle, Listener, Options, SCRATCH_BYTES, Scratch, Served, Tally, Totals};
use nix::errno::Errno;
use slab::Slab;
use socket2::Socket;
use uring_completion::{Buffer, Completion, Operation, Outgoing, Ring};

use crate::client::Client;

/// TCP echo server: hands the work to io_uring, and is told when it is done
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Operations that one call can hand over; the kernel rounds up to a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=32768))]
    entries: u32,

    /// Buffers that the kernel receives into, shared by all clients; a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = power_of_two)]
    buffers: u16,

    /// Size of such a buffer in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=65536))]
    buffer_size: u32,

    /// Buffers of 64 KiB, for clients that fill the smaller ones; a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = power_of_two)]
    bulk_buffers: u16,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let mut life = Lifecycle::new(options)?;
    let mut ring = Ring::new(
        args.entries,
        (args.buffers, args.buffer_size),
        (args.bulk_buffers, SCRATCH_BYTES as u32),
    )?;
    let listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    if let Some(stop) = life.stop_fd() {
        ring.poll(Rc::new(stop.try_clone_to_owned()?));
    }
    let mut server = Server {
        ring,
        listening: Rc::new(listener.handle()?),
        listener,
        accepting: None,
        accepted: VecDeque::new(),
        clients: Slab::new(),
        touched: VecDeque::new(),
        bulk_from: args.buffer_size as usize,
        scratch: Scratch::with(0, options.work),
    };
    while !life.is_over(server.clients.iter_mut().map(|(_, client)| client)) {
        server.accept(&mut life);
        server.ring.enter(server.longest_wait(&life))?;
        while let Some(completion) = server.ring.next_completion() {
            match completion {
                Completion::Readable => {} // The stop's descriptor: `is_over` looks at it.
                Completion::Accepted { stream, last } => server.accepted(stream, last)?,
                Completion::Received { key, bytes, last } => server.received(key, bytes, last),
                Completion::Sent { key, result, outgoing } => {
                    server.sent(key, result, outgoing, &mut life.tally);
                }
            }
        }
        server.go_on(&mut life);
    }
    Ok(life.totals())
}

/// What the completions are about.
struct Server {
    ring: Ring,
    listener: Listener,
    /// A second handle of the listener, for the kernel to accept from.
    listening: Rc<Socket>,
    accepting: Option<Operation>,
    /// Accepted, but not yet served: a multishot accept may bring more than there are places.
    accepted: VecDeque<Socket>,
    clients: Slab<Client>,
    /// The clients that need to go on: this turn's completions concern them.
    touched: VecDeque<usize>,
    /// A client that sends pieces of this many bytes sends in bulk.
    bulk_from: usize,
    scratch: Scratch,
}

impl Server {
    /// Gives the free places to the clients that came first, and lets the kernel accept while there are
    /// more places.
    fn accept(&mut self, life: &mut Lifecycle) {
        while life.accepts(&mut self.listener, self.clients.len())
            && let Some(stream) = self.accepted.pop_front()
        {
            life.tally.opened(&stream);
            let place = self.clients.vacant_entry();
            let mut client = Client::new(stream);
            client.go_on(place.key(), &mut self.ring, &self.scratch);
            place.insert(client);
        }
        let accepts = life.accepts(&mut self.listener, self.clients.len());
        match self.accepting {
            None if accepts => self.accepting = Some(self.ring.accept(&self.listening)),
            Some(accept) if !accepts => self.ring.cancel(accept),
            _ => {}
        }
        if life.is_draining() {
            self.accepted.clear();
        }
    }

    fn accepted(&mut self, stream: io::Result<Socket>, last: bool) -> io::Result<()> {
        if last {
            self.accepting = None;
        }
        match stream {
            // `accept` has cancelled it: there was no place left.
            Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => {}
            stream => {
                if let Accepted::Client(stream) =
                    self.listener.accepted(stream, self.clients.len())?
                {
                    self.accepted.push_back(stream);
                }
            }
        }
        Ok(())
    }

    fn received(&mut self, key: usize, bytes: io::Result<Option<Buffer>>, last: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.received(bytes, last, self.bulk_from);
        self.touched.push_back(key);
    }

    fn sent(
        &mut self,
        key: usize,
        result: io::Result<usize>,
        outgoing: Outgoing,
        tally: &mut Tally,
    ) {
        let Some(client) = self.clients.get_mut(key) else { return };
        tally.sent(*result.as_ref().unwrap_or(&0) as u64);
        client.sent(result, outgoing);
        self.touched.push_back(key);
    }

    /// The end of a turn: starts what the touched clients need next. A client that needs nothing more
    /// leaves.
    fn go_on(&mut self, life: &mut Lifecycle) {
        while !life.must_hurry()
            && let Some(key) = self.touched.pop_front()
        {
            let Some(client) = self.clients.get_mut(key) else { continue };
            if let Some(result) = client.go_on(key, &mut self.ring, &self.scratch) {
                life.tally.closed(client.stream(), &result);
                self.clients.remove(key);
            }
        }
    }

    /// The longest time to wait for a completion: none while a turn was left unfinished.
    fn longest_wait(&self, life: &Lifecycle) -> Option<Duration> {
        if self.touched.is_empty() {
            life.longest_wait(&self.listener)
        } else {
            Some(Duration::ZERO)
        }
    }
}

fn power_of_two(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(count) if count.is_power_of_two() => Ok(count),
        _ => Err("use a power of two, from 1 to 32768".to_owned()),
    }
}
