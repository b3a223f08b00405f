//! A client that checks every byte.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use server_process::address::Address;

use crate::cause::Cause;
use crate::connection::{Connection, Found};
use crate::pattern::Pattern;
use crate::verdict::{Verdict, fails_because};
use crate::watch::Watch;
use crate::words;

/// The longest transfer of many bytes that keep coming, in multiples of the timeout of one answer.
const LONGEST_IN_TIMEOUTS: u32 = 6;

/// How often a flood that cannot move checks whether it must stop.
const FLOOD_INTERVAL: Duration = Duration::from_millis(20);

/// A client of the server. Each client sends a stream of bytes of its own, and must receive the same
/// stream.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    pattern: Pattern,
    sent: u64,
    received: u64,
}

impl Client {
    /// Connects, and waits until the connection is established. The server need not have accepted it.
    pub(crate) fn connect(
        addr: &Address,
        pattern: Pattern,
        timeout: Duration,
        watch: Option<Watch>,
    ) -> Verdict<Client> {
        let client = Client::begin(addr, pattern, timeout, watch)?;
        client.connection.expect_established(addr)?;
        Ok(client)
    }

    /// Starts to connect: see [`Connection::begin`].
    pub(crate) fn begin(
        addr: &Address,
        pattern: Pattern,
        timeout: Duration,
        watch: Option<Watch>,
    ) -> Verdict<Client> {
        let connection = Connection::begin(addr, timeout, watch)?;
        Ok(Client { connection, pattern, sent: 0, received: 0 })
    }

