//! Messages over UDP: a datagram each, one at a time per client.
//!
//! There is no connection: connect(2) only names the peer. What is lost stays lost, so a message
//! that is not back in time is counted and the next one is sent. Nothing here gives a connection
//! up but an error of the socket, such as ECONNREFUSED: nobody listens at the address (udp(7)).

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::content::Content;
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::verifier::{Arrival, DatagramVerifier};
use crate::{Fault, Plan, Slice, Until};

/// Events taken from the kernel at a time; those beyond it stay queued.
const EVENTS: usize = 512;
/// Most time between two looks for messages that are lost; a short timeout is looked at oftener.
const TICK: Duration = Duration::from_millis(100);
/// Largest datagram of any protocol under UDP, in bytes: nothing that comes is cut.
const BUFFER: usize = 64 * 1024;

/// The clients of one thread.
pub(crate) struct Datagrams {
    pub(crate) recorder: Recorder,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    clients: Vec<Option<Client>>,
    /// Messages on their way, all clients together.
    awaited: usize,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    verify: bool,
    timeout: u64,
    tick: Duration,
    next_tick: u64,
}

/// A socket with its own stream of messages.
struct Client {
    socket: Socket,
    id: u64,
    messages: DatagramVerifier,
    sent_at: u64,
}

impl Datagrams {
    /// Takes over connected sockets that do not block; clients are numbered from `first_id` on.
    pub(crate) fn new(
        plan: &Plan,
        recorder: Recorder,
        sockets: Vec<Socket>,
        first_id: u64,
    ) -> io::Result<Datagrams> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, socket) in sockets.iter().enumerate() {
            // Level-triggered: one datagram is read per event, and those behind it make the next.
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        }
        let client = |(socket, id)| {
            let messages = DatagramVerifier::new(Content::new(plan.seed, id), plan.size as u64);
            Some(Client { socket, id, messages, sent_at: 0 })
        };
        Ok(Datagrams {
            recorder,
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            clients: sockets.into_iter().zip(first_id..).map(client).collect(),
            awaited: 0,
            outbox: vec![0; plan.size],
            inbox: vec![0; BUFFER],
            verify: plan.verify,
            timeout: plan.timeout.as_nanos() as u64,
            tick: (plan.timeout / 4).clamp(Duration::from_millis(1), TICK),
            next_tick: 0,
        })
    }

    /// Runs one slice of a closed loop, and waits until what is on its way is back or lost.
    pub(crate) fn run(&mut self, slice: &Slice) -> io::Result<()> {
        let mut budget = match slice.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        for index in 0..self.clients.len() {
            self.send(index, &mut budget);
        }
        let patience = EpollTimeout::try_from(self.tick).unwrap_or(EpollTimeout::ZERO);
        while self.awaited > 0 {
            let count = match self.epoll.wait(&mut self.events, patience) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in 0..count {
                let index = self.events[event].data() as usize;
                if self.receive(index) {
                    self.send(index, &mut budget);
                }
            }
            self.expire(&mut budget);
        }
        Ok(())
    }

    /// Sends the client's next message, unless the slice is over.
    fn send(&mut self, index: usize, budget: &mut u64) {
        let now = self.recorder.now();
        let Some(client) = &mut self.clients[index] else { return };
        if *budget == 0 || self.recorder.is_over(now) {
            return;
        }
        *budget -= 1;
        client.messages.send(&mut self.outbox);
        client.sent_at = now;
        self.awaited += 1;
        if let Err(error) = send(&client.socket, &self.outbox) {
            self.fail(index, &error);
        }
    }

    /// Reads one datagram: whether the client's message is done with.
    fn receive(&mut self, index: usize) -> bool {
        let Some(client) = &mut self.clients[index] else { return false };
        let received = match (&client.socket).read(&mut self.inbox) {
            Ok(received) => received,
            // Nothing after all: a datagram with a wrong checksum, or a signal came first.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return false;
            }
            Err(error) => {
                self.fail(index, &error);
                return false;
            }
        };
        let was_awaited = client.messages.awaits();
        match client.messages.take(&self.inbox[..received], self.verify) {
            Ok(Arrival::Answer) => {
                self.recorder.answered(self.recorder.now(), Stamp::at(client.sent_at));
            }
            Ok(Arrival::Late) => return false,
            Err(fault) => {
                self.recorder.fault(fault, || client.place());
                if fault == Fault::Surplus {
                    return false;
                }
                // What is wrong came in place of the message, most likely.
                client.messages.give_up();
            }
        }
        self.awaited -= usize::from(was_awaited);
        was_awaited
    }

    /// Gives up what has been on its way for too long.
    fn expire(&mut self, budget: &mut u64) {
        let now = self.recorder.now();
        self.recorder.publish(now);
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + self.tick.as_nanos() as u64;
        for index in 0..self.clients.len() {
            let Some(client) = &mut self.clients[index] else { continue };
            if client.messages.awaits() && now.saturating_sub(client.sent_at) > self.timeout {
                client.messages.give_up();
                self.awaited -= 1;
                self.recorder.fault(Fault::Lost, || client.place());
                self.send(index, budget);
            }
        }
    }

    /// The socket is of no use any more.
    fn fail(&mut self, index: usize, error: &io::Error) {
        if let Some(client) = self.clients[index].take() {
            self.awaited -= usize::from(client.messages.awaits());
            self.recorder.fault(Fault::of(error), || format!("{}: {error}", client.place()));
        }
    }
}

impl Client {
    fn place(&self) -> String {
        format!("client {}, {}", self.id, self.messages.place())
    }
}

/// Sends a datagram, or loses it where the kernel has no room for it.
fn send(socket: &Socket, datagram: &[u8]) -> io::Result<()> {
    loop {
        match socket.send(datagram) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
