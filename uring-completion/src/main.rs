//! # uring-completion: hand the kernel the work, and be told when it is done
//!
//! **What blocks, and where.** Only io_uring_enter(2), in [`Ring::enter`]. It hands over everything
//! that was started since the last time, and sleeps until something has completed.
//!
//! **What the kernel tells us.** What it *has done*, and not what we could do now: a client was
//! accepted, these bytes were received, so many were sent. One request to accept or to receive is
//! good for any number of completions (multishot).
//!
//! **What it costs.** One system call for each turn, whatever the number of clients that speak in
//! it: one for each message at worst, and the busier the server, the fewer. Memory that the kernel
//! uses must not be touched in the meantime; [`Ring`] owns it so long, and the kernel picks what it
//! receives into from a stock of buffers common to all.
//!
//! **How it differs from the model before.** `epoll-selector` is told who is ready, and makes the
//! calls to read and to write itself. Here the kernel makes them, and the answers to a whole turn
//! go out at once, with the next wait.
//!
//! ```console
//! $ cargo run --release -p uring-completion
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! What a client needs next is decided in [`client`]; [`Ring`] is the interface to the kernel, a
//! safe one.
//!
//! Not here: a kernel thread that polls the queue (SQPOLL), which trades a CPU for the last system
//! call; and sends without copying, which loopback copies all the same.
#![forbid(unsafe_code)]

mod client;

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::{IdleClock, Listener, Options, SCRATCH_BYTES, Scratch, Stop, Tally, Totals};
use nix::errno::Errno;
use slab::Slab;
use socket2::Socket;
use uring_completion::{Buffer, Completion, Operation, Outgoing, Ring};

use crate::client::Client;

/// TCP echo server: io_uring is handed the work, and says when it is done.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Operations that the kernel takes in one go; the kernel rounds up to a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=32768))]
    entries: u32,

    /// Buffers for the kernel to receive into, common to all clients; a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = power_of_two)]
    buffers: u16,

    /// Size of one of them in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=65536))]
    buffer_size: u32,

    /// Buffers of 64 KiB, for clients who have more to say; a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = power_of_two)]
    bulk_buffers: u16,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Stop::new()?;
    let mut ring = Ring::new(
        args.entries,
        (args.buffers, args.buffer_size),
        (args.bulk_buffers, SCRATCH_BYTES as u32),
    )?;
    let listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    ring.poll(&Rc::new(stop.as_fd().try_clone_to_owned()?.into()));
    let mut server = Server {
        ring,
        doorway: Rc::new(listener.doorbell()?),
        listener,
        accepting: None,
        accepted: VecDeque::new(),
        clients: Slab::new(),
        touched: Vec::new(),
        bulk_from: args.buffer_size as usize,
        scratch: Scratch::with(0, options.work),
        tally: Tally::new(options),
    };
    let mut idle = IdleClock::new(options);
    let mut deadline = None;
    loop {
        if stop.requested() && deadline.is_none() {
            deadline = Some(Instant::now() + options.drain);
            // Each client has sent all it will: what has arrived is echoed, then end of stream is
            // found.
            for (_, client) in &server.clients {
                let _ = client.stream().shutdown(Shutdown::Read);
            }
        }
        if deadline.is_some_and(|at| server.clients.is_empty() || at <= Instant::now()) {
            server.tally.cut_off(server.clients.iter().map(|(_, client)| client.stream()));
            return Ok(server.tally.totals());
        }
        if idle.ticked() {
            for (_, client) in &mut server.clients {
                if client.tick() {
                    let _ = client.stream().shutdown(Shutdown::Both);
                }
            }
        }

        let pause = if deadline.is_none() { server.accept() } else { server.refuse() };
        let drain_left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let limits = [drain_left, pause, idle.patience()];
        server.ring.enter(limits.into_iter().flatten().min())?;
        while let Some(completion) = server.ring.next_completion() {
            match completion {
                Completion::Readable => {} // The stop's descriptor: see above.
                Completion::Accepted { stream, last } => server.accepted(stream, last)?,
                Completion::Received { key, bytes, last } => server.received(key, bytes, last),
                Completion::Sent { key, result, outgoing } => server.sent(key, result, outgoing),
            }
        }
        server.go_on();
    }
}

/// What the completions are about.
struct Server {
    ring: Ring,
    listener: Listener,
    /// The listener's socket once more, for the kernel to accept from.
    doorway: Rc<Socket>,
    accepting: Option<Operation>,
    /// Accepted, but not yet served: a multishot accept may bring more than there are places.
    accepted: VecDeque<Socket>,
    clients: Slab<Client>,
    /// The clients that this turn's completions are about.
    touched: Vec<usize>,
    /// A piece of so many bytes is taken for bulk.
    bulk_from: usize,
    scratch: Scratch,
    tally: Tally,
}

impl Server {
    /// Gives the places there are to those who came first, and lets the kernel accept for as long
    /// as there are more. Returns how long to wait at most, when accepting is paused.
    fn accept(&mut self) -> Option<Duration> {
        while self.listener.is_open(self.clients.len())
            && let Some(stream) = self.accepted.pop_front()
        {
            self.tally.opened(&stream);
            let place = self.clients.vacant_entry();
            let mut client = Client::new(stream);
            client.go_on(place.key(), &mut self.ring, &self.scratch);
            place.insert(client);
        }
        match self.accepting {
            None if self.listener.is_open(self.clients.len()) => {
                self.accepting = Some(self.ring.accept(&self.doorway));
            }
            Some(accept) if !self.listener.is_open(self.clients.len()) => self.ring.cancel(accept),
            _ => {}
        }
        self.listener.patience()
    }

    /// Lets nobody in any more.
    fn refuse(&mut self) -> Option<Duration> {
        self.accepted.clear();
        self.accepting.into_iter().for_each(|accept| self.ring.cancel(accept));
        None
    }

    fn accepted(&mut self, stream: io::Result<Socket>, last: bool) -> io::Result<()> {
        if last {
            self.accepting = None;
        }
        match stream {
            // We asked for it: there was no place left.
            Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => {}
            stream => self.accepted.extend(self.listener.accepted(stream)?),
        }
        Ok(())
    }

    fn received(&mut self, key: usize, bytes: io::Result<Option<Buffer>>, last: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.received(bytes, last, self.bulk_from);
        self.touched.push(key);
    }

    fn sent(&mut self, key: usize, result: io::Result<usize>, outgoing: Outgoing) {
        let Some(client) = self.clients.get_mut(key) else { return };
        self.tally.sent(*result.as_ref().unwrap_or(&0) as u64);
        client.sent(result, outgoing);
        self.touched.push(key);
    }

    /// The end of a turn: starts what its clients need next, and lets those go who need nothing any
    /// more.
    fn go_on(&mut self) {
        for key in self.touched.drain(..) {
            let Some(client) = self.clients.get_mut(key) else { continue };
            if let Some(result) = client.go_on(key, &mut self.ring, &self.scratch) {
                self.tally.closed(client.stream(), &result);
                self.listener.resume();
                self.clients.remove(key);
            }
        }
    }
}

fn power_of_two(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(count) if count.is_power_of_two() => Ok(count),
        _ => Err("use a power of two, from 1 to 32768".to_owned()),
    }
}
