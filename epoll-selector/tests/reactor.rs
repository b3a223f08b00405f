//! The reactor's own promises, on a selector that reports what the test tells it to.

#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Stdin, stdin};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use epoll_selector::{
    Context, Event, Handler, Interest, Mio, Next, Polling, Reactor, Selector, Token, Trigger,
};
use std::net::{TcpListener, TcpStream};

/// Calls of the selector and of the handlers, in order.
type Log = Rc<RefCell<Vec<String>>>;

/// A selector that reports every descriptor on its list as ready, on every wait.
struct Fake {
    trigger: Trigger,
    list: BTreeMap<Token, Interest>,
    /// How often it has no room for another descriptor, once one was removed.
    refusals: usize,
    log: Log,
}

impl Fake {
    fn new(trigger: Trigger) -> (Fake, Log) {
        let log = Log::default();
        (Fake { trigger, list: BTreeMap::new(), refusals: 0, log: Rc::clone(&log) }, log)
    }
}

impl Selector for Fake {
    fn new(trigger: Trigger) -> io::Result<Fake> {
        Ok(Fake::new(trigger).0)
    }

    fn trigger(&self) -> Trigger {
        self.trigger
    }

    fn add(&mut self, _: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        if self.refusals > 0 && self.log.borrow().iter().any(|call| call == "remove") {
            self.refusals -= 1;
            return Err(ErrorKind::OutOfMemory.into());
        }
        assert!(self.list.insert(token, interest).is_none(), "added twice");
        self.log.borrow_mut().push("add".to_owned());
        Ok(())
    }

    fn modify(&mut self, _: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        assert!(self.list.insert(token, interest).is_some(), "modified before it was added");
        self.log.borrow_mut().push("modify".to_owned());
        Ok(())
    }

    fn remove(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        self.log.borrow_mut().push("remove".to_owned());
        self.list.pop_last();
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        assert!(timeout.is_some() || !self.list.is_empty(), "would sleep for ever");
        events.extend(self.list.iter().map(|(&token, interest)| Event {
            token,
            readable: interest.readable,
            writable: interest.writable,
            read_closed: false,
        }));
        Ok(())
    }
}

/// A handler that plays back what it was told to want.
struct Script {
    name: &'static str,
    wants: Vec<Next>,
    log: Log,
    fd: Stdin,
}

impl Script {
    fn new(name: &'static str, wants: &[Next], log: &Log) -> Box<Script> {
        let wants = wants.iter().rev().copied().collect();
        Box::new(Script { name, wants, log: Rc::clone(log), fd: stdin() })
    }

    fn next(&mut self, callback: &str) -> Next {
        self.log.borrow_mut().push(format!("{} {callback}", self.name));
        self.wants.pop().unwrap_or(Next::Close)
    }
}

impl<T> Handler<T> for Script {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn ready(&mut self, _: Event, _: &mut Context<'_, T>) -> Next {
        self.next("ready")
    }

    fn stop(&mut self, _: &mut Context<'_, T>) -> Next {
        self.next("stop")
    }

    fn closed(&mut self, _: &mut Context<'_, T>) {
        self.log.borrow_mut().push(format!("{} closed", self.name));
    }
}

const READ: Next = Next::Wait(Interest::READ);
const WRITE: Next = Next::Wait(Interest::WRITE);

fn played(trigger: Trigger, wants: &[Next]) -> Vec<String> {
    let (selector, log) = Fake::new(trigger);
    let mut reactor = Reactor::new(selector, ());
    reactor.add(Script::new("a", wants, &log), Interest::READ).unwrap();
    reactor.run().unwrap();
    log.take()
}

#[test]
fn the_selector_is_told_only_what_has_changed() {
    let expected = [
        "add", "a ready", "a ready", "modify", "a ready", "modify", "a ready", "remove", "a closed",
    ];
    assert_eq!(played(Trigger::Level, &[READ, WRITE, READ]), expected);
    assert_eq!(played(Trigger::Edge, &[READ, WRITE, READ]), expected);
}

#[test]
fn oneshot_is_renewed_after_every_event() {
    let expected =
        ["add", "a ready", "modify", "a ready", "modify", "a ready", "remove", "a closed"];
    assert_eq!(played(Trigger::Oneshot, &[READ, READ]), expected);
}