    /// Whether the connection is established now, or within `duration`.
    pub(crate) fn is_connected_within(&self, duration: Duration) -> bool {
        self.connection.wait(PollFlags::POLLOUT, Instant::now() + duration)
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes received and compared so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that were sent and have not come back.
    pub(crate) fn unread(&self) -> u64 {
        self.sent - self.received
    }

    /// Sends the next `count` bytes of the stream, and reads nothing meanwhile.
    pub(crate) fn send(&mut self, count: u64) -> Verdict {
        let (until, deadline) = (self.sent + count, self.connection.deadline());
        while self.sent < until {
            if self.write_some(until - self.sent)? == 0
                && !self.connection.wait(PollFlags::POLLOUT, deadline)
            {
                let taken = count - (until - self.sent);
                let limit = words::duration(self.connection.timeout);
                return self.connection.fails(
                    format_args!("the server takes {} within {limit}", words::bytes(count)),
                    format_args!("it took {}{}", words::bytes(taken), self.connection.state()),
                );
            }
        }
        Ok(())
    }

    /// Receives all bytes that were sent so far, and checks them.
    pub(crate) fn receive_all(&mut self) -> Verdict {
        self.receive(self.unread())
    }

    /// Receives the next `count` bytes, and checks them.
    fn receive(&mut self, count: u64) -> Verdict {
        let (until, start) = (self.received + count, Instant::now());
        let mut buffer = vec![0; Pattern::longest()];
        while self.received < until {
            let wanted = usize::try_from(until - self.received).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            match self.read_some(&mut buffer[..wanted])? {
                Found::Bytes(_) => {}
                Found::End => return self.ended_early(until),
                Found::Nothing if self.wait_since(start, PollFlags::POLLIN) => {}
                Found::Nothing => return self.too_slow(until),
            }
        }
        Ok(())
    }

    /// Sends the next `count` bytes, and at the same time receives all bytes that were sent. A client that
    /// sends more than the kernel buffers must do both at once.
    pub(crate) fn exchange(&mut self, count: u64) -> Verdict {
        self.exchange_in(count, || (Pattern::longest(), Pattern::longest()))
    }

    /// As [`exchange`](Client::exchange), in pieces. `sizes` returns the most bytes to write and the most
    /// bytes to read next.
    pub(crate) fn exchange_in(
        &mut self,
        count: u64,
        mut sizes: impl FnMut() -> (usize, usize),
    ) -> Verdict {
        let (until, start) = (self.sent + count, Instant::now());
        let mut buffer = vec![0; Pattern::longest()];
        while self.received < until {
            let (write_at_most, read_at_most) = sizes();
            let mut moved = 0;
            if self.sent < until {
                moved = self.write_some((until - self.sent).min(write_at_most as u64))?;
            }
            let read_at_most = read_at_most.clamp(1, buffer.len());
            match self.read_some(&mut buffer[..read_at_most])? {
                Found::Bytes(_) => continue,
                Found::End => return self.ended_early(until),
                Found::Nothing if moved > 0 => {}
                Found::Nothing => {
                    let mut events = PollFlags::POLLIN;
                    events.set(PollFlags::POLLOUT, self.sent < until);
                    if !self.wait_since(start, events) {
                        return self.too_slow(until);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends and receives as many bytes as possible until `stop` is set.
    pub(crate) fn flood(&mut self, stop: &AtomicBool) -> Verdict {
        let mut buffer = vec![0; Pattern::longest()];
        while !stop.load(Ordering::Relaxed) {
            let moved = self.write_some(u64::MAX)?;
            match self.read_some(&mut buffer)? {
                Found::Bytes(_) => {}
                Found::End => return self.ended_early(self.sent),
                Found::Nothing if moved > 0 => {}
                Found::Nothing => {
                    // A short wait: the flag is checked after it.
                    let soon = Instant::now() + FLOOD_INTERVAL;
                    self.connection.wait(PollFlags::POLLIN | PollFlags::POLLOUT, soon);
                }
            }
        }
        Ok(())
    }

    /// Sends `bytes`, which are not of the stream, and expects them back.
    pub(crate) fn echo(&mut self, bytes: &[u8]) -> Verdict {
        let deadline = self.connection.deadline();
        let mut unsent = bytes;
        while !unsent.is_empty() {
            match self.connection.write(unsent)? {
                0 if !self.connection.wait(PollFlags::POLLOUT, deadline) => {
                    return self.too_slow(self.sent + 1);
                }
                taken => unsent = &unsent[taken..],
            }
        }
        let mut answer = Vec::new();
        let mut buffer = vec![0; bytes.len()];
        while answer.len() < bytes.len() {
            let wanted = bytes.len() - answer.len();
            match self.connection.read(&mut buffer[..wanted])? {
                Found::Bytes(count) => answer.extend_from_slice(&buffer[..count]),
                Found::Nothing if self.connection.wait(PollFlags::POLLIN, deadline) => {}
                Found::End | Found::Nothing => break,
            }
        }
        let (all, back) = (bytes.len() as u64, answer.len() as u64);
        match answer.iter().zip(bytes).position(|(a, b)| a != b) {
            None if back == all => Ok(()),
            None => self.connection.fails_at_end(
                format_args!("{} back", words::bytes(all)),
                format_args!("{}{}", words::bytes(back), self.connection.state()),
            ),
            Some(place) => self.connection.fails(
                format_args!("byte {place} comes back as {:#04x}", bytes[place]),
                format_args!("it came back as {:#04x}", answer[place]),
            ),
        }
    }

    /// Sends at most `count` bytes, as many as the kernel takes now, without reading or waiting.
    pub(crate) fn send_at_most(&mut self, count: u64) -> Verdict {
        let until = self.sent + count;
        while self.sent < until && self.write_some(until - self.sent)? > 0 {}
        Ok(())
    }

    /// Sends as many bytes as the kernel takes now, without reading or waiting. Returns their number. Fails
    /// when more than `limit` bytes have not come back: then the server keeps what the client does not read.
    pub(crate) fn send_what_fits(&mut self, limit: u64) -> Verdict<u64> {
        let before = self.sent;
        while self.write_some(u64::MAX)? > 0 {
            if self.unread() > limit {
                return self.connection.fails(
                    "the server stops reading from a client that reads nothing",
                    format_args!("it read {} MiB and continues to read", self.unread() >> 20),
                );
            }
        }
        Ok(self.sent - before)
    }

    /// Waits until the server's kernel has acknowledged all bytes. The server need not have read them.
    pub(crate) fn wait_until_arrived(&self) -> Verdict {
        self.connection.wait_until_arrived()
    }

    /// Whether bytes are on the way that the server's kernel has not acknowledged.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.connection.is_in_flight()
    }

    /// Shuts down the sending half: after the bytes that were sent, the server reads end of stream.
    pub(crate) fn half_close(&self) -> Verdict {
        self.connection.half_close()
    }

    /// Closes the connection with a reset: see [`Connection::reset`].
    pub(crate) fn reset(self) {
        self.connection.reset();
    }

    /// Expects all bytes back, and then the end of the stream.
    pub(crate) fn expect_end(&mut self) -> Verdict {
        self.receive_all()?;
        let deadline = self.connection.deadline();
        let mut surplus = [0; 64];
        let expected = format!("end of stream after {}", words::bytes(self.received));
        loop {
            match self.connection.read(&mut surplus)? {
                Found::End => return Ok(()),
                Found::Bytes(count) => {
                    let more = words::bytes(count as u64);
                    return self.connection.fails(expected, format_args!("{more} more"));
                }
                Found::Nothing if self.connection.wait(PollFlags::POLLIN, deadline) => {}
                Found::Nothing => {
                    let cause = self.connection.cause(Duration::ZERO).unwrap_or(Cause::NotClosed);
                    let state = self.connection.state();
                    let seen = format!("neither bytes nor end of stream{state}");
                    return fails_because(Some(cause), expected, seen);
                }
            }
        }
    }

    /// Expects to receive nothing for `duration`, neither bytes nor end of stream.
    pub(crate) fn expect_silence(&mut self, duration: Duration) -> Verdict {
        let deadline = Instant::now() + duration;
        while self.connection.wait(PollFlags::POLLIN, deadline) {
            let seen = match self.connection.read(&mut [0; 64])? {
                Found::Nothing => continue,
                Found::Bytes(count) => words::bytes(count as u64),
                Found::End => "end of stream".to_owned(),
            };
            return self.connection.fails_at_end("the client has no answer yet", seen);
        }
        Ok(())
    }

    /// Whether something can be read: bytes, or the end of the connection.
    pub(crate) fn has_news(&self) -> bool {
        self.connection.wait(PollFlags::POLLIN, Instant::now())
    }

    /// Whether bytes come within `duration`. The end of the connection does not count.
    pub(crate) fn is_answered_within(&mut self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        while self.connection.wait(PollFlags::POLLIN, deadline) {
            match self.connection.read(&mut [0; 64]) {
                Ok(Found::Nothing) => {}
                found => return matches!(found, Ok(Found::Bytes(_))),
            }
        }
        false
    }

    fn ended_early(&self, until: u64) -> Verdict {
        self.connection.fails_at_end(
            format_args!("{} back", words::bytes(until)),
            format_args!("end of stream after {}", words::bytes(self.received)),
        )
    }

    fn too_slow(&self, until: u64) -> Verdict {
        let limit = words::duration(self.connection.timeout);
        self.connection.fails(
            format_args!("{} back, without a pause of {limit}", words::bytes(until)),
            format_args!("{}{}", words::bytes(self.received), self.connection.state()),
        )
    }

    /// Writes the next bytes of the stream, at most `count`. Returns 0 when the kernel takes none now.
    fn write_some(&mut self, count: u64) -> Verdict<usize> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = self.connection.write(self.pattern.at(self.sent, count))?;
        self.sent += taken as u64;
        Ok(taken)
    }

    /// Reads once, and checks the bytes.
    fn read_some(&mut self, buffer: &mut [u8]) -> Verdict<Found> {
        let found = self.connection.read(buffer)?;
        if let Found::Bytes(count) = found {
            if let Some(complaint) = self.pattern.complaint(self.received, &buffer[..count]) {
                return self
                    .connection
                    .fails("all bytes back, in the order in which they were sent", complaint);
            }
            self.received += count as u64;
            if self.received > self.sent {
                return self.connection.fails(
                    format_args!("the {} that were sent", words::bytes(self.sent)),
                    words::bytes(self.received),
                );
            }
        }
        Ok(found)
    }

    /// Waits for the next bytes of a transfer that began at `start`, for the timeout of one answer. The
    /// whole transfer may last [`LONGEST_IN_TIMEOUTS`].
    fn wait_since(&self, start: Instant, events: PollFlags) -> bool {
        let longest = start + LONGEST_IN_TIMEOUTS * self.connection.timeout;
        self.connection.wait(events, self.connection.deadline().min(longest))
    }
}
