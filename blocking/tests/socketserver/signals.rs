//! A signal interrupts system calls (EINTR), and nothing else.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::libc;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use socketserver::{Concurrency, Server, Socket};

use crate::common::{A_MOMENT, Client, Kind, LONG, STREAMS, WELL};

/// More than the buffers of both sides hold, in bytes.
const BIG: usize = 16 * 1024 * 1024 - 1;

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// Handles `signal` without SA_RESTART: system calls fail with EINTR.
fn interrupt_with(signal: Signal) {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only counts.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// Sends `signal` to a thread until the thread has handled one.
fn interrupt(thread: Pthread, signal: Signal) {
    let (before, deadline) = (SIGNALS.load(Ordering::SeqCst), Instant::now() + LONG);
    while SIGNALS.load(Ordering::SeqCst) == before {
        assert!(Instant::now() < deadline);
        pthread_kill(thread, signal).unwrap();
        thread::sleep(A_MOMENT / 10);
    }
}

/// [SocketWriterTest.test_write]
#[test]
fn a_write_survives_signals_whole() {
    interrupt_with(Signal::SIGUSR1);
    for kind in STREAMS {
        for concurrency in [Concurrency::one_at_a_time(), Concurrency::threads()] {
            let (writes, will_write) = mpsc::channel();
            let handler = move |mut stream: &Socket| {
                stream.write_all(b"write data\n")?;
                let mut line = [0; 16];
                stream.read_exact(&mut line)?;
                assert_eq!(&line, b"client response\n");
                writes.send(pthread_self()).unwrap();
                stream.write_all(&vec![7; BIG])
            };
            let server = Server::bind(&kind.any_address(), concurrency, handler);
            let mut server = server.unwrap();
            let address = server.address().unwrap();
            let serving = thread::spawn(move || {
                assert!(server.handle_request(Some(LONG)).unwrap());
                server
            });
            let client = Client::connect(kind, &address);
            let mut client = &client.socket;
            let mut line = [0; 11];
            client.read_exact(&mut line).unwrap(); // Sent at once, although more follows.
            assert_eq!(&line, b"write data\n");
            client.write_all(b"client response\n").unwrap();
            let writer = will_write.recv_timeout(LONG).unwrap();
            client.read_exact(&mut [0; 100]).unwrap();
            for _ in 0..10 {
                interrupt(writer, Signal::SIGUSR1);
            }
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), BIG - 100, "{kind:?}");
            assert!(rest.iter().all(|byte| *byte == 7));
            serving.join().unwrap();
        }
    }
}

#[test]
fn a_signal_does_not_end_a_wait() {
    interrupt_with(Signal::SIGUSR2);
    let address = Kind::Tcp.any_address();
    let mut server =
        Server::<Socket, _>::bind(&address, Concurrency::one_at_a_time(), WELL).unwrap();
    let address = server.address().unwrap();
    let (waits, will_wait) = mpsc::channel();
    let serving = thread::spawn(move || {
        waits.send(pthread_self()).unwrap();
        assert!(server.handle_request(None).unwrap());
    });
    let waiting = will_wait.recv_timeout(LONG).unwrap();
    thread::sleep(A_MOMENT);
    interrupt(waiting, Signal::SIGUSR2);
    assert!(!serving.is_finished());
    assert_eq!(Client::request(Kind::Tcp, &address).received(), "vshf");
    serving.join().unwrap();
}
