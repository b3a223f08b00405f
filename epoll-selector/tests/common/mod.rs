//! What the tests of the toolkit have in common.
#![allow(dead_code, unused_macros)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use epoll_selector::{Reactor, Selector};
use socket2::{SockRef, Socket};

/// Far longer than anything here takes: a wait this long is a failure, and not a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Runs each test on every selector with every trigger it has.
macro_rules! on_every_selector {
    ($($test:ident),* $(,)?) => {
        mod mio_edge { $(#[test] fn $test() {
            super::$test::<epoll_selector::Mio>(epoll_selector::Trigger::Edge);
        })* }
        mod polling_edge { $(#[test] fn $test() {
            super::$test::<epoll_selector::Polling>(epoll_selector::Trigger::Edge);
        })* }
        mod polling_level { $(#[test] fn $test() {
            super::$test::<epoll_selector::Polling>(epoll_selector::Trigger::Level);
        })* }
        mod polling_oneshot { $(#[test] fn $test() {
            super::$test::<epoll_selector::Polling>(epoll_selector::Trigger::Oneshot);
        })* }
        mod poll_level { $(#[test] fn $test() {
            super::$test::<epoll_selector::Poll>(epoll_selector::Trigger::Level);
        })* }
    };
}

/// A reactor on a new selector.
pub(crate) fn reactor<S: Selector, T>(
    trigger: epoll_selector::Trigger,
    shared: T,
) -> Reactor<S, T> {
    Reactor::new(S::new(trigger).unwrap(), shared)
}

/// Runs a reactor to its end, as [`Reactor::run`] does. Fails after [`LONG`].
pub(crate) fn run<S: Selector, T>(mut reactor: Reactor<S, T>) -> T {
    let start = Instant::now();
    while reactor.turn(Some(LONG)).unwrap() {
        assert!(start.elapsed() < LONG, "it did not end within {LONG:?}");
    }
    reactor.run().unwrap() // Which has nothing left to do.
}

/// Runs turns until the shared state is as expected. Fails after [`LONG`].
pub(crate) fn until<S: Selector, T>(
    reactor: &mut Reactor<S, T>,
    expected: impl Fn(&mut T) -> bool,
) {
    let start = Instant::now();
    while !expected(reactor.shared()) {
        assert!(start.elapsed() < LONG, "it did not happen within {LONG:?}");
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
}

/// Runs turns for some time, in which nothing may happen that should not.
pub(crate) fn a_while<S: Selector, T>(reactor: &mut Reactor<S, T>) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
}

/// A TCP connection: the client's end, which blocks, and the server's end, which does not.
pub(crate) fn pair() -> (TcpStream, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.set_write_timeout(Some(LONG)).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server.into())
}

/// A non-blocking listener with these options of the contract, and its address.
pub(crate) fn listener(options: &[&str]) -> (echo::Listener, SocketAddr) {
    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        options: echo::Options,
    }
    let first = ["test", "--addr", "127.0.0.1:0"];
    let args: Args = clap::Parser::parse_from(first.iter().chain(options));
    let most = args.options.max_connections(usize::MAX).unwrap();
    let mut listener = echo::listen(&args.options, most).unwrap();
    listener.set_nonblocking().unwrap();
    let addr = SockRef::from(&listener).local_addr().unwrap().as_socket().unwrap();
    (listener, addr)
}

/// Resets a connection when it is dropped: its peer reads ECONNRESET.
pub(crate) fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
