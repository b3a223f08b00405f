//! One connection on one thread: a plain blocking socket, one write and one read per message.
//!
//! There is nothing to wait for but this one answer, so nothing is gained by asking epoll first:
//! with it the ruler would add a system call and a wake-up's worth of time to what it measures.

use std::io;
use std::time::Duration;

use nix::libc::MSG_DONTWAIT;

use crate::connection::{BUFFER, Buffers, Connection, Manner, Received};
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::{Fault, Plan, Slice, Until};

/// How long a read waits before it looks whether it should stop (SO_RCVTIMEO).
const GLANCE: Duration = Duration::from_millis(100);

/// A connection that its thread blocks in.
pub(crate) struct PingPong {
    pub(crate) recorder: Recorder,
    pub(crate) manner: Manner,
    connection: Option<Connection>,
    buffers: Buffers,
    timeout: Duration,
}

impl PingPong {
    /// Takes over the connection.
    pub(crate) fn new(
        plan: &Plan,
        recorder: Recorder,
        connection: Connection,
    ) -> io::Result<PingPong> {
        let socket = &connection.socket;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(GLANCE.min(plan.timeout)))?;
        socket.set_write_timeout(Some(plan.timeout))?;
        Ok(PingPong {
            recorder,
            manner: Manner::of(plan),
            connection: Some(connection),
            buffers: Buffers::new(),
            timeout: plan.timeout,
        })
    }

    /// Gives the connection back, if it is still good, with a socket that does not block.
    pub(crate) fn give_up(&mut self) -> io::Result<Option<Connection>> {
        if let Some(connection) = &self.connection {
            connection.socket.set_nonblocking(true)?;
        }
        Ok(self.connection.take())
    }

    /// Runs one slice of a closed loop.
    pub(crate) fn run(&mut self, slice: &Slice) {
        let mut left = match slice.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        self.look_around();
        let mut now = self.recorder.now();
        while left > 0 && !self.recorder.is_over(now) && self.connection.is_some() {
            match self.exchange() {
                Ok(at) => now = at,
                Err(fault) => self.fail(fault),
            }
            left -= 1;
        }
        self.look_around();
    }

    /// Sends a message and waits until it is back: when that was, on the recorder's clock.
    fn exchange(&mut self) -> Result<u64, Fault> {
        let Some(connection) = &mut self.connection else { return Ok(u64::MAX) };
        let sent = self.recorder.now();
        connection.offer(1, &self.manner);
        connection.send(&mut self.buffers, &self.manner)?;
        if connection.wants_to_send() {
            return Err(Fault::Timeout); // SO_SNDTIMEO has passed: the server does not read.
        }
        loop {
            let received = connection.receive(BUFFER, &mut self.buffers, &self.manner)?;
            let now = self.recorder.now();
            if connection.next_answered() {
                self.recorder.answered(now, Stamp::at(sent));
                self.recorder.publish(now);
                return Ok(now);
            }
            match received {
                Received::End => return Err(Fault::EarlyClose),
                _ if now - sent > self.timeout.as_nanos() as u64 => return Err(Fault::Timeout),
                _ => {}
            }
        }
    }

    /// Nothing is on its way: are there bytes, or an end of the stream, that should not be?
    fn look_around(&mut self) {
        let Some(connection) = &self.connection else { return };
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match connection.socket.recv_with_flags(&mut byte, MSG_DONTWAIT) {
            Ok(0) => self.fail(Fault::EarlyClose),
            Ok(_) if connection.is_unused() => self.fail(Fault::SpokeFirst),
            Ok(_) => self.fail(Fault::Surplus),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.fail(Fault::of(&error)),
        }
    }

    /// Ends the connection as `Plan::half_close` says.
    pub(crate) fn half_close(&mut self) {
        if let Err(fault) = self.exchange_and_end() {
            self.fail(fault);
        }
        self.connection = None;
    }

    fn exchange_and_end(&mut self) -> Result<(), Fault> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        connection.offer(1, &self.manner);
        connection.send(&mut self.buffers, &self.manner)?;
        connection.half_close().map_err(|error| Fault::of(&error))?;
        let deadline = self.recorder.now() + self.timeout.as_nanos() as u64;
        let mut answered = false;
        loop {
            let received = connection.receive(BUFFER, &mut self.buffers, &self.manner)?;
            answered |= connection.next_answered();
            match received {
                Received::End if answered => return Ok(()),
                Received::End => return Err(Fault::EarlyClose),
                _ if self.recorder.now() > deadline => return Err(Fault::NotClosed),
                _ => {}
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        if let Some(connection) = self.connection.take() {
            self.recorder.fault(fault, || connection.place());
        }
    }
}
