//! The clients of a soak. Each connects, talks in several of many ways, and leaves in one of three ways.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use server_process::address::Address;

use crate::client::Client;
use crate::pattern::Pattern;
use crate::server::Server;
use crate::verdict::{Trouble, Verdict};
use crate::watch::Watch;

/// The most steps of one client before it leaves.
const STEPS_MAX: usize = 6;

/// The most bytes that one step exchanges.
const FLOOD_MAX: u64 = 1 << 20;

/// The longest pause of a client.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The least timeout of a client. The server may serve others first, and may be stopped meanwhile.
const TIMEOUT_MIN: Duration = Duration::from_secs(30);

/// The pause when no local port is free. The ports of ended connections are free again some time later.
const PORT_PAUSE: Duration = Duration::from_millis(200);

/// What all clients have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientTotals {
    /// Connections made.
    pub connections: u64,
    /// Connections that the client half-closed, and whose bytes all came back.
    pub half_closed: u64,
    /// Connections that the client reset.
    pub reset: u64,
    /// Connections that the client closed. In some of them, answers were unread.
    pub closed: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received. Each was compared.
    pub received: u64,
}

/// The clients of one soak.
pub(super) struct Clients<'a> {
    addr: Address,
    pattern: &'a Pattern,
    timeout: Duration,
    watch: Option<Watch>,
    seed: u64,
    stop: &'a AtomicBool,
    number: AtomicU64,
    totals: Mutex<ClientTotals>,
}

impl<'a> Clients<'a> {
    pub(super) fn new(server: &'a Server, stop: &'a AtomicBool) -> Clients<'a> {
        let subject = server.subject();
        let timeout = subject.timeout.max(TIMEOUT_MIN);
        Clients {
            addr: server.addr().clone(),
            pattern: subject.pattern(),
            timeout,
            watch: server.watch_with(timeout),
            seed: subject.seed,
            stop,
            number: AtomicU64::new(0),
            totals: Mutex::default(),
        }
    }

    /// What all clients have done so far.
    pub(super) fn totals(&self) -> ClientTotals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one client after the other until `stop` is set. `thread` is the number of this thread, from
    /// which its random choices follow.
    pub(super) fn run(&self, thread: usize) -> Verdict {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(thread as u64));
        while !self.stop.load(Ordering::Relaxed) {
            let totals = self.one_client(&mut random)?;
            *self.totals.lock().unwrap_or_else(PoisonError::into_inner) += totals;
        }
        Ok(())
    }

    fn one_client(&self, random: &mut StdRng) -> Verdict<ClientTotals> {
        let Some(mut client) = self.connect()? else { return Ok(ClientTotals::default()) };
        for _ in 0..random.random_range(0..=STEPS_MAX) {
            step(&mut client, random)?;
        }
        leave(client, random)
    }

    /// A new client. `None` after a pause when no local port is free.
    fn connect(&self) -> Verdict<Option<Client>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let pattern = self.pattern.of_client(usize::try_from(number).unwrap_or(0));
        match Client::connect(&self.addr, pattern, self.timeout, self.watch.clone()) {
            Ok(client) => Ok(Some(client)),
            Err(Trouble::NoLocalPort) => {
                thread::sleep(PORT_PAUSE);
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// One step of a connected client.
fn step(client: &mut Client, random: &mut StdRng) -> Verdict {
    match random.random_range(0..10) {
        // Up to 64 KiB at once.
        0..=2 => client.exchange(random.random_range(1..=64 << 10)),
        // Single bytes, and the client waits for each answer.
        3 => (0..random.random_range(1..=50)).try_for_each(|_| client.exchange(1)),
        // Single bytes, and the client reads the answers later.
        4 => {
            (0..random.random_range(1..=200)).try_for_each(|_| client.send(1))?;
            client.receive_all()
        }
        // Pieces of random sizes.
        5 => {
            let largest = random.random_range(1..=20_000);
            let count = random.random_range(1..=10 * largest as u64);
            client.exchange_in(count, || {
                (random.random_range(1..=largest), random.random_range(1..=largest))
            })
        }
        // A stall: the client sends what the kernel takes, pauses, and then reads all answers.
        6 => {
            client.send_what_fits(u64::MAX)?;
            pause(random);
            client.receive_all()
        }
        // A flood.
        7 => client.exchange(random.random_range(1..=FLOOD_MAX)),
        // A pause.
        _ => {
            pause(random);
            Ok(())
        }
    }
}

fn pause(random: &mut StdRng) {
    thread::sleep(random.random_range(Duration::ZERO..=PAUSE_MAX));
}

/// Leaves by half-close, reset or close. Half of the clients have bytes on the way.
fn leave(mut client: Client, random: &mut StdRng) -> Verdict<ClientTotals> {
    let mut totals = ClientTotals { connections: 1, ..ClientTotals::default() };
    let unread = random.random_bool(0.5);
    if unread {
        // The kernel takes these bytes even if the server does not read: this does not block.
        client.send(random.random_range(1..=4 << 10))?;
    }
    match random.random_range(0..3) {
        0 => {
            client.half_close()?;
            client.expect_end()?;
            totals.half_closed = 1;
        }
        1 => totals.reset = 1,
        _ => totals.closed = 1,
    }
    totals.sent = client.sent();
    totals.received = client.received();
    if totals.reset == 1 {
        client.reset();
    }
    Ok(totals)
}

impl AddAssign for ClientTotals {
    fn add_assign(&mut self, other: ClientTotals) {
        self.connections += other.connections;
        self.half_closed += other.half_closed;
        self.reset += other.reset;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
    }
}