#[test]
fn whoever_goes_on_is_called_after_the_others() {
    let (selector, log) = Fake::new(Trigger::Edge);
    let mut reactor = Reactor::new(selector, ());
    reactor.add(Script::new("a", &[Next::Again, Next::Close], &log), Interest::READ).unwrap();
    reactor.add(Script::new("b", &[Next::Close], &log), Interest::READ).unwrap();
    reactor.run().unwrap();
    let calls: Vec<_> = log.take().into_iter().filter(|call| call.ends_with("ready")).collect();
    assert_eq!(calls, ["a ready", "b ready", "a ready"]);
}

/// Closes itself when it is ready, and puts another in its place: the batch that is being handed out may
/// hold an event for the one that has gone.
struct Replaced(Script);

impl Handler<()> for Replaced {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, ()>) -> Next {
        let mut successor = Script::new("successor", &[Next::Close], &self.0.log);
        successor.fd = stdin();
        context.add(*successor, Interest::NONE);
        // Woken twice: the second time it is gone, and its place is taken.
        context.wake(context.token());
        self.0.next("ready")
    }
}

#[test]
fn an_event_for_a_handler_that_has_gone_reaches_nobody() {
    let (selector, log) = Fake::new(Trigger::Edge);
    let mut reactor = Reactor::new(selector, ());
    let first = Replaced(*Script::new("first", &[Next::Close], &log));
    reactor.add(Box::new(first), Interest::READ).unwrap();
    let stop = StopAfter(Instant::now() + Duration::from_millis(20), stdin());
    reactor.add(Box::new(stop), Interest::NONE).unwrap();
    reactor.run().unwrap();
    let calls: Vec<_> = log.take().into_iter().filter(|call| call.contains(' ')).collect();
    assert_eq!(calls, ["first ready", "successor stop", "successor closed"]);
}

/// Stops the reactor when its time has come.
struct StopAfter(Instant, Stdin);

impl<T> Handler<T> for StopAfter {
    fn fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }

    fn added(&mut self, context: &mut Context<'_, T>) {
        context.wake_at(self.0);
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, T>) -> Next {
        self.timeout(context)
    }

    fn timeout(&mut self, context: &mut Context<'_, T>) -> Next {
        assert!(Instant::now() >= self.0, "called too early");
        context.stop(Duration::ZERO);
        Next::Close
    }
}

/// Notes when its timers fire.
struct Timers(Vec<Duration>, Rc<RefCell<Vec<usize>>>, Vec<Instant>, Stdin);

impl Handler<()> for Timers {
    fn fd(&self) -> BorrowedFd<'_> {
        self.3.as_fd()
    }

    fn added(&mut self, context: &mut Context<'_, ()>) {
        let now = Instant::now();
        self.2 = self.0.iter().map(|delay| now + *delay).collect();
        for time in &self.2 {
            context.wake_at(*time);
        }
    }

    fn ready(&mut self, _: Event, _: &mut Context<'_, ()>) -> Next {
        Next::Wait(Interest::NONE)
    }

    fn timeout(&mut self, _: &mut Context<'_, ()>) -> Next {
        let fired = self.1.borrow().len();
        let passed = self.2.iter().filter(|time| **time <= Instant::now()).count();
        assert!(passed > fired, "timer {fired} fired before its time");
        self.1.borrow_mut().push(passed);
        if fired + 1 == self.0.len() { Next::Close } else { Next::Wait(Interest::NONE) }
    }
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let delays = [30, 10, 20].map(Duration::from_millis).to_vec();
    let fired = Rc::default();
    let selector = Mio::new(Trigger::Edge).unwrap();
    let mut reactor = Reactor::new(selector, ());
    let timers = Timers(delays, Rc::clone(&fired), Vec::new(), stdin());
    reactor.add(Box::new(timers), Interest::NONE).unwrap();
    reactor.run().unwrap();
    assert_eq!(fired.borrow().len(), 3);
}

/// Takes the descriptor away, and asks for it again until the selector takes it.
struct Insists {
    refused: usize,
    log: Log,
    fd: Stdin,
}

