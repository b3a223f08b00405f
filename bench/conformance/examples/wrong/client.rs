//! The thread of one client, and what all threads share.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use echo::{Scratch, Totals};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fault::Fault;

/// The most bytes of one read.
const BUFFER_BYTES: usize = 16 * 1024;

/// The bytes on one connection after which two chunks change places. Few cases send as many.
const SWAP_AFTER: u64 = 6 << 20;

/// The idle time after which `drops-idle-clients` drops a client.
const IDLE: Duration = Duration::from_millis(50);

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) fault: Fault,
    /// Burns the CPU time of `--work`. Its buffer is not used.
    work: Scratch,
    clients: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// Some faults hold this lock while they serve a client.
    turn: Mutex<()>,
    stopping: AtomicBool,
    connections: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl Shared {
    pub(crate) fn new(fault: Fault, work: Duration) -> Shared {
        Shared {
            fault,
            work: Scratch::with(0, work),
            clients: Mutex::default(),
            turn: Mutex::default(),
            stopping: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    pub(crate) fn clients(&self) -> MutexGuard<'_, HashMap<u64, Arc<TcpStream>>> {
        lock(&self.clients)
    }

    /// Counts a client, and keeps a handle of its stream for the drain. Returns the client's number.
    pub(crate) fn enter(&self, stream: &Arc<TcpStream>) -> u64 {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.clients().insert(number, Arc::clone(stream));
        number
    }

    /// Shuts down the reading half of every stream: each thread reads what has arrived, then end of
    /// stream.
    pub(crate) fn stop_reading(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for stream in self.clients().values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            connections: self.connections.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            ..Totals::default()
        }
    }

    /// Serves one client until it leaves.
    pub(crate) fn serve(&self, number: u64, stream: Arc<TcpStream>) {
        let result = match self.fault {
            Fault::BuffersWithoutBound => self.echo_unbounded(&stream),
            _ => self.echo(&stream),
        };
        if result.is_err() {
            match self.fault {
                Fault::EndsOnReset => process::exit(1),
                #[expect(clippy::panic, reason = "this is the fault")]
                Fault::PanicsOnReset => panic!("the client has left"),
                _ => {}
            }
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if self.fault == Fault::LeaksADescriptor {
            let _ = stream.shutdown(Shutdown::Both);
            mem::forget(Arc::clone(&stream));
        }
        drop(stream);
        self.clients().remove(&number);
        if self.fault == Fault::LeaksAThread && !self.stopping.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_secs(3600));
        }
    }

    /// The echo service: reads and writes until end of stream.
    fn echo(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut total = 0;
        let mut turn = None;
        loop {
            if self.hangs_up_on(stream) {
                return Ok(());
            }
            if self.fault == Fault::ServesOneUntilItIsSilent
                && !has_event(stream, PollFlags::POLLIN)
            {
                turn = None;
            }
            let received = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let first = total == 0;
            total += received as u64;
            self.work.work();
            let mut reply = &mut buffer[..received];
            match self.fault {
                Fault::NeverAnswers => continue,
                Fault::EchoesOnlyTheFirstRead if !first => continue,
                Fault::AsksAboutEveryClient => self.ask_about_every_client(),
                Fault::DropsTheLastByte if received == BUFFER_BYTES => {
                    reply = &mut reply[..BUFFER_BYTES - 1];
                }
                Fault::SwapsTwoChunks if (total - received as u64..total).contains(&SWAP_AFTER) => {
                    reply.rotate_left(received / 2);
                }
                Fault::OneSlowReaderStallsAll | Fault::ServesOneUntilItIsSilent
                    if turn.is_none() =>
                {
                    turn = Some(lock(&self.turn));
                }
                _ => {}
            }
            stream.write_all(reply)?;
            self.bytes.fetch_add(reply.len() as u64, Ordering::Relaxed);
            if self.fault == Fault::OneSlowReaderStallsAll {
                turn = None;
            }
        }
    }

    /// Asks poll(2) about every client, and ignores the answer.
    fn ask_about_every_client(&self) {
        let clients: Vec<_> = self.clients().values().map(Arc::clone).collect();
        let fds = clients.iter().map(|client| PollFd::new(client.as_fd(), PollFlags::POLLIN));
        let _ = poll(&mut fds.collect::<Vec<_>>(), PollTimeout::ZERO);
    }

    /// Whether the fault closes the connection before end of stream.
    fn hangs_up_on(&self, stream: &TcpStream) -> bool {
        let stopping = self.stopping.load(Ordering::Relaxed);
        match self.fault {
            Fault::ClosesOnHalfClose => !stopping && has_event(stream, half_closed()),
            Fault::DropsIdleClients => {
                let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
                let timeout = PollTimeout::try_from(IDLE).unwrap_or(PollTimeout::NONE);
                poll(&mut fds, timeout) == Ok(0)
            }
            _ => false,
        }
    }

    /// The echo service with two threads: one reads, the other writes. The queue between them has no
    /// bound.
    fn echo_unbounded(&self, mut stream: &TcpStream) -> io::Result<()> {
        let (queue, queued) = mpsc::channel::<Vec<u8>>();
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut stream = stream;
                for bytes in queued {
                    stream.write_all(&bytes)?;
                    self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                Ok(())
            });
            let mut buffer = vec![0; BUFFER_BYTES];
            let result = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    Ok(received) if queue.send(buffer[..received].to_vec()).is_err() => {
                        break Ok(());
                    }
                    Ok(_) => self.work.work(),
                    Err(error) => break Err(error),
                }
            };
            drop(queue);
            let written = writer.join().unwrap_or(Ok(()));
            result.and(written)
        })
    }
}

/// The event that the peer has shut down its sending half. Bytes before it may still be unread
/// (poll(2)).
fn half_closed() -> PollFlags {
    PollFlags::from_bits_retain(nix::libc::POLLRDHUP)
}

/// Whether poll(2) reports one of `events` now.
fn has_event(stream: &TcpStream, events: PollFlags) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), events)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
