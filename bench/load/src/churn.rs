//! A new connection for each message.
//!
//! The time of a message starts before its connect(2) and ends with its last returned byte. Then the
//! client closes the connection and opens the next one. With `half_close`, the client shuts down its
//! sending half behind the message, and waits until the server has closed its side.
//!
//! The side that closes first keeps the port in the state TIME-WAIT. On loopback, Linux uses such a
//! port again after a second (net.ipv4.tcp_tw_reuse, ip-sysctl). So the number of ports of a source
//! address is about the number of its connections per second.

use std::io;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::connecting::Connecting;
use crate::connection::{BUFFER, Buffers, Connection, Manner, Received};
use crate::dialer;
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::{Error, Fault, Plan, Result, Slice, Until};

/// Time between two checks for timeouts, in milliseconds.
const TICK_MILLIS: u16 = 100;

/// The connections of one thread. A new connection replaces each one whose message is back.
pub(crate) struct Churn {
    pub(crate) recorder: Recorder,
    pub(crate) manner: Manner,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    slots: Vec<Option<Visit>>,
    buffers: Buffers,
    plan: Plan,
    next_id: u64,
    next_tick: u64,
}

/// One connection, from its connect(2) until the client closes it.
struct Visit {
    connection: Connection,
    began: u64,
    connected: bool,
    answered: bool,
}

impl Churn {
    /// `count` connections at the same time. Connection numbers count up from `first_id`.
    pub(crate) fn new(plan: &Plan, count: usize, first_id: u64) -> Result<Churn> {
        Ok(Churn {
            recorder: Recorder::new(plan)?,
            manner: Manner::of(plan),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
                .map_err(Error::generator("epoll_create1(2)"))?,
            events: vec![EpollEvent::empty(); count],
            slots: std::iter::repeat_with(|| None).take(count).collect(),
            buffers: Buffers::new(),
            plan: plan.clone(),
            next_id: first_id,
            next_tick: 0,
        })
    }

    /// Runs one slice of a closed loop.
    pub(crate) fn run(&mut self, slice: &Slice) -> Result<()> {
        let mut budget = match slice.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        for index in 0..self.slots.len() {
            self.begin(index, &mut budget);
        }
        // The drain: the loop also waits for the visits that began before the end.
        while self.slots.iter().any(Option::is_some) {
            let count = match self.epoll.wait(&mut self.events, EpollTimeout::from(TICK_MILLIS)) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(Error::generator("epoll_wait(2)")(error)),
            };
            for event in 0..count {
                let index = self.events[event].data() as usize;
                match self.advance(index) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.slots[index] = None;
                        self.begin(index, &mut budget);
                    }
                    Err(fault) => self.fail(index, fault),
                }
            }
            self.expire();
        }
        Ok(())
    }

    /// Starts a visit, unless the slice is over. A slot whose connect fails stays empty until the
    /// end of the slice. So a dead server does not cause an endless series of connects.
    fn begin(&mut self, index: usize, budget: &mut u64) {
        let began = self.recorder.now();
        if *budget == 0 || self.recorder.is_over(began) {
            return;
        }
        *budget -= 1;
        let id = self.next_id;
        self.next_id += 1;
        match self.connect(index, id, began) {
            Ok(visit) => self.slots[index] = Some(visit),
            Err(error) => {
                self.recorder.fault(Fault::of(&error), || format!("connection {id}: {error}"));
            }
        }
    }

    fn connect(&self, index: usize, id: u64, began: u64) -> io::Result<Visit> {
        let source = dialer::source(&self.plan.sources, id as usize);
        let connecting = Connecting::begin(&self.plan.address, source)?;
        // The first event says that the connection is established: the socket is writable.
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
        let event = EpollEvent::new(interest | EpollFlags::EPOLLET, index as u64);
        self.epoll.add(&connecting.socket, event)?;
        let connection = Connection::new(connecting.socket, &self.plan, id);
        Ok(Visit { connection, began, connected: connecting.connected, answered: false })
    }

    /// Sends and receives until the socket would block. Returns whether the visit is over.
    fn advance(&mut self, index: usize) -> std::result::Result<bool, Fault> {
        let Some(visit) = &mut self.slots[index] else { return Ok(false) };
        if !visit.connected {
            match visit.connection.socket.take_error() {
                Ok(None) => visit.connected = true,
                Ok(Some(error)) | Err(error) => return Err(Fault::of(&error)),
            }
        }
        if visit.connection.is_unused() {
            visit.connection.offer(1, &self.manner);
        }
        if visit.connection.wants_to_send() {
            visit.connection.send(&mut self.buffers, &self.manner)?;
            if self.plan.half_close && !visit.connection.wants_to_send() {
                visit.connection.half_close().map_err(|error| Fault::of(&error))?;
            }
        }
        loop {
            let received = visit.connection.receive(BUFFER, &mut self.buffers, &self.manner)?;
            if !visit.answered && visit.connection.next_answered() {
                visit.answered = true;
                self.recorder.answered(self.recorder.now(), Stamp::at(visit.began));
            }
            match received {
                _ if visit.answered && !self.plan.half_close => return Ok(true),
                Received::End if visit.answered => return Ok(true),
                Received::End => return Err(Fault::EarlyClose),
                Received::Nothing => return Ok(false),
                Received::Short | Received::Full => {}
            }
        }
    }

    fn fail(&mut self, index: usize, fault: Fault) {
        if let Some(visit) = self.slots[index].take() {
            self.recorder.fault(fault, || visit.connection.place());
        }
    }

    /// Fails the visits that last longer than the timeout.
    fn expire(&mut self) {
        let now = self.recorder.now();
        self.recorder.publish(now);
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + u64::from(TICK_MILLIS) * 1_000_000;
        for index in 0..self.slots.len() {
            let Some(visit) = &self.slots[index] else { continue };
            if now.saturating_sub(visit.began) > self.plan.timeout.as_nanos() as u64 {
                let fault = match (visit.connected, visit.answered) {
                    (false, _) => Fault::ConnectTimeout,
                    (true, false) => Fault::Timeout,
                    (true, true) => Fault::NotClosed,
                };
                self.fail(index, fault);
            }
        }
    }
}
