//! One connection on one thread: a blocking socket, with one write and one read for each message.
//!
//! The thread waits for one answer only. With epoll the generator would make another system call for
//! each message, and its time would be part of every measured time.

use std::io;
use std::time::Duration;

use nix::libc::MSG_DONTWAIT;

use crate::connection::{BUFFER, Buffers, Connection, Manner, Received};
use crate::latency::Stamp;
use crate::recorder::Recorder;
use crate::{Error, Fault, Plan, Result, Slice, Until};

/// Longest wait of one read (SO_RCVTIMEO). Between two reads the thread checks for the timeout.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection whose thread blocks in write and read.
pub(crate) struct PingPong {
    pub(crate) recorder: Recorder,
    pub(crate) manner: Manner,
    connection: Option<Connection>,
    buffers: Buffers,
    timeout: Duration,
}

impl PingPong {
    /// Makes the connection's socket block.
    pub(crate) fn new(plan: &Plan, recorder: Recorder, connection: Connection) -> Result<PingPong> {
        let socket = &connection.socket;
        let block = || {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(READ_TIMEOUT.min(plan.timeout)))?;
            socket.set_write_timeout(Some(plan.timeout))
        };
        block().map_err(Error::generator::<io::Error>("making a socket block"))?;
        Ok(PingPong {
            recorder,
            manner: Manner::of(plan),
            connection: Some(connection),
            buffers: Buffers::new(),
            timeout: plan.timeout,
        })
    }

    /// Makes the connection's socket non-blocking, and returns the connection. Returns `None` if the
    /// connection has failed.
    pub(crate) fn give_up(&mut self) -> Result<Option<Connection>> {
        if let Some(connection) = &self.connection {
            connection.socket.set_nonblocking(true).map_err(Error::generator("fcntl(2)"))?;
        }
        Ok(self.connection.take())
    }

    /// Runs one slice of a closed loop.
    pub(crate) fn run(&mut self, slice: &Slice) {
        let mut left = match slice.until {
            Until::Elapsed(_) => u64::MAX,
            Until::Messages(count) => count,
        };
        self.check_silence();
        let mut now = self.recorder.now();
        while left > 0 && !self.recorder.is_over(now) && self.connection.is_some() {
            match self.exchange() {
                Ok(at) => now = at,
                Err(fault) => self.fail(fault),
            }
            left -= 1;
        }
        self.check_silence();
    }

    /// Sends a message and waits until it is back. Returns that time, on the recorder's clock.
    fn exchange(&mut self) -> std::result::Result<u64, Fault> {
        let Some(connection) = &mut self.connection else { return Ok(u64::MAX) };
        let sent = self.recorder.now();
        connection.offer(1, &self.manner);
        connection.send(&mut self.buffers, &self.manner)?;
        if connection.wants_to_send() {
            return Err(Fault::Timeout); // After SO_SNDTIMEO: the server does not read.
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

    /// Checks that nothing has come while no message was in flight.
    fn check_silence(&mut self) {
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

    fn exchange_and_end(&mut self) -> std::result::Result<(), Fault> {
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
