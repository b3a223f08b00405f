//! What CPython's `test_selectors` asks of a selector, asked of each of ours.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{LONG, pair, reactor, run};
use epoll_selector::{
    Context, Event, Handler, Interest, Mio, Next, Poll, Selector, Token, Trigger,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;

/// Long enough for what is ready to be reported.
const SHORT: Duration = Duration::from_millis(50);

fn ready<S: Selector>(selector: &mut S) -> Vec<Event> {
    let mut events = Vec::new();
    selector.wait(Some(SHORT), &mut events).unwrap();
    events
}

fn token(number: usize) -> Token {
    Token::from_key(number)
}

fn registering_twice_is_an_error<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (_client, socket) = pair();
    selector.add(socket.as_fd(), token(0), Interest::READ).unwrap();
    let error = selector.add(socket.as_fd(), token(1), Interest::READ).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}

fn an_unknown_descriptor_is_an_error<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (_client, socket) = pair();
    let modified = selector.modify(socket.as_fd(), token(0), Interest::READ);
    assert_eq!(modified.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(selector.remove(socket.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    // Nor is it known after it was removed.
    selector.add(socket.as_fd(), token(0), Interest::READ).unwrap();
    selector.remove(socket.as_fd()).unwrap();
    assert!(selector.remove(socket.as_fd()).is_err());
    assert!(selector.modify(socket.as_fd(), token(0), Interest::READ).is_err());
}

/// A duplicate with a number that no other test of this process takes in between.
fn at_its_own_number(stream: &UnixStream, number: i32) -> OwnedFd {
    let duplicate = fcntl(stream, FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
    assert_eq!(duplicate, number);
    // SAFETY: fcntl(2) has just made it, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(duplicate) }
}

/// Numbers for [`at_its_own_number`].
fn free_number() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(900);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn a_descriptor_that_is_closed_and_used_again_can_be_registered<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let number = free_number();
    let (mut first, ours) = UnixStream::pair().unwrap();
    let closed = at_its_own_number(&ours, number);
    selector.add(closed.as_fd(), token(0), Interest::READ).unwrap();
    first.write_all(b"x").unwrap();
    selector.remove(closed.as_fd()).unwrap();
    drop(closed);
    let (mut second, ours) = UnixStream::pair().unwrap();
    let again = at_its_own_number(&ours, number);
    selector.add(again.as_fd(), token(1), Interest::READ).unwrap();
    assert!(ready(&mut selector).is_empty(), "the event of the one before is gone");
    second.write_all(b"x").unwrap();
    let events = ready(&mut selector);
    assert_eq!(events.iter().map(|event| event.token).collect::<Vec<_>>(), [token(1)]);
}

fn each_interest_is_reported_alone_and_with_the_right_token<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (mut client, socket) = pair();
    selector.add(socket.as_fd(), token(7), Interest::WRITE).unwrap();
    let events = ready(&mut selector);
    assert_eq!(events.len(), 1);
    assert!(events[0].writable && !events[0].readable && events[0].token == token(7));
    selector.modify(socket.as_fd(), token(8), Interest::READ).unwrap();
    assert!(ready(&mut selector).is_empty(), "nothing to read");
    client.write_all(b"x").unwrap();
    let events = ready(&mut selector);
    assert!(events[0].readable && !events[0].writable && events[0].token == token(8));
    let both = Interest { writable: true, ..Interest::READ };
    selector.modify(socket.as_fd(), token(9), both).unwrap();
    let events = ready(&mut selector);
    assert!(events[0].readable && events[0].writable && events[0].token == token(9));
}

fn a_trigger_reports_as_its_name_says<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (mut client, socket) = pair();
    selector.add(socket.as_fd(), token(0), Interest::READ).unwrap();
    assert_eq!(ready(&mut selector).len(), 0, "nothing has arrived");
    client.write_all(b"x").unwrap();
    assert_eq!(ready(&mut selector).len(), 1, "a byte has arrived");
    let left_unread = usize::from(trigger == Trigger::Level);
    assert_eq!(ready(&mut selector).len(), left_unread, "the byte is still there");
    client.write_all(b"y").unwrap();
    let again = usize::from(trigger != Trigger::Oneshot);
    assert_eq!(ready(&mut selector).len(), again, "another byte has arrived");
    selector.modify(socket.as_fd(), token(0), Interest::READ).unwrap();
    assert_eq!(ready(&mut selector).len(), 1, "asked anew");
    selector.remove(socket.as_fd()).unwrap();
    client.write_all(b"z").unwrap();
    assert_eq!(ready(&mut selector).len(), 0, "removed");
}

fn a_wait_ends_after_its_timeout_and_not_before<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (_client, socket) = pair();
    selector.add(socket.as_fd(), token(0), Interest::READ).unwrap();
    for timeout in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(20)] {
        let start = Instant::now();
        let mut events = Vec::new();
        selector.wait(Some(timeout), &mut events).unwrap();
        assert!(events.is_empty());
        assert!(start.elapsed() >= timeout, "{timeout:?}");
    }
}

