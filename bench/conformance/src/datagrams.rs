//! Echo over UDP (RFC 862): each datagram comes back whole and once, to its sender.
//!
//! UDP has no connections: nothing to accept, to half-close or to limit. UDP may lose datagrams on a real
//! network. On loopback it loses none while the buffers have room, and these cases send far less.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::case::{Case, Need};
use crate::pattern::Pattern;
use crate::server::{SILENCE, Server};
use crate::stage::Stage;
use crate::verdict::{Verdict, fails, fails_because};
use crate::watch::{LOOK_INTERVAL, Stall, Watch};
use crate::words;

/// The most bytes of a UDP datagram over IPv4 (udp(7)).
const LARGEST: usize = 65_507;

/// Datagrams that wait at the server at the same time: few enough for the buffer of any socket.
const BURST: usize = 50;

/// What most of these cases protect.
const WHOLE: &str = "a datagram comes back whole and once, to its sender";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "datagram_of_one_byte",
        says: WHOLE,
        mistake: "the server does not answer, or answers another address",
        hint: "send the bytes of recvfrom() to the address that recvfrom() returned",
        needs: &[],
        run: one_byte,
    },
    Case {
        name: "datagram_of_no_bytes",
        says: WHOLE,
        mistake: "the server takes a length of 0 for the end of a stream",
        hint: "a datagram may be empty: only over TCP does 0 mean the end of the stream",
        needs: &[],
        run: empty,
    },
    Case {
        name: "datagram_of_the_largest_size",
        says: WHOLE,
        mistake: "the server's buffer is smaller than the largest datagram, and the rest is lost",
        hint: "receive into 65 535 bytes: bytes that do not fit cannot be read later",
        needs: &[],
        run: largest,
    },
    Case {
        name: "datagrams_keep_their_boundaries",
        says: WHOLE,
        mistake: "the server sends several datagrams back as one, or drops datagrams that wait",
        hint: "call sendto() once for each recvfrom(), with as many bytes; repeat until none waits",
        needs: &[],
        run: boundaries,
    },
    Case {
        name: "a_hundred_senders_get_their_own_back",
        says: WHOLE,
        mistake: "the server answers the sender that it saw first, or last",
        hint: "each datagram has an address: use the one that the same recvfrom() returned",
        needs: &[Need::Descriptors(100)],
        run: a_hundred_senders,
    },
    Case {
        name: "a_sender_that_is_gone_is_nobody_elses_business",
        says: "a client that has left does not disturb others",
        mistake: "an answer that cannot be delivered (ECONNREFUSED) ends the server",
        hint: "an error of sendto() concerns one datagram: count it, and receive the next",
        needs: &[],
        run: a_sender_that_is_gone,
    },
    Case {
        name: "sigterm_echoes_the_datagrams_that_have_arrived",
        says: "SIGTERM: stop, finish what is pending, exit 0",
        mistake: "the server ends at once, or by the signal, and drops the datagrams that wait",
        hint: "after the signal, receive until no datagram waits, then exit with 0",
        needs: &[Need::Process, Need::Contract],
        run: sigterm,
    },
    Case {
        name: "stdout_has_exactly_one_line_over_udp",
        says: "stdout: exactly one line, `listening on ADDR`",
        mistake: "the server logs to stdout",
        hint: "print only the first line to stdout, and all others to stderr",
        needs: &[Need::Process, Need::Contract],
        run: stdout_has_one_line,
    },
    Case {
        name: "sigterm_under_a_flood_ends_within_drain",
        says: "SIGTERM: what is pending is given at most --drain, then exit 0",
        mistake: "the server receives until no datagram waits, and another always waits",
        hint: "limit the drain by time or by a number of datagrams: senders do not stop",
        needs: &[Need::Process, Need::Contract],
        run: sigterm_under_a_flood,
    },
];

/// A client, which sends a stream of bytes of its own as datagrams.
struct Sender {
    socket: UdpSocket,
    pattern: Pattern,
    sent: u64,
    timeout: Duration,
    watch: Option<Watch>,
}

impl Sender {
    /// The `number`th client of `server`.
    fn new(stage: &Stage, server: &Server, number: usize) -> Verdict<Sender> {
        let addr = server.addr().socket_addr()?;
        let any: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(addr)?; // The kernel now drops datagrams from other addresses (udp(7)).
        let pattern = stage.subject().pattern().of_client(number);
        let (timeout, watch) = (stage.subject().timeout, server.watch());
        Ok(Sender { socket, pattern, sent: 0, timeout, watch })
    }

    /// Sends the next `size` bytes as one datagram, and returns them.
    fn send(&mut self, size: usize) -> Verdict<Vec<u8>> {
        let datagram = match size {
            0 => Vec::new(),
            _ => self.pattern.at(self.sent, size).to_vec(),
        };
        self.sent += size as u64;
        self.socket.send(&datagram)?;
        Ok(datagram)
    }

