//! Too few descriptors, and too high ones. The limit is the process's, so the tests come one by
//! one.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{listener, reactor, until};
use epoll_selector::{
    Acceptor, Context, Conversation, Event, Interest, Protocol, Reactor, Selector, Talk, Token,
    Trigger,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// One test at a time.
static LIMIT: Mutex<()> = Mutex::new(());

/// Sends everything back, and counts the clients.
struct Echo;

impl Protocol<usize> for Echo {
    fn opened(&mut self, talk: &mut Talk<'_, usize>) -> io::Result<()> {
        *talk.context.shared += 1;
        Ok(())
    }

    fn message(&mut self, message: &[u8], talk: &mut Talk<'_, usize>) -> io::Result<()> {
        talk.push(message);
        Ok(())
    }
}

/// Python's quirk 1: EMFILE in accept closed the listener; and quirk 6: the loop spun on it.
fn without_descriptors_the_listener_stays_open_and_the_loop_sleeps<S: Selector>(trigger: Trigger) {
    let _one_at_a_time = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let (listener, addr) = listener(&["--max-connections", "1000"]);
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, usize>| {
        Some(Conversation::new(stream, Echo))
    }));
    let connect = || TcpStream::connect(addr).unwrap();
    let mut first = connect();
    until(&mut reactor, |clients| *clients == 1);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut waiting = [connect(), connect()];
    let mut hoard = Vec::new();
    setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let turns = turns_within(&mut reactor, Duration::from_millis(350));
    assert_eq!(*reactor.shared(), 1, "there was no descriptor for the others");
    assert!(turns <= 20, "{turns} turns in 350 ms: one try in 100 ms is enough");
    // The first is served all the same.
    first.write_all(b"x").unwrap();
    until_echoed(&mut reactor, &mut first);
    // It leaves, and both ends of its connection are descriptors of this process.
    drop(first);
    until(&mut reactor, |clients| *clients == 3);
    drop(hoard);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for client in &mut waiting {
        client.write_all(b"x").unwrap();
        until_echoed(&mut reactor, client);
    }
}

/// Turns that end within `time`, each as long as it likes.
fn turns_within<S: Selector>(reactor: &mut Reactor<S, usize>, time: Duration) -> usize {
    let (start, mut turns) = (Instant::now(), 0);
    while let Some(left) = time.checked_sub(start.elapsed()) {
        reactor.turn(Some(left)).unwrap();
        turns += 1;
    }
    turns
}

fn until_echoed<S: Selector>(reactor: &mut Reactor<S, usize>, client: &mut TcpStream) {
    client.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while client.read(&mut [0; 1]).is_err() {
        assert!(start.elapsed() < common::LONG, "no echo");
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
}

/// CPython's `test_above_fd_setsize`: select(2) ends at descriptor 1023, ours do not.
fn descriptors_above_fd_setsize_work<S: Selector>(trigger: Trigger) {
    let _one_at_a_time = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(2000), hard).unwrap();
    let mut pairs = Vec::new();
    while let Ok(pair) = UnixStream::pair() {
        pairs.push(pair);
        if pairs.len() == 700 {
            break;
        }
    }
    let high = |pairs: &[(UnixStream, UnixStream)]| pairs.last().unwrap().1.as_raw_fd();
    assert!(high(&pairs) > 1024, "the limit on descriptors is {hard}");
    let mut selector = S::new(trigger).unwrap();
    for (number, (_, ours)) in pairs.iter().enumerate() {
        selector.add(ours.as_fd(), Token::from_key(number), Interest::READ).unwrap();
    }
    let mut events = Vec::new();
    for (theirs, _) in &mut pairs {
        theirs.write_all(b"x").unwrap();
    }
    let start = Instant::now();
    while events.len() < pairs.len() && start.elapsed() < common::LONG {
        selector.wait(Some(Duration::from_millis(10)), &mut events).unwrap();
    }
    let mut reported: Vec<_> = events.iter().map(|event| event.token.to_key()).collect();
    reported.sort_unstable();
    reported.dedup();
    assert_eq!(reported.len(), pairs.len());
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

on_every_selector!(
    without_descriptors_the_listener_stays_open_and_the_loop_sleeps,
    descriptors_above_fd_setsize_work,
);

/// A selector without memory for new descriptors, at first.
struct Poor<S> {
    selector: S,
    refusals: usize,
}

impl<S: Selector> Selector for Poor<S> {
    fn new(trigger: Trigger) -> io::Result<Poor<S>> {
        Ok(Poor { selector: S::new(trigger)?, refusals: 2 })
    }

    fn trigger(&self) -> Trigger {
        self.selector.trigger()
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(nix::errno::Errno::ENOSPC.into()); // max_user_watches (epoll(7)).
        }
        self.selector.add(fd, token, interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.selector.modify(fd, token, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.selector.remove(fd)
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.selector.wait(timeout, events)
    }
}

fn an_acceptor_that_the_selector_refuses_tries_again<S: Selector>(trigger: Trigger) {
    let _one_at_a_time = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let (listener, addr) = listener(&[]);
    let _client = TcpStream::connect(addr).unwrap();
    let mut reactor = reactor::<Poor<S>, _>(trigger, 0);
    reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, usize>| {
        Some(Conversation::new(stream, Echo))
    }));
    until(&mut reactor, |clients| *clients == 1);
}

mod refused {
    on_every_selector!(an_acceptor_that_the_selector_refuses_tries_again);
    use super::an_acceptor_that_the_selector_refuses_tries_again;
}
