//! Many connections on one thread.
//!
//! Every socket is registered once, edge-triggered for both directions (epoll(7)), and never again:
//! no epoll_ctl per message. A message costs one send(2), one recv(2) and a share of an
//! epoll_wait(2). mio would make the same calls; used directly, epoll also takes the timer
//! descriptor of an open loop.
//!
//! An edge is not repeated, so a socket is read until it is empty: a short read says that it is,
//! unless the end of the stream is queued behind the bytes, which the event then says too
//! (EPOLLRDHUP).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::connection::{BUFFER, Buffers, Connection, Manner, Received};
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::slow::SlowReaders;
use crate::{Fault, Plan};

/// Events taken from the kernel at a time; those beyond it stay queued.
const EVENTS: usize = 512;
/// How often timeouts are looked for, and so how exact they are.
const TICK: Duration = Duration::from_millis(100);
/// The key of a descriptor that is no connection.
pub(crate) const TIMER: u64 = u64::MAX;

/// The connections of one thread, and what it has measured on them.
pub(crate) struct Engine {
    pub(crate) recorder: Recorder,
    pub(crate) depth: usize,
    pub(crate) manner: Manner,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    connections: Vec<Option<Connection>>,
    /// For each connection a ring of `depth` stamps of the messages on their way.
    stamps: Vec<Stamp>,
    rings: Vec<Ring>,
    /// Messages on their way, on all connections.
    outstanding: usize,
    live: usize,
    buffers: Buffers,
    slow: SlowReaders,
    timeout: Duration,
    /// When something last came back or was looked for. A message costs one look at the clock: the
    /// time at which one has come back is the time at which the next is sent.
    now: u64,
    next_tick: u64,
}

/// The part of a connection's ring that is in use.
#[derive(Clone, Copy, Default)]
struct Ring {
    oldest: u32,
    used: u32,
}

impl Engine {
    /// Takes over the connections, whose sockets must not block.
    pub(crate) fn new(
        plan: &Plan,
        recorder: Recorder,
        connections: Vec<Connection>,
        slow: Vec<Connection>,
    ) -> io::Result<Engine> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let count = connections.len();
        for (index, connection) in connections.iter().enumerate() {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
            let event = EpollEvent::new(interest | EpollFlags::EPOLLET, index as u64);
            epoll.add(&connection.socket, event)?;
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
            outstanding: 0,
            live: count,
            buffers: Buffers::new(),
            slow: SlowReaders::new(slow),
            timeout: plan.timeout,
            now: 0,
            next_tick: 0,
        })
    }

    /// Connections, those that failed included.
    pub(crate) fn count(&self) -> usize {
        self.connections.len()
    }

    /// The time, as of the last event, in nanoseconds of the recorder's clock.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Looks at the clock.
    pub(crate) fn look(&mut self) -> u64 {
        self.now = self.recorder.now();
        self.now
    }

    /// Whether no connection is left.
    pub(crate) fn is_dead(&self) -> bool {
        self.live == 0
    }

    /// Messages that may still be put on their way on this connection.
    pub(crate) fn room(&self, index: usize) -> usize {
        match self.connections[index] {
            Some(_) => self.depth - self.rings[index].used as usize,
            None => 0,
        }
    }

    /// Watches another descriptor, whose events are passed over: it only ends a wait.
    pub(crate) fn watch(&self, timer: impl AsFd) -> io::Result<()> {
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(timer, EpollEvent::new(interest, TIMER))?)
    }

    /// Puts messages on their way on one connection, at most as many as there is
    /// [`room`](Engine::room) for.
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

    /// Waits for events: how many there are. Returns early for a signal.
    pub(crate) fn wait(&mut self, timeout: EpollTimeout) -> io::Result<usize> {
        match self.epoll.wait(&mut self.events, timeout) {
            // Without an event nobody else looks at the clock.
            Ok(0) | Err(Errno::EINTR) => {
                self.look();
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }

    /// Longest time to wait, in milliseconds rounded up: until `due` (nanoseconds of the recorder's
    /// clock) or the next tick.
    pub(crate) fn patience(&self, due: u64) -> EpollTimeout {
        let millis = due.min(self.next_tick).saturating_sub(self.now).div_ceil(1_000_000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    /// Takes in what event number `event` announces: the connection, and how many of its messages
    /// have come back; `None` if it is no connection's.
    pub(crate) fn take_in(&mut self, event: usize) -> Option<(usize, usize)> {
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

    fn receive(&mut self, index: usize, closing: bool) -> Result<usize, Fault> {
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

    /// Closes a connection and counts why.
    fn fail(&mut self, index: usize, fault: Fault) {
        let Some(connection) = self.connections[index].take() else { return };
        self.recorder.fault(fault, || connection.place());
        self.outstanding -= self.rings[index].used as usize;
        self.rings[index] = Ring::default();
        self.live -= 1;
    }

    /// What a turn of a loop ends with: the watcher is told, and every [`TICK`] the timeouts are
    /// looked after. Returns the time as of the last event.
    pub(crate) fn tick(&mut self) -> u64 {
        let now = self.now;
        self.recorder.publish(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK.as_nanos() as u64;
            self.expire(now);
            self.slow.turn(&mut self.buffers, &self.manner, &mut self.recorder);
        }
        now
    }

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

    /// Takes in what has come while nothing was on its way: there should be nothing.
    pub(crate) fn look_around(&mut self) -> io::Result<()> {
        for event in 0..self.wait(EpollTimeout::ZERO)? {
            self.take_in(event);
        }
        Ok(())
    }

    /// Waits until everything that is on its way is back; connections on which it is not in time
    /// fail.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        while self.outstanding > 0 {
            for event in 0..self.wait(self.patience(u64::MAX))? {
                self.take_in(event);
            }
            self.tick();
        }
        self.look_around()
    }

    /// Ends every connection with a last message and a shutdown of the sending half, and expects
    /// the message back and then the end of the stream.
    pub(crate) fn half_close(&mut self) -> io::Result<()> {
        for index in 0..self.count() {
            let stamp = Stamp::at(self.look());
            self.send(index, stamp, 1);
            self.shut_when_sent(index);
        }
        let deadline = self.recorder.now() + self.timeout.as_nanos() as u64;
        while self.live > 0 && self.now < deadline {
            for event in 0..self.wait(self.patience(deadline))? {
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

    /// Sends what is left, and shuts down the sending half once nothing is.
    fn shut_when_sent(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        match connection.send(&mut self.buffers, &self.manner) {
            Ok(()) if connection.wants_to_send() => {}
            // Fails if the server has reset the connection, which the next read tells.
            Ok(()) => drop(connection.half_close()),
            Err(fault) => self.fail(index, fault),
        }
    }

    /// Closes a connection that has ended as it should.
    fn retire(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.live -= 1;
        }
    }
}
