//! A stop ends the server within `--drain`, also while many clients compute.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{pair, reactor, run};
use echo::Stop;
use epoll_selector::{Conversation, Protocol, Selector, Talk, Trigger, Until};
use nix::sys::signal::Signal;
use server_process::process::Process;

/// Clients that each have a message waiting: the turn that serves them all takes 20 s.
const CLIENTS: usize = 200;

/// The drain and one client's work are 0.3 s; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn sigterm_in_the_middle_of_a_turn_ends_within_the_drain_and_one_clients_work() {
    for selector in ["mio", "polling", "poll"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_epoll-selector"));
        let options = ["--addr", "127.0.0.1:0", "--work", "100ms", "--drain", "200ms"];
        command.args(options).args(["--selector", selector]);
        let mut server = Process::start(&mut command).unwrap();
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|_| TcpStream::connect(server.addr()).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"compute").unwrap();
        }
        clients[0].read_exact(&mut [0; 7]).unwrap(); // The turn has begun.
        let start = Instant::now();
        server.signal(Signal::SIGTERM).unwrap();
        let ended = server.wait(LIMIT).unwrap();
        let ended = ended.unwrap_or_else(|| panic!("{selector}: it runs after {LIMIT:?}"));
        assert!(ended.status.success(), "{selector}: {ended:?}");
        assert!(start.elapsed() >= Duration::from_millis(200), "{selector}: it did not drain");
    }
}

/// Signals are the process's: the tests that use them come one after the other.
static SIGNALS: Mutex<()> = Mutex::new(());

/// Computes for 5 ms for each line, and requests a stop at the tenth.
struct Computes(Arc<Stop>);

impl Protocol<(usize, Option<Vec<u8>>)> for Computes {
    fn message(
        &mut self,
        _: &[u8],
        talk: &mut Talk<'_, (usize, Option<Vec<u8>>)>,
    ) -> io::Result<()> {
        thread::sleep(Duration::from_millis(5));
        talk.context.shared.0 += 1;
        if talk.context.shared.0 == 10 {
            self.0.request();
        }
        Ok(())
    }

    fn end_of_input(
        &mut self,
        rest: &[u8],
        talk: &mut Talk<'_, (usize, Option<Vec<u8>>)>,
    ) -> io::Result<()> {
        talk.context.shared.1 = Some(rest.to_vec());
        talk.close();
        Ok(())
    }
}

/// 200 lines arrive at once. Returns how many are delivered until the end, and what is left over.
fn lines_until_the_end<S: Selector>(trigger: Trigger, drain: Duration) -> (usize, Option<Vec<u8>>) {
    let _guard = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let stop = Arc::new(Stop::new().unwrap());
    let (mut client, server) = pair();
    client.write_all(&[b'\n'; 200]).unwrap();
    client.write_all(b"rest").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut reactor = reactor::<S, _>(trigger, (0, None));
    reactor.stop_on(Arc::clone(&stop), drain);
    reactor.add(Conversation::new(server, Computes(stop)).until(Until::Bytes(b"\n")));
    run(reactor)
}

fn a_stop_interrupts_the_delivery_and_its_end_cuts_it_off<S: Selector>(trigger: Trigger) {
    let (delivered, rest) = lines_until_the_end::<S>(trigger, Duration::from_millis(50));
    assert!((11..100).contains(&delivered), "{delivered} lines in 50 ms");
    assert_eq!(rest, None);
}

fn a_stop_with_enough_time_delivers_everything_first<S: Selector>(trigger: Trigger) {
    let all = (200, Some(b"rest".to_vec()));
    assert_eq!(lines_until_the_end::<S>(trigger, common::LONG), all);
}

on_every_selector!(
    a_stop_interrupts_the_delivery_and_its_end_cuts_it_off,
    a_stop_with_enough_time_delivers_everything_first,
);
