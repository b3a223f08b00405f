//! Echo over UDP (RFC 862): each datagram comes back whole, once, to whoever sent it.
//!
//! There is no connection here, and so nothing to accept, to half-close or to limit. What UDP may lose
//! on a real network it does not on loopback while the buffers hold it: these cases stay far below.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::case::{Case, Need};
use crate::limits::expect_refusal;
use crate::pattern::Pattern;
use crate::stage::{SILENCE, Server, Stage};
use crate::verdict::{Verdict, fails};

/// The most that a UDP datagram over IPv4 carries, in bytes (udp(7)).
const LARGEST: usize = 65_507;

/// Datagrams that wait at the server at the same time: few enough for any socket's buffer.
const BURST: usize = 50;

const WHOLE: &str = "a datagram comes back whole and once, to whoever sent it";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "datagram_of_one_byte",
        says: WHOLE,
        mistake: "the server does not answer, or answers somebody else",
        hint: "send what recvfrom() returned to the address that it returned with it",
        needs: &[],
        run: one_byte,
    },
    Case {
        name: "datagram_of_no_bytes",
        says: WHOLE,
        mistake: "the server takes a length of 0 for the end of a stream",
        hint: "a datagram may be empty: only TCP says with 0 that the peer has finished",
        needs: &[],
        run: empty,
    },
    Case {
        name: "datagram_of_the_largest_size",
        says: WHOLE,
        mistake: "the server's buffer is smaller than a datagram can be: the rest is cut off",
        hint: "receive into 65 535 bytes: what does not fit is gone, there is no second read",
        needs: &[],
        run: largest,
    },
    Case {
        name: "datagrams_keep_their_boundaries",
        says: WHOLE,
        mistake: "the server collects datagrams and sends them back as one, or drops what is queued",
        hint: "one sendto() for each recvfrom(), of as many bytes; go on until none is left",
        needs: &[],
        run: boundaries,
    },
    Case {
        name: "a_hundred_senders_get_their_own_back",
        says: WHOLE,
        mistake: "the server answers the sender it saw first, or last",
        hint: "the address belongs to the datagram: use the one of this recvfrom()",
        needs: &[Need::Descriptors(100)],
        run: a_hundred_senders,
    },
    Case {
        name: "a_sender_that_is_gone_is_nobody_elses_business",
        says: "what one client does is no other's business",
        mistake: "the server ends when an answer cannot be delivered (ECONNREFUSED)",
        hint: "an error of sendto() concerns one datagram: count it, and receive the next",
        needs: &[],
        run: a_sender_that_is_gone,
    },
    Case {
        name: "sigterm_echoes_the_datagrams_that_have_arrived",
        says: "SIGTERM: stop, finish what is pending, exit 0",
        mistake: "the server ends at once, or with the signal's status, and drops what is queued",
        hint: "after the signal go on receiving until there is nothing left, then exit 0",
        needs: &[Need::Process, Need::Contract],
        run: sigterm,
    },
    Case {
        name: "stdout_has_exactly_one_line_over_udp",
        says: "stdout: exactly one line, `listening on ADDR`",
        mistake: "the server logs to stdout",
        hint: "everything but the first line belongs on stderr",
        needs: &[Need::Process, Need::Contract],
        run: stdout_has_one_line,
    },
    Case {
        name: "sigterm_under_a_flood_ends_within_drain",
        says: "SIGTERM: what is pending is given at most --drain, then exit 0",
        mistake: "the server goes on until nothing is left, and there is always more",
        hint: "bound the end by time, or by a number of datagrams: nobody can be told to stop sending",
        needs: &[Need::Process, Need::Contract],
        run: sigterm_under_a_flood,
    },
    Case {
        name: "a_unix_address_is_refused_over_udp",
        says: "bad arguments: a message on stderr, exit 2; never a panic",
        mistake: "the server fails when it binds, as if the address were taken, or ignores it",
        hint: "a Unix-domain address names no UDP socket: say so before you bind",
        needs: &[Need::Contract],
        run: |stage| expect_refusal(&stage.run_to_end(&["--addr", "unix:/nowhere"])?, 2),
    },
];

/// A client: what it sends is a stream of its own, cut into datagrams.
struct Sender {
    socket: UdpSocket,
    pattern: Pattern,
    sent: u64,
    patience: Duration,
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
        socket.connect(addr)?; // From now on the kernel drops what anybody else sends (udp(7)).
        let pattern = stage.subject().pattern().of_client(number);
        Ok(Sender { socket, pattern, sent: 0, patience: stage.subject().patience })
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

    /// Receives one datagram, or none within `limit`.
    fn receive(&mut self, limit: Duration) -> Verdict<Option<Vec<u8>>> {
        let mut buffer = vec![0; 1 << 16];
        self.socket.set_read_timeout(Some(limit))?;
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // SO_RCVTIMEO has passed (socket(7)).
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return fails("a server that receives", error),
            }
        }
    }

    /// Expects just these datagrams, in any order: UDP keeps none.
    fn expect(&mut self, mut datagrams: Vec<Vec<u8>>) -> Verdict {
        let all = datagrams.len();
        while !datagrams.is_empty() {
            let back = all - datagrams.len();
            let Some(received) = self.receive(self.patience)? else {
                return fails(
                    format_args!("{all} datagrams"),
                    format_args!("{back}, and no more within {:?}", self.patience),
                );
            };
            let Some(place) = datagrams.iter().position(|datagram| *datagram == received) else {
                let expected: Vec<_> = datagrams.iter().take(5).map(Vec::len).collect();
                return fails(
                    format_args!("a datagram that was sent; the next ones have {expected:?} bytes"),
                    format_args!(
                        "another one, of {} bytes, after {back} good ones",
                        received.len()
                    ),
                );
            };
            datagrams.swap_remove(place);
        }
        match self.receive(SILENCE)? {
            None => Ok(()),
            Some(more) => fails("each datagram once", format_args!("{} bytes more", more.len())),
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
    sender.exchange(10) // The server goes on.
}

fn largest(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut sender = Sender::new(stage, &server, 0)?;
    [1472, 1473, 9000, LARGEST].into_iter().try_for_each(|size| sender.exchange(size))
}

/// Where the server can be stopped, all datagrams wait at its socket before it reads the first.
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

/// All send before the first one reads.
fn a_hundred_senders(stage: &Stage) -> Verdict {
    let server = stage.start()?;
    let mut senders = Vec::new();
    for number in 0..100 {
        senders.push(Sender::new(stage, &server, number)?);
    }
    let sent = senders.iter_mut().map(|sender| sender.send(100)).collect::<Verdict<Vec<_>>>()?;
    for (sender, datagram) in senders.iter_mut().zip(sent).rev() {
        match sender.receive(sender.patience)? {
            Some(received) if received == datagram => {}
            Some(_) => return fails("each its own bytes", "the bytes of another client"),
            None => return fails("an answer to each of 100 clients", "none for one of them"),
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

/// The server is stopped meanwhile, so that the datagrams are at its socket before the signal is.
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

/// With some work for each datagram the server is slower than the sender: there is always another.
fn sigterm_under_a_flood(stage: &Stage) -> Verdict {
    let server = stage.start_with(&["--drain", "200ms", "--work", "1ms"])?;
    let mut sender = Sender::new(stage, &server, 0)?;
    sender.exchange(100)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sender.send(100); // Refused, once the server has ended.
            }
        });
        thread::sleep(SILENCE); // By now its buffer is full.
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