impl Handler<()> for Insists {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, ()>) -> Next {
        if self.refused > 0 {
            return Next::Close;
        }
        context.wake_at(Instant::now());
        Next::Wait(Interest::NONE)
    }

    fn timeout(&mut self, _: &mut Context<'_, ()>) -> Next {
        READ
    }

    fn refused(&mut self, error: io::Error, context: &mut Context<'_, ()>) -> io::Result<()> {
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        self.log.borrow_mut().push("refused".to_owned());
        self.refused += 1;
        context.wake_at(Instant::now());
        Ok(())
    }
}

#[test]
fn a_handler_that_the_selector_has_no_room_for_may_try_again() {
    let (mut selector, log) = Fake::new(Trigger::Level);
    selector.refusals = 2;
    let mut reactor = Reactor::new(selector, ());
    let insists = Insists { refused: 0, log: Rc::clone(&log), fd: stdin() };
    reactor.add(Box::new(insists), Interest::READ).unwrap();
    reactor.run().unwrap();
    assert_eq!(log.take(), ["add", "remove", "refused", "refused", "add", "remove"]);
}

/// Both selectors, with every trigger they have.
fn every_selector(test: impl Fn(&mut dyn Waits, Trigger)) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::Oneshot] {
        test(&mut Polling::new(trigger).unwrap(), trigger);
    }
    test(&mut Mio::new(Trigger::Edge).unwrap(), Trigger::Edge);
}

/// What the test needs of a selector, as an object.
trait Waits {
    fn watch(&mut self, fd: BorrowedFd<'_>, again: bool);
    fn forget(&mut self, fd: BorrowedFd<'_>);
    fn ready(&mut self) -> usize;
}

/// A token, as only a reactor makes them.
fn token() -> Token {
    Reactor::new(Fake::new(Trigger::Edge).0, ())
        .add(Script::new("", &[], &Log::default()), Interest::READ)
        .unwrap()
}

impl<S: Selector> Waits for S {
    fn watch(&mut self, fd: BorrowedFd<'_>, again: bool) {
        let change = if again { S::modify } else { S::add };
        change(self, fd, token(), Interest::READ).unwrap();
    }

    fn forget(&mut self, fd: BorrowedFd<'_>) {
        self.remove(fd).unwrap();
    }

    fn ready(&mut self) -> usize {
        let mut events = Vec::new();
        self.wait(Some(Duration::from_millis(50)), &mut events).unwrap();
        events.len()
    }
}

#[test]
fn a_trigger_reports_as_its_name_says() {
    every_selector(|selector, trigger| {
        let (mut peer, stream) = pair();
        selector.watch(stream.as_fd(), false);
        assert_eq!(selector.ready(), 0, "{trigger:?}: nothing has arrived");
        io::Write::write_all(&mut peer, b"x").unwrap();
        assert_eq!(selector.ready(), 1, "{trigger:?}: a byte has arrived");
        let left_unread = if trigger == Trigger::Level { 1 } else { 0 };
        assert_eq!(selector.ready(), left_unread, "{trigger:?}: the byte is still there");
        selector.watch(stream.as_fd(), true);
        assert_eq!(selector.ready(), 1, "{trigger:?}: asked anew");
        selector.forget(stream.as_fd());
        assert_eq!(selector.ready(), 0, "{trigger:?}: forgotten");
    });
}

#[test]
fn mio_says_why_it_has_no_level() {
    let error = Mio::new(Trigger::Level).unwrap_err().to_string();
    assert!(error.contains("--selector polling"), "{error}");
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    (peer, stream)
}

#[test]
fn a_closed_handler_is_off_the_list() {
    let (selector, log) = Fake::new(Trigger::Level);
    let mut reactor = Reactor::new(selector, ());
    reactor.add(Script::new("a", &[Next::Wait(Interest::NONE)], &log), Interest::READ).unwrap();
    let stop = StopAfter(Instant::now(), stdin());
    reactor.add(Box::new(stop), Interest::NONE).unwrap();
    reactor.run().unwrap();
    assert_eq!(log.take(), ["add", "a ready", "remove", "a stop", "a closed"]);
}
