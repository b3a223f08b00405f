//! What clients do in their lives: connect, talk in one of many ways for a while, and leave in one of
//! several.

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
use crate::stage::Server;
use crate::verdict::{Trouble, Verdict};

/// The most that one client does before it leaves.
const ACTS_MAX: usize = 6;

/// The most that is exchanged in one act, in bytes.
const FLOOD_MAX: u64 = 1 << 20;

/// The longest pause of a client.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The least that a client waits for the server: others may be served before, and the server may be
/// stopped meanwhile.
const PATIENCE_MIN: Duration = Duration::from_secs(30);

/// How long to wait when our side has no port left: the ports of connections that have ended are free
/// again after a while.
const PORT_PAUSE: Duration = Duration::from_millis(200);

/// What all clients have done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deeds {
    /// Connections made.
    pub connections: u64,
    /// Those that ended with a half-close, and everything back.
    pub half_closed: u64,
    /// Those that were reset by us.
    pub reset: u64,
    /// Those that were closed by us, some with answers unread.
    pub closed: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received, each of which was compared.
    pub received: u64,
}

/// The clients of one soak.
pub(super) struct Lives<'a> {
    addr: Address,
    pattern: &'a Pattern,
    patience: Duration,
    seed: u64,
    stop: &'a AtomicBool,
    clients: AtomicU64,
    deeds: Mutex<Deeds>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(server: &'a Server, stop: &'a AtomicBool) -> Lives<'a> {
        let subject = server.subject();
        Lives {
            addr: server.addr().clone(),
            pattern: subject.pattern(),
            patience: subject.patience.max(PATIENCE_MIN),
            seed: subject.seed,
            stop,
            clients: AtomicU64::new(0),
            deeds: Mutex::default(),
        }
    }

    /// What was done so far.
    pub(super) fn deeds(&self) -> Deeds {
        *self.deeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lives of clients, one after the other, until it is time to stop.
    pub(super) fn live(&self, number: usize) -> Verdict {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(number as u64));
        while !self.stop.load(Ordering::Relaxed) {
            let deeds = self.life(&mut random)?;
            *self.deeds.lock().unwrap_or_else(PoisonError::into_inner) += deeds;
        }
        Ok(())
    }

    /// One client's life.
    fn life(&self, random: &mut StdRng) -> Verdict<Deeds> {
        let Some(mut client) = self.connect()? else { return Ok(Deeds::default()) };
        for _ in 0..random.random_range(0..=ACTS_MAX) {
            act(&mut client, random)?;
        }
        leave(client, random)
    }

    /// A new client, or none when our side is out of ports for now.
    fn connect(&self) -> Verdict<Option<Client>> {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let pattern = self.pattern.of_client(usize::try_from(number).unwrap_or(0));
        match Client::connect(&self.addr, pattern, self.patience) {
            Ok(client) => Ok(Some(client)),
            Err(Trouble::Fails { seen, .. }) if seen.contains(NO_PORT) => {
                thread::sleep(PORT_PAUSE);
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// EADDRNOTAVAIL of connect(2), in strerror's words.
const NO_PORT: &str = "Cannot assign requested address";

/// One of the things that clients do while they are connected.
fn act(client: &mut Client, random: &mut StdRng) -> Verdict {
    match random.random_range(0..10) {
        // A burst, or many small messages at once.
        0..=2 => client.exchange(random.random_range(1..=64 << 10)),
        // A trickle: byte by byte, each of them waited for.
        3 => (0..random.random_range(1..=50)).try_for_each(|_| client.exchange(1)),
        // Bytes one by one, and the answers later.
        4 => {
            (0..random.random_range(1..=200)).try_for_each(|_| client.send(1))?;
            client.receive_all()
        }
        // In pieces of all sizes.
        5 => {
            let largest = random.random_range(1..=20_000);
            let count = random.random_range(1..=10 * largest as u64);
            client.exchange_in(count, || {
                (random.random_range(1..=largest), random.random_range(1..=largest))
            })
        }
        // A stall: it sends what is taken, reads nothing for a while, and then everything.
        6 => {
            client.send_what_fits(u64::MAX)?;
            pause(random);
            client.receive_all()
        }
        // A flood.
        7 => client.exchange(random.random_range(1..=FLOOD_MAX)),
        // Nothing.
        _ => {
            pause(random);
            Ok(())
        }
    }
}

fn pause(random: &mut StdRng) {
    thread::sleep(random.random_range(Duration::ZERO..=PAUSE_MAX));
}

/// One of the ways to leave.
fn leave(mut client: Client, random: &mut StdRng) -> Verdict<Deeds> {
    let mut deeds = Deeds { connections: 1, ..Deeds::default() };
    let unread = random.random_bool(0.5);
    if unread {
        // Not more than the kernel takes while nobody reads: this must not wait for the server.
        client.send(random.random_range(1..=4 << 10))?;
    }
    match random.random_range(0..3) {
        0 => {
            client.half_close()?;
            client.expect_end()?;
            deeds.half_closed = 1;
        }
        1 => deeds.reset = 1,
        _ => deeds.closed = 1,
    }
    deeds.sent = client.sent();
    deeds.received = client.received();
    if deeds.reset == 1 {
        client.reset();
    }
    Ok(deeds)
}

impl AddAssign for Deeds {
    fn add_assign(&mut self, other: Deeds) {
        self.connections += other.connections;
        self.half_closed += other.half_closed;
        self.reset += other.reset;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
    }
}
