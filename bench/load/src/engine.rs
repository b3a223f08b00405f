//! Many connections on one thread.
//!
//! Every socket is registered once, edge-triggered for both directions (epoll(7)). No message needs
//! an epoll_ctl(2): it costs one send(2), one recv(2) and a share of an epoll_wait(2). mio would
//! make the same calls, but could not watch the timer descriptor of an open loop.
//!
//! The kernel reports an edge once, so the engine reads a socket until it is empty. A short read
//! says that the socket is empty, unless the end of the stream is queued behind the bytes. The event
//! says that, too (EPOLLRDHUP).

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::connection::{BUFFER, Buffers, Connection, Manner, Received};
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::slow::SlowReaders;
use crate::{Error, Fault, Plan, Result};

/// Most events for one epoll_wait(2). Further events stay queued in the kernel.
const EVENTS: usize = 512;
/// Time between two checks for timeouts, and so the resolution of a timeout.
const TICK: Duration = Duration::from_millis(100);
/// The epoll key of a descriptor that is not a connection.
pub(crate) const TIMER: u64 = u64::MAX;

/// The connections of one thread, and their measurements.
pub(crate) struct Engine {
    pub(crate) recorder: Recorder,
    pub(crate) depth: usize,
    pub(crate) manner: Manner,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    connections: Vec<Option<Connection>>,
    /// For each connection a ring of `depth` places for the stamps of the messages in flight.
    stamps: Vec<Stamp>,
    rings: Vec<Ring>,
    /// For each connection the time at which its last answer would have come if the generator had sent
    /// each message as soon as it was due and there was room.
    punctual: Vec<u64>,
    /// Messages in flight on all connections.
    outstanding: usize,
    live: usize,
    buffers: Buffers,
    slow: SlowReaders,
    timeout: Duration,
    /// The time of the last answer, or of a later reading of the clock. A message of a closed loop
    /// needs one reading: the answer's time is also the send time of the next message.
    now: u64,
    next_tick: u64,
}

/// The used part of a connection's ring.
#[derive(Clone, Copy, Default)]
struct Ring {
    oldest: u32,
    used: u32,
}

