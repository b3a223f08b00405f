//! No allocation for a message, and few bytes for a silent client: counted by the allocator itself.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;
/// The echo server's own handlers.
#[path = "../src/server.rs"]
#[allow(dead_code)]
mod server;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::{LONG, listener, pair, reactor, until};
use epoll_selector::{
    Acceptor, Conversation, Peer, Protocol, Reactor, Selector, Talk, Trigger, Until,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server::{Client, Shared};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Notes an allocation, or what a thread that ends gives back.
fn count(allocations: usize, bytes: isize) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: everything goes to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `job` runs.
fn allocations(job: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    job();
    ALLOCATIONS.get() - before
}

/// Sends a message and waits for its echo, all in this thread.
fn exchange<S: Selector, T>(reactor: &mut Reactor<S, T>, client: &mut TcpStream) {
    let mut answer = [0; 100];
    client.write_all(&[b'\n'; 100]).unwrap();
    reactor.turn(Some(LONG)).unwrap();
    client.read_exact(&mut answer).unwrap();
}

fn shared() -> Shared {
    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        options: echo::Options,
    }
    let args: Args = clap::Parser::parse_from(["test"]);
    Shared {
        scratch: echo::Scratch::new(&args.options),
        tally: echo::Tally::new(&args.options),
        idle_tick: None,
    }
}

fn the_echo_server_allocates_nothing_for_a_message<S: Selector>(trigger: Trigger) {
    let (listener, addr) = listener(&[]);
    let mut reactor = reactor::<S, _>(trigger, shared());
    reactor.add(Acceptor::new(listener, Client::new));
    let mut client = TcpStream::connect(addr).unwrap();
    until(&mut reactor, |shared| shared.tally.totals().connections == 1);
    exchange(&mut reactor, &mut client);
    let made = allocations(|| {
        for _ in 0..1000 {
            exchange(&mut reactor, &mut client);
        }
    });
    assert_eq!(made, 0, "for 1000 messages");
}

/// Sends each line back.
struct Lines;

impl<T> Protocol<T> for Lines {
    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, T>) -> io::Result<()> {
        talk.push(line);
        talk.push(b"\n");
        Ok(())
    }
}

fn a_conversation_allocates_nothing_for_a_message<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, ());
    let (mut client, server) = pair();
    reactor.add(Conversation::new(server, Lines).until(Until::Bytes(b"\n")));
    exchange(&mut reactor, &mut client);
    let made = allocations(|| {
        for _ in 0..1000 {
            exchange(&mut reactor, &mut client); // 100 empty lines each.
        }
    });
    assert_eq!(made, 0, "for 1000 exchanges");
}

/// Each read ends in the middle of a line, so there is always a rest to keep.
fn a_rest_that_is_always_there_does_not_grow<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, ());
    let (mut client, server) = pair();
    reactor.add(Conversation::new(server, Lines).until(Until::Bytes(b"\n")));
    let mut live = None;
    for _ in 0..2000 {
        client.write_all(b"the end\nthe beginning of ").unwrap();
        reactor.turn(Some(LONG)).unwrap();
        let before = *live.get_or_insert(LIVE_BYTES.get());
        assert!(LIVE_BYTES.get() <= before + 1000, "{} bytes more", LIVE_BYTES.get() - before);
    }
}

/// Sends what one says to all.
struct Member;

impl Protocol<Vec<Peer>> for Member {
    fn opened(&mut self, talk: &mut Talk<'_, Vec<Peer>>) -> io::Result<()> {
        let peer = talk.peer();
        talk.context.shared.push(peer);
        Ok(())
    }

    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, Vec<Peer>>) -> io::Result<()> {
        let line: Arc<[u8]> = Arc::from(line);
        let peers = std::mem::take(talk.context.shared);
        for peer in &peers {
            assert!(peer.push(Arc::clone(&line), &mut talk.context));
        }
        *talk.context.shared = peers;
        Ok(())
    }
}

fn a_broadcast_allocates_once_however_many_hear_it<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, Vec::new());
    let mut clients: Vec<_> = (0..50)
        .map(|_| {
            let (client, server) = pair();
            reactor.add(Conversation::new(server, Member).until(Until::Count(100)));
            client
        })
        .collect();
    let mut round = |reactor: &mut Reactor<S, Vec<Peer>>| {
        let mut heard = [0; 100];
        clients[0].write_all(&heard).unwrap();
        // Read in one turn, send in the next.
        for _ in 0..2 {
            reactor.turn(Some(Duration::from_millis(20))).unwrap();
        }
        clients.iter_mut().for_each(|client| client.read_exact(&mut heard).unwrap());
    };
    round(&mut reactor);
    let made = allocations(|| (0..20).for_each(|_| round(&mut reactor)));
    assert!(made <= 20, "{made} allocations for 20 messages to 50 members");
}

on_every_selector!(
    the_echo_server_allocates_nothing_for_a_message,
    a_conversation_allocates_nothing_for_a_message,
    a_rest_that_is_always_there_does_not_grow,
    a_broadcast_allocates_once_however_many_hear_it,
);

/// The most for one client that is connected and says nothing, in bytes.
const SILENT_CLIENT_BYTES: isize = 128;

#[test]
fn a_silent_client_costs_few_bytes() {
    // Nearly a power of two: the table has room for 4096 then, and for twice as many soon after.
    const CLIENTS: usize = 4000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let (listener, addr) = listener(&["--max-connections", "100000"]);
    let mut reactor = reactor::<epoll_selector::Mio, _>(Trigger::Edge, shared());
    reactor.add(Acceptor::new(listener, Client::new));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let mut clients = Vec::with_capacity(CLIENTS);
    let before = LIVE_BYTES.get();
    for connected in 1..=CLIENTS as u64 {
        clients.push(TcpStream::connect(addr).unwrap());
        until(&mut reactor, |shared| shared.tally.totals().connections == connected);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let each = (LIVE_BYTES.get() - before) / CLIENTS as isize;
    assert!(each <= SILENT_CLIENT_BYTES, "{each} bytes for each");
}
