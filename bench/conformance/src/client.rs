//! A client that checks every byte, and never waits without end.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use server_process::address::Address;
use socket2::{Domain, Socket, Type};

use crate::pattern::Pattern;
use crate::verdict::{Verdict, fails};

/// The most payload of a TCP segment: Ethernet's. With loopback's 64 KiB the kernel sets aside several
/// times the memory for each connection, and fifty that nobody reads would take what it has for TCP
/// (tcp_mem); after that it drops packets.
const SEGMENT_BYTES: u32 = 1460;

/// How many times longer than for an answer a client waits for many bytes that do come.
const LONGEST_IN_PATIENCES: u32 = 6;

/// How often a flood looks whether it is to stop while it cannot move.
const FLOOD_INTERVAL: Duration = Duration::from_millis(20);

/// A connection to the server. What it sends is a stream of its own, and what it receives must be the
/// same stream.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    pattern: Pattern,
    sent: u64,
    received: u64,
    patience: Duration,
}

/// What one read found.
enum Found {
    Bytes(usize),
    End,
    Nothing,
}

impl Client {
    /// Connects, and waits until it is connected. On loopback this means: until the server's kernel has
    /// queued it. The server need not have accepted.
    pub(crate) fn connect(addr: &Address, pattern: Pattern, patience: Duration) -> Verdict<Client> {
        let client = Client::begin(addr, pattern, patience)?;
        let wanted = format_args!("a server that listens on {addr}").to_string();
        if !client.wait(PollFlags::POLLOUT, Instant::now() + patience) {
            return fails(wanted, format_args!("a connect that takes longer than {patience:?}"));
        }
        match client.socket.take_error()? {
            None => Ok(client),
            Some(error) => fails(wanted, format_args!("connect failed: {error}")),
        }
    }