fn the_end_of_stream_and_a_reset_are_readable<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let (client, closed) = pair();
    selector.add(closed.as_fd(), token(0), Interest::READ).unwrap();
    drop(client);
    let events = ready(&mut selector);
    assert!(events[0].readable && events[0].read_closed);
    selector.remove(closed.as_fd()).unwrap();
    let (client, gone) = pair();
    selector.add(gone.as_fd(), token(1), Interest::READ).unwrap();
    common::reset(client);
    assert!(ready(&mut selector)[0].readable);
    assert!((&gone).read(&mut [0; 1]).is_err());
}

fn a_hundred_descriptors_are_told_apart<S: Selector>(trigger: Trigger) {
    let mut selector = S::new(trigger).unwrap();
    let mut pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
    for (number, (_, ours)) in pairs.iter().enumerate() {
        selector.add(ours.as_fd(), token(number), Interest::READ).unwrap();
    }
    // Out of order, so that the list has been rearranged.
    for number in (0..100).step_by(3) {
        selector.remove(pairs[number].1.as_fd()).unwrap();
    }
    for (theirs, _) in &mut pairs {
        theirs.write_all(b"x").unwrap();
    }
    let mut reported: Vec<_> =
        ready(&mut selector).iter().map(|event| event.token.to_key()).collect();
    reported.sort_unstable();
    let expected: Vec<_> = (0..100).filter(|number| number % 3 != 0).collect();
    assert_eq!(reported, expected);
}

/// Counts bytes, and has a timer.
struct Counts {
    stream: UnixStream,
    due: Instant,
}

impl Handler<(usize, bool)> for Counts {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }

    fn added(&mut self, context: &mut Context<'_, (usize, bool)>) -> io::Result<Next> {
        context.timer(Some(self.due));
        Ok(Next::Wait(Interest::READ))
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, (usize, bool)>) -> io::Result<Next> {
        loop {
            match self.stream.read(&mut [0; 64]) {
                Ok(count) => context.shared.0 += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Keep),
                Err(error) => return Err(error),
            }
        }
    }

    fn timeout(&mut self, context: &mut Context<'_, (usize, bool)>) -> io::Result<Next> {
        assert!(Instant::now() >= self.due, "a signal has shortened the wait");
        context.shared.1 = true;
        Ok(Next::Close)
    }
}

fn a_signal_neither_loses_an_event_nor_shortens_a_wait<S: Selector>(trigger: Trigger) {
    let handled = Arc::new(AtomicBool::new(false));
    let registered = signal_hook::flag::register(signal_hook::consts::SIGUSR1, handled).unwrap();
    let (mut theirs, stream) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    let (looping, done) = (pthread_self(), Arc::new(AtomicBool::new(false)));
    let is_done = Arc::clone(&done);
    let signals = thread::spawn(move || {
        let mut sent = 0;
        while !is_done.load(Ordering::Relaxed) {
            pthread_kill(looping, Signal::SIGUSR1).unwrap();
            if sent < 20 {
                theirs.write_all(b"x").unwrap();
                sent += 1;
            }
            thread::sleep(Duration::from_millis(2));
        }
        (sent, theirs)
    });
    let mut reactor = reactor::<S, _>(trigger, (0, false));
    reactor.add(Counts { stream, due: Instant::now() + Duration::from_millis(200) });
    let start = Instant::now();
    let (bytes, fired) = run(reactor);
    assert!(start.elapsed() >= Duration::from_millis(200) && fired);
    done.store(true, Ordering::Relaxed);
    let (sent, _theirs) = signals.join().unwrap();
    assert_eq!(bytes, sent.min(20));
    signal_hook::low_level::unregister(registered);
    assert!(start.elapsed() < LONG);
}

on_every_selector!(
    registering_twice_is_an_error,
    an_unknown_descriptor_is_an_error,
    a_descriptor_that_is_closed_and_used_again_can_be_registered,
    each_interest_is_reported_alone_and_with_the_right_token,
    a_trigger_reports_as_its_name_says,
    a_wait_ends_after_its_timeout_and_not_before,
    the_end_of_stream_and_a_reset_are_readable,
    a_hundred_descriptors_are_told_apart,
    a_signal_neither_loses_an_event_nor_shortens_a_wait,
);

#[test]
fn a_selector_says_which_triggers_it_has_not() {
    for trigger in [Trigger::Level, Trigger::Oneshot] {
        let error = Mio::new(trigger).unwrap_err().to_string();
        assert!(error.contains("--selector polling"), "{error}");
    }
    for trigger in [Trigger::Edge, Trigger::Oneshot] {
        let error = Poll::new(trigger).unwrap_err().to_string();
        assert!(error.contains("--selector polling"), "{error}");
    }
}

/// poll(2) does not forget a closed descriptor as epoll does: it says so on each wait, and the
/// handler's read finds the error.
#[test]
fn poll_reports_a_descriptor_that_was_closed_against_the_rules() {
    let mut selector = Poll::new(Trigger::Level).unwrap();
    let (_theirs, ours) = UnixStream::pair().unwrap();
    let high = at_its_own_number(&ours, free_number());
    selector.add(high.as_fd(), token(3), Interest::READ).unwrap();
    drop(high);
    let events = ready(&mut selector);
    assert!(events[0].token == token(3) && events[0].readable);
}