    /// Receives one datagram. Returns `None` after `limit`, or earlier when the server has slept for so
    /// long that no answer can come.
    fn receive(&mut self, limit: Duration) -> Verdict<Option<Vec<u8>>> {
        let mut buffer = vec![0; 1 << 16];
        self.socket.set_read_timeout(Some(limit.min(LOOK_INTERVAL)))?;
        let deadline = Instant::now() + limit;
        let (mut stall, mut is_last) = (self.watch.as_ref().map(Watch::stall), false);
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // SO_RCVTIMEO has passed (socket(7)).
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return self.fails("a server that receives", error),
            }
            if is_last {
                return Ok(None);
            }
            // The answer may come during the look, so it is received once more after the last look.
            is_last = Instant::now() >= deadline || stall.as_mut().is_some_and(Stall::look);
        }
    }

    /// A failure that this client sees.
    fn fails<T>(&self, expected: impl fmt::Display, seen: impl fmt::Display) -> Verdict<T> {
        let cause = self.watch.as_ref().and_then(|watch| watch.cause(Duration::ZERO));
        fails_because(cause, expected, seen)
    }

    /// Expects these datagrams and no others, in any order: UDP keeps no order.
    fn expect(&mut self, mut datagrams: Vec<Vec<u8>>) -> Verdict {
        let all = datagrams.len();
        while !datagrams.is_empty() {
            let back = all - datagrams.len();
            let Some(received) = self.receive(self.timeout)? else {
                let limit = words::duration(self.timeout);
                return self.fails(
                    format_args!("{all} datagrams back, without a pause of {limit}"),
                    format_args!("{back} datagrams"),
                );
            };
            let Some(place) = datagrams.iter().position(|datagram| *datagram == received) else {
                let expected: Vec<_> = datagrams.iter().take(5).map(Vec::len).collect();
                return self.fails(
                    format_args!("a datagram that was sent; the next have {expected:?} bytes"),
                    format_args!(
                        "another datagram, of {}, after {back} right ones",
                        words::bytes(received.len() as u64)
                    ),
                );
            };
            datagrams.swap_remove(place);
        }
        match self.receive(SILENCE)? {
            None => Ok(()),
            Some(more) => {
                let more = words::bytes(more.len() as u64);
                self.fails("each datagram once", format_args!("one more, of {more}"))
            }
        }
    }

    fn exchange(&mut self, size: usize) -> Verdict {
        let datagram = self.send(size)?;
        self.expect(vec![datagram])
    }
}

fn one_byte(stage: &Stage) -> Verdict {
    Sender::new(stage, &stage.start()?, 0)?.exchange(1)
}

fn empty(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut sender = Sender::new(stage, &server, 0)?;
    sender.exchange(0)?;
    sender.exchange(10) // The server still runs.
}

fn largest(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut sender = Sender::new(stage, &server, 0)?;
    [1472, 1473, 9000, LARGEST].into_iter().try_for_each(|size| sender.exchange(size))
}

/// If the suite can stop the server, all datagrams wait at its socket before it reads the first.
fn boundaries(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut sender = Sender::new(stage, &server, 0)?;
    let freezable = server.process().is_ok() && cfg!(target_os = "linux");
    if freezable {
        server.freeze()?;
    }
    let sizes = (0..BURST).map(|number| 1 + number * 37 % 1000);
    let datagrams = sizes.map(|size| sender.send(size)).collect::<Verdict<Vec<_>>>()?;
    if freezable {
        server.thaw()?;
    }
    sender.expect(datagrams)
}

/// All clients send before the first reads.
fn a_hundred_senders(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut senders = Vec::new();
    for number in 0..100 {
        senders.push(Sender::new(stage, &server, number)?);
    }
    let sent = senders.iter_mut().map(|sender| sender.send(100)).collect::<Verdict<Vec<_>>>()?;
    for (sender, datagram) in senders.iter_mut().zip(sent).rev() {
        match sender.receive(sender.timeout)? {
            Some(received) if received == datagram => {}
            Some(_) => return sender.fails("the client's own bytes", "bytes of another client"),
            None => return sender.fails("an answer to each of 100 clients", "one got no answer"),
        }
    }
    Ok(())
}

fn a_sender_that_is_gone(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    for number in 0..20 {
        Sender::new(stage, &server, number)?.send(100)?;
    }
    let mut other = Sender::new(stage, &server, 20)?;
    [100, 200, 300].into_iter().try_for_each(|size| other.exchange(size))
}

/// The server is stopped meanwhile, so that the datagrams arrive at its socket before the signal.
fn sigterm(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut sender = Sender::new(stage, &server, 0)?;
    sender.exchange(100)?;
    server.freeze()?;
    let sent = (1..=20).map(|size| sender.send(size)).collect::<Verdict<Vec<_>>>()?;
    server.signal(Signal::SIGTERM)?;
    server.thaw()?;
    sender.expect(sent)?;
    server.expect_exit_0().map(drop)
}

/// With some work for each datagram, the server is slower than the sender: another always waits.
fn sigterm_under_a_flood(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--drain", "200ms", "--work", "1ms"])?;
    let mut sender = Sender::new(stage, &server, 0)?;
    sender.exchange(100)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sender.send(100); // Refused after the end of the server.
            }
        });
        thread::sleep(SILENCE); // The buffer of the server's socket is full after it.
        let ended = server.signal(Signal::SIGTERM).and_then(|()| server.expect_exit_0());
        stop.store(true, Ordering::Relaxed);
        ended.map(drop)
    })
}

fn stdout_has_one_line(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--verbose"])?;
    let line = format!("listening on {}\n", server.addr().socket_addr()?);
    Sender::new(stage, &server, 0)?.exchange(100)?;
    server.signal(Signal::SIGTERM)?;
    let ended = server.expect_exit_0()?;
    if ended.stdout != line {
        return fails(format_args!("{line:?}"), format_args!("{:?}", ended.stdout));
    }
    Ok(())
}
