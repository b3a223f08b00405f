//! Messages over UDP: one datagram for each message, and one message in flight for each client.
//!
//! UDP has no connections: connect(2) only names the peer. A message that is not back in time counts
//! as lost, and the client sends its next message. Only an error of the socket ends a client, such as
//! ECONNREFUSED: no server listens at the address (udp(7)).

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::content::Content;
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::verifier::{Arrival, DatagramVerifier};
use crate::{Error, Fault, Plan, Result, Slice, Until};

/// Most events for one epoll_wait(2). Further events stay queued in the kernel.
const EVENTS: usize = 512;
/// Longest time between two checks for lost messages. A short timeout is checked more often.
const TICK: Duration = Duration::from_millis(100);
/// Size of the receive buffer in bytes. No datagram is larger, so the kernel cuts none.
const BUFFER: usize = 64 * 1024;

/// The clients of one thread.
pub(crate) struct Datagrams {
    pub(crate) recorder: Recorder,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    clients: Vec<Option<Client>>,
    /// Messages in flight, of all clients.
    awaited: usize,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    verify: bool,
    timeout: u64,
    tick: Duration,
    next_tick: u64,
}

/// One client: a socket and its stream of messages.
struct Client {
    socket: Socket,
    id: u64,
    messages: DatagramVerifier,
    sent_at: u64,
}

impl Datagrams {
    /// Registers connected sockets, which must not block. Client numbers count up from `first_id`.
    pub(crate) fn new(
        plan: &Plan,
        recorder: Recorder,
        sockets: Vec<Socket>,
        first_id: u64,
    ) -> Result<Datagrams> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(Error::generator("epoll_create1(2)"))?;
        for (index, socket) in sockets.iter().enumerate() {
            // Level-triggered: each event reads one datagram, and the next one causes another event.
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            epoll.add(socket, event).map_err(Error::generator("epoll_ctl(2)"))?;
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

    /// Runs one slice of a closed loop, and waits until every message is back or lost.
    pub(crate) fn run(&mut self, slice: &Slice) -> Result<()> {
        let mut budget = match slice.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        for index in 0..self.clients.len() {
            self.send(index, &mut budget);
        }
        let tick = EpollTimeout::try_from(self.tick).unwrap_or(EpollTimeout::ZERO);
        while self.awaited > 0 {
            let count = match self.epoll.wait(&mut self.events, tick) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(Error::generator("epoll_wait(2)")(error)),
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

    /// Reads one datagram. Returns whether the client can send its next message.
    fn receive(&mut self, index: usize) -> bool {
        let Some(client) = &mut self.clients[index] else { return false };
        let received = match (&client.socket).read(&mut self.inbox) {
            Ok(received) => received,
            // No datagram: its checksum was wrong, or a signal came first.
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
                // The wrong datagram most likely came instead of the awaited message.
                client.messages.give_up();
            }
        }
        self.awaited -= usize::from(was_awaited);
        was_awaited
    }

    /// Gives up the messages that are in flight for longer than the timeout.
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

    /// Ends a client after an error of its socket.
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

/// Sends a datagram. A datagram for which the kernel has no room is lost.
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