impl Engine {
    /// Registers the connections. Their sockets must not block.
    pub(crate) fn new(
        plan: &Plan,
        recorder: Recorder,
        connections: Vec<Connection>,
        slow: Vec<Connection>,
    ) -> Result<Engine> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(Error::generator("epoll_create1(2)"))?;
        let count = connections.len();
        for (index, connection) in connections.iter().enumerate() {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
            let event = EpollEvent::new(interest | EpollFlags::EPOLLET, index as u64);
            epoll.add(&connection.socket, event).map_err(Error::generator("epoll_ctl(2)"))?;
        }
        Ok(Engine {
            recorder,
            depth: plan.depth,
            manner: Manner::of(plan),
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            connections: connections.into_iter().map(Some).collect(),
            stamps: vec![Stamp::default(); count * plan.depth],
            rings: vec![Ring::default(); count],
            punctual: vec![0; count],
            outstanding: 0,
            live: count,
            buffers: Buffers::new(),
            slow: SlowReaders::new(slow),
            timeout: plan.timeout,
            now: 0,
            next_tick: 0,
        })
    }

    /// The number of connections, failed ones included.
    pub(crate) fn count(&self) -> usize {
        self.connections.len()
    }

    /// The last reading of the clock, in nanoseconds of the recorder's clock.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Reads the clock.
    pub(crate) fn read_clock(&mut self) -> u64 {
        self.now = self.recorder.now();
        self.now
    }

    /// Whether all connections have failed.
    pub(crate) fn is_dead(&self) -> bool {
        self.live == 0
    }

    /// The number of messages that this connection can still send now; 0 after a failure.
    pub(crate) fn room(&self, index: usize) -> usize {
        match self.connections[index] {
            Some(_) => self.depth - self.rings[index].used as usize,
            None => 0,
        }
    }

    /// When the last answer of this connection would have come from a punctual generator.
    pub(crate) fn punctual(&self, index: usize) -> u64 {
        self.punctual[index]
    }

    /// Watches a timer descriptor. Its events end a wait and have no other effect.
    pub(crate) fn watch(&self, timer: impl AsFd) -> Result<()> {
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let added = self.epoll.add(timer, EpollEvent::new(interest, TIMER));
        added.map_err(Error::generator("epoll_ctl(2)"))
    }

    /// Sends messages on one connection, at most [`room`](Engine::room) of them.
    pub(crate) fn send(&mut self, index: usize, stamp: Stamp, messages: usize) {
        let messages = messages.min(self.room(index));
        let Some(connection) = &mut self.connections[index] else { return };
        if messages == 0 {
            return;
        }
        let ring = &mut self.rings[index];
        for _ in 0..messages {
            let slot = (ring.oldest + ring.used) as usize % self.depth;
            self.stamps[index * self.depth + slot] = stamp;
            ring.used += 1;
            self.recorder.sending(stamp);
        }
        self.outstanding += messages;
        connection.offer(messages, &self.manner);
        if let Err(fault) = connection.send(&mut self.buffers, &self.manner) {
            self.fail(index, fault);
        }
    }

    /// Waits for events, and returns their number. A signal ends the wait early.
    pub(crate) fn wait(&mut self, timeout: EpollTimeout) -> Result<usize> {
        match self.epoll.wait(&mut self.events, timeout) {
            // Without an event, nothing else in this turn reads the clock.
            Ok(0) | Err(Errno::EINTR) => {
                self.read_clock();
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error) => Err(Error::generator("epoll_wait(2)")(error)),
        }
    }

    /// The time until `due` (nanoseconds of the recorder's clock), the next tick or the next turn of
    /// the slow readers, in milliseconds rounded up.
    pub(crate) fn timeout_until(&self, due: u64) -> EpollTimeout {
        let due = due.min(self.next_tick).min(self.slow.next_turn());
        let millis = due.saturating_sub(self.now).div_ceil(1_000_000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    /// Handles event number `event`: receives, and sends what could not be sent before. Returns the
    /// connection and the number of its messages that came back; `None` for the timer's event.
    pub(crate) fn handle(&mut self, event: usize) -> Option<(usize, usize)> {
        let (flags, key) = (self.events[event].events(), self.events[event].data());
        if key == TIMER {
            return None;
        }
        let index = key as usize;
        let closing = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let mut answered = 0;
        if flags.intersects(closing | EpollFlags::EPOLLIN) {
            match self.receive(index, flags.intersects(closing)) {
                Ok(count) => answered = count,
                Err(fault) => self.fail(index, fault),
            }
        }
        if flags.contains(EpollFlags::EPOLLOUT)
            && let Some(connection) = &mut self.connections[index]
            && connection.wants_to_send()
            && let Err(fault) = connection.send(&mut self.buffers, &self.manner)
        {
            self.fail(index, fault);
        }
        Some((index, answered))
    }

    /// Receives until the socket is empty. Returns the number of messages that came back.
    fn receive(&mut self, index: usize, closing: bool) -> std::result::Result<usize, Fault> {
        let Some(connection) = &mut self.connections[index] else { return Ok(0) };
        let mut answered = 0;
        loop {
            let received = connection.receive(BUFFER, &mut self.buffers, &self.manner)?;
            let now = self.recorder.now();
            self.now = now;
            let ring = &mut self.rings[index];
            while connection.next_answered() {
                let stamp = self.stamps[index * self.depth + ring.oldest as usize];
                self.recorder.answered(now, stamp);
                self.punctual[index] = stamp.ready + now.saturating_sub(stamp.sent);
                ring.oldest =
                    if ring.oldest + 1 == self.depth as u32 { 0 } else { ring.oldest + 1 };
                ring.used -= 1;
                self.outstanding -= 1;
                answered += 1;
            }
            match received {
                Received::End => return Err(Fault::EarlyClose),
                Received::Nothing => return Ok(answered),
                Received::Short if !closing => return Ok(answered),
                Received::Short | Received::Full => {}
            }
        }
    }

    /// Closes a connection and counts its fault.
    fn fail(&mut self, index: usize, fault: Fault) {
        let Some(connection) = self.connections[index].take() else { return };
        self.recorder.fault(fault, || connection.place());
        self.outstanding -= self.rings[index].used as usize;
        self.rings[index] = Ring::default();
        self.live -= 1;
    }

    /// Ends a turn of a loop: publishes the progress, and checks for timeouts every [`TICK`]. Returns
    /// the last reading of the clock.
    pub(crate) fn tick(&mut self) -> u64 {
        let now = self.now;
        self.recorder.publish(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK.as_nanos() as u64;
            self.expire(now);
        }
        if now >= self.slow.next_turn() {
            self.slow.turn(&mut self.buffers, &self.manner, &mut self.recorder);
        }
        now
    }

    /// Fails the connections whose oldest message is in flight for longer than the timeout.
    fn expire(&mut self, now: u64) {
        let timeout = self.timeout.as_nanos() as u64;
        for index in 0..self.connections.len() {
            let ring = self.rings[index];
            let oldest = self.stamps[index * self.depth + ring.oldest as usize];
            if ring.used > 0 && now.saturating_sub(oldest.sent) > timeout {
                self.fail(index, Fault::Timeout);
            }
        }
    }

    /// Checks that nothing has come while no message was in flight.
    pub(crate) fn check_silence(&mut self) -> Result<()> {
        for event in 0..self.wait(EpollTimeout::ZERO)? {
            self.handle(event);
        }
        Ok(())
    }

    /// Waits until no message is in flight. A connection whose messages are too late fails.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while self.outstanding > 0 {
            for event in 0..self.wait(self.timeout_until(u64::MAX))? {
                self.handle(event);
            }
            self.tick();
        }
        self.check_silence()
    }

    /// Ends every connection with a last message and a shutdown of the sending half. The server must
    /// return the message and then close its side.
    pub(crate) fn half_close(&mut self) -> Result<()> {
        for index in 0..self.count() {
            let stamp = Stamp::at(self.read_clock());
            self.send(index, stamp, 1);
            self.shut_when_sent(index);
        }
        let deadline = self.recorder.now() + self.timeout.as_nanos() as u64;
        while self.live > 0 && self.now < deadline {
            for event in 0..self.wait(self.timeout_until(deadline))? {
                let key = self.events[event].data();
                if key == TIMER {
                    continue;
                }
                let index = key as usize;
                self.shut_when_sent(index);
                match self.receive(index, true) {
                    Err(Fault::EarlyClose) if self.rings[index].used == 0 => self.retire(index),
                    Err(fault) => self.fail(index, fault),
                    Ok(_) => {}
                }
            }
            self.tick();
        }
        for index in 0..self.count() {
            self.fail(index, Fault::NotClosed);
        }
        Ok(())
    }

    /// Sends the unsent bytes, and then shuts down the sending half.
    fn shut_when_sent(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        match connection.send(&mut self.buffers, &self.manner) {
            Ok(()) if connection.wants_to_send() => {}
            // Fails if the server has reset the connection. The next read finds that, too.
            Ok(()) => drop(connection.half_close()),
            Err(fault) => self.fail(index, fault),
        }
    }

    /// Closes a connection that has ended without a fault.
    fn retire(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.live -= 1;
        }
    }
}