    /// Begins to connect, and does not wait until a full backlog has room; a Unix-domain socket cannot
    /// begin before it has.
    pub(crate) fn begin(addr: &Address, pattern: Pattern, patience: Duration) -> Verdict<Client> {
        let socket = Socket::new(addr.domain(), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Address::Tcp(_) = addr {
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_mss(SEGMENT_BYTES)?;
            // Not BBR, where that is the default: it pauses by itself, and a pause is what tells us that
            // the server reads no more. Reno is always there, and needs no permission.
            let _ = socket.set_tcp_congestion(b"reno");
        }
        let (to, deadline) = (addr.to_sock_addr()?, Instant::now() + patience);
        while let Err(error) = socket.connect(&to) {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINPROGRESS) => break,
                // A Unix-domain socket's way to say that the backlog is full.
                Some(Errno::EAGAIN) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => {
                    return fails(
                        format_args!("a server that listens on {addr}"),
                        format_args!("connect failed: {error}"),
                    );
                }
            }
        }
        Ok(Client { socket, pattern, sent: 0, received: 0, patience })
    }

    /// Whether the server's kernel has queued it, now or within `duration`.
    pub(crate) fn is_connected_within(&self, duration: Duration) -> bool {
        self.wait(PollFlags::POLLOUT, Instant::now() + duration)
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes received and compared so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes sent that have not come back yet.
    pub(crate) fn unread(&self) -> u64 {
        self.sent - self.received
    }

    /// Sends the next `count` bytes of its stream, and reads nothing meanwhile.
    pub(crate) fn send(&mut self, count: u64) -> Verdict {
        let (until, deadline) = (self.sent + count, self.deadline());
        while self.sent < until {
            if self.write_some(until - self.sent)? == 0 && !self.wait(PollFlags::POLLOUT, deadline)
            {
                let missing = until - self.sent;
                return fails(
                    format_args!("the server takes {count} bytes within {:?}", self.patience),
                    format_args!("it took {} of them", count - missing),
                );
            }
        }
        Ok(())
    }

    /// Receives everything sent so far, and checks it.
    pub(crate) fn receive_all(&mut self) -> Verdict {
        self.receive(self.unread())
    }

    /// Receives the next `count` bytes, and checks them.
    pub(crate) fn receive(&mut self, count: u64) -> Verdict {
        let (until, start) = (self.received + count, Instant::now());
        let mut buffer = vec![0; Pattern::longest()];
        while self.received < until {
            let wanted = usize::try_from(until - self.received).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            match self.read_some(&mut buffer[..wanted])? {
                Found::Bytes(_) => {}
                Found::End => return self.ended_early(until),
                Found::Nothing if self.wait(PollFlags::POLLIN, self.deadline_from(start)) => {}
                Found::Nothing => return self.too_slow(until),
            }
        }
        Ok(())
    }

    /// Sends the next `count` bytes and receives everything sent, both at once: as a client must that
    /// sends more than the kernel buffers.
    pub(crate) fn exchange(&mut self, count: u64) -> Verdict {
        self.exchange_in(count, || (Pattern::longest(), Pattern::longest()))
    }

    /// The same, in pieces: `sizes` says how many bytes to write at most and how many to read at most.
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
                    if !self.wait(events, self.deadline_from(start)) {
                        return self.too_slow(until);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends and receives as much as it can until `stop` is set.
    pub(crate) fn flood(&mut self, stop: &AtomicBool) -> Verdict {
        let mut buffer = vec![0; Pattern::longest()];
        while !stop.load(Ordering::Relaxed) {
            let moved = self.write_some(u64::MAX)?;
            match self.read_some(&mut buffer)? {
                Found::Bytes(_) => {}
                Found::End => return self.ended_early(self.sent),
                Found::Nothing if moved > 0 => {}
                Found::Nothing => {
                    // Briefly, so that the flag is seen.
                    let soon = Instant::now() + FLOOD_INTERVAL;
                    self.wait(PollFlags::POLLIN | PollFlags::POLLOUT, soon);
                }
            }
        }
        Ok(())
    }

    /// Sends bytes of the caller's choice and expects them back.
    pub(crate) fn echo(&mut self, bytes: &[u8]) -> Verdict {
        let deadline = self.deadline();
        let mut unsent = bytes;
        while !unsent.is_empty() {
            match self.write_bytes(unsent)? {
                0 if !self.wait(PollFlags::POLLOUT, deadline) => {
                    return self.too_slow(self.sent + 1);
                }
                taken => unsent = &unsent[taken..],
            }
        }
        let mut answer = Vec::new();
        let mut buffer = vec![0; bytes.len()];
        while answer.len() < bytes.len() {
            let wanted = bytes.len() - answer.len();
            match self.read_bytes(&mut buffer[..wanted])? {
                Found::Bytes(count) => answer.extend_from_slice(&buffer[..count]),
                Found::Nothing if self.wait(PollFlags::POLLIN, deadline) => {}
                Found::End | Found::Nothing => break,
            }
        }
        match answer.iter().zip(bytes).position(|(a, b)| a != b) {
            None if answer.len() == bytes.len() => Ok(()),
            None => fails(
                format_args!("{} bytes back", bytes.len()),
                format_args!("only {} of them", answer.len()),
            ),
            Some(place) => fails(
                format_args!("byte {place} to come back as {:#04x}", bytes[place]),
                format_args!("{:#04x}", answer[place]),
            ),
        }
    }

    /// Sends, without reading or waiting, what the kernel takes now: returns how much. Fails when more
    /// than `limit` bytes are on their way: the server keeps what nobody reads.
    pub(crate) fn send_what_fits(&mut self, limit: u64) -> Verdict<u64> {
        let before = self.sent;
        while self.write_some(u64::MAX)? > 0 {
            if self.unread() > limit {
                return fails(
                    "the server stops reading from a client that reads nothing",
                    format_args!("it took {} MiB and would take more", self.unread() >> 20),
                );
            }
        }
        Ok(self.sent - before)
    }

    /// Waits until everything sent is in the server's kernel: acknowledged, if not yet read.
    pub(crate) fn wait_until_arrived(&self) -> Verdict {
        let deadline = self.deadline();
        while self.unacknowledged()? > 0 {
            if Instant::now() >= deadline {
                return fails("the server's kernel takes what is sent", "it does not");
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Bytes that are still in our own kernel: SIOCOUTQ of tcp(7), TIOCOUTQ by its portable name.
    fn unacknowledged(&self) -> io::Result<i32> {
        let mut count = 0;
        let fd = self.socket.as_raw_fd();
        if self.socket.domain()? == Domain::UNIX {
            // What is sent is in the peer's queue at once, and counted as ours until it is read.
            return Ok(0);
        }
        // SAFETY: the request writes one int, and `count` is one that outlives the call.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut count) };
        Errno::result(result)?;
        Ok(count)
    }

    /// Whether bytes are on their way that the server's kernel has not acknowledged: tcpi_unacked of
    /// TCP_INFO (tcp(7)). What waits for the server's window to open is not on its way.
    pub(crate) fn is_in_flight(&self) -> bool {
        // SAFETY: all of its fields are integers.
        let mut info: libc::tcp_info = unsafe { mem::zeroed() };
        let mut size = mem::size_of_val(&info) as libc::socklen_t;
        let (fd, into) = (self.socket.as_raw_fd(), (&raw mut info).cast());
        // SAFETY: the kernel writes at most `size` bytes to `info`, which outlives the call.
        let result =
            unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut size) };
        // A Unix-domain socket has no such thing, and nothing on its way.
        result == 0 && info.tcpi_unacked > 0
    }

    /// Shuts down the sending half: the server finds end of stream behind what was sent.
    pub(crate) fn half_close(&self) -> Verdict {
        Ok(self.socket.shutdown(Shutdown::Write)?)
    }

    /// Sends RST: a close with SO_LINGER of 0 (socket(7)) throws away what is on the way. A Unix-domain
    /// socket has no reset; it just closes.
    pub(crate) fn reset(self) {
        // If the option cannot be set the peer has reset first.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    /// Expects the server to close its side, after everything sent has come back.
    pub(crate) fn expect_end(&mut self) -> Verdict {
        self.receive_all()?;
        let deadline = self.deadline();
        let mut surplus = [0; 64];
        loop {
            match self.read_bytes(&mut surplus)? {
                Found::End => return Ok(()),
                Found::Bytes(count) => {
                    return fails(
                        format_args!("end of stream after {} bytes", self.received),
                        format_args!("{count} bytes more"),
                    );
                }
                Found::Nothing if self.wait(PollFlags::POLLIN, deadline) => {}
                Found::Nothing => {
                    return fails(
                        format_args!("end of stream after {} bytes", self.received),
                        format_args!("neither bytes nor end of stream for {:?}", self.patience),
                    );
                }
            }
        }
    }

    /// Expects to receive nothing, not even end of stream, for so long.
    pub(crate) fn expect_silence(&mut self, duration: Duration) -> Verdict {
        let deadline = Instant::now() + duration;
        while self.wait(PollFlags::POLLIN, deadline) {
            let mut buffer = [0; 64];
            match self.read_bytes(&mut buffer)? {
                Found::Nothing => {}
                Found::Bytes(count) => return fails("nothing yet", format_args!("{count} bytes")),
                Found::End => return fails("nothing yet", "end of stream"),
            }
        }
        Ok(())
    }

    /// Whether something has come that was not read yet: bytes, or the end of the connection.
    pub(crate) fn has_news(&self) -> bool {
        self.wait(PollFlags::POLLIN, Instant::now())
    }

    /// Whether bytes come within `duration`. The end of the connection is no answer.
    pub(crate) fn is_answered_within(&mut self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        while self.wait(PollFlags::POLLIN, deadline) {
            match self.read_bytes(&mut [0; 64]) {
                Ok(Found::Nothing) => {}
                found => return matches!(found, Ok(Found::Bytes(_))),
            }
        }
        false
    }

    fn ended_early(&self, until: u64) -> Verdict {
        fails(
            format_args!("{until} bytes back"),
            format_args!("end of stream after {} bytes", self.received),
        )
    }

    fn too_slow(&self, until: u64) -> Verdict {
        fails(
            format_args!("{until} bytes back, and no pause longer than {:?}", self.patience),
            format_args!("{} bytes", self.received),
        )
    }

    /// Writes the next bytes of the stream, `count` at most; 0 when the kernel takes none now.
    fn write_some(&mut self, count: u64) -> Verdict<usize> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let pattern = self.pattern.clone();
        let taken = self.write_bytes(pattern.at(self.sent, count))?;
        self.sent += taken as u64;
        Ok(taken)
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Verdict<usize> {
        match self.socket.write(bytes) {
            Ok(taken) => Ok(taken),
            Err(error) if is_not_now(&error) => Ok(0),
            Err(error) => fails(
                "a server that goes on reading",
                format_args!("sending failed after {} bytes: {error}", self.sent),
            ),
        }
    }

    /// Reads once and checks what came.
    fn read_some(&mut self, buffer: &mut [u8]) -> Verdict<Found> {
        let found = self.read_bytes(buffer)?;
        if let Found::Bytes(count) = found {
            if let Some(complaint) = self.pattern.complaint(self.received, &buffer[..count]) {
                return fails("every byte back, in the order it was sent", complaint);
            }
            self.received += count as u64;
            if self.received > self.sent {
                return fails(
                    format_args!("the {} bytes that were sent", self.sent),
                    format_args!("{} bytes", self.received),
                );
            }
        }
        Ok(found)
    }

    fn read_bytes(&mut self, buffer: &mut [u8]) -> Verdict<Found> {
        match self.socket.read(buffer) {
            Ok(0) => Ok(Found::End),
            Ok(count) => Ok(Found::Bytes(count)),
            Err(error) if is_not_now(&error) => Ok(Found::Nothing),
            Err(error) => fails(
                "a connection that lasts until the client has everything back",
                format_args!("receiving failed after {} bytes: {error}", self.received),
            ),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// For what may take several times as long as one answer, as long as it goes on.
    fn deadline_from(&self, start: Instant) -> Instant {
        (start + LONGEST_IN_PATIENCES * self.patience).min(self.deadline())
    }

    /// Sleeps until one of `events`, an error or a hang-up is there; false when `deadline` came first.
    fn wait(&self, events: PollFlags, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.socket.as_fd(), events)];
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(ready) if ready > 0 => return true,
                _ if Instant::now() >= deadline => return false,
                // A signal came, or poll(2) rounded down to its milliseconds.
                _ => {}
            }
        }
    }
}

/// Whether a call on a non-blocking socket only asks to be repeated.
fn is_not_now(error: &io::Error) -> bool {
    // ENOTCONN: still connecting.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}
