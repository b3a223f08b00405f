//! The reactor's own promises, on a selector that reports what the test tells it to.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::run;
use echo::Stop;
use epoll_selector::{
    Context, End, Event, Handler, Interest, Mio, Next, Reactor, Selector, Token, Trigger,
};

/// Calls of the selector and of the handlers, in order.
type Log = Rc<RefCell<Vec<String>>>;

/// A selector that reports every descriptor on its list as ready, on every wait.
struct Fake {
    trigger: Trigger,
    list: BTreeMap<RawFd, (Token, Interest)>,
    /// How many changes of the list it refuses for lack of memory.
    refusals: usize,
    log: Log,
}

impl Fake {
    fn reactor<T: Default>(trigger: Trigger, refusals: usize) -> (Reactor<Fake, T>, Log) {
        let log = Log::default();
        let fake = Fake { trigger, list: BTreeMap::new(), refusals, log: Rc::clone(&log) };
        (Reactor::new(fake, T::default()), log)
    }

    fn change(&mut self, name: &str) -> io::Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.log.borrow_mut().push(name.to_owned());
        Ok(())
    }
}

impl Selector for Fake {
    fn new(trigger: Trigger) -> io::Result<Fake> {
        Ok(Fake { trigger, list: BTreeMap::new(), refusals: 0, log: Log::default() })
    }

    fn trigger(&self) -> Trigger {
        self.trigger
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.change("add")?;
        let before = self.list.insert(fd.as_raw_fd(), (token, interest));
        assert!(before.is_none(), "added twice");
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.change("modify")?;
        let before = self.list.insert(fd.as_raw_fd(), (token, interest));
        assert!(before.is_some(), "modified before it was added");
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.log.borrow_mut().push("remove".to_owned());
        assert!(self.list.remove(&fd.as_raw_fd()).is_some(), "removed before it was added");
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        assert!(timeout.is_some() || !self.list.is_empty(), "would sleep for ever");
        events.extend(self.list.values().map(|&(token, interest)| Event {
            token,
            readable: interest.readable,
            writable: interest.writable,
            read_closed: false,
        }));
        Ok(())
    }
}

/// A descriptor of its own.
fn file() -> File {
    File::open("/dev/null").unwrap()
}

/// What a call of a scripted handler does.
type Act = Box<dyn FnMut(&mut Context<'_, ()>) -> io::Result<Next>>;

/// A handler that plays its acts back, one for each call, and then closes.
struct Script {
    name: &'static str,
    acts: Vec<Act>,
    log: Log,
    fd: Option<File>,
}

impl Script {
    fn new(name: &'static str, log: &Log, acts: Vec<Act>) -> Script {
        Script { name, acts, log: Rc::clone(log), fd: Some(file()) }
    }

    /// Without a descriptor.
    fn timer(name: &'static str, log: &Log, acts: Vec<Act>) -> Script {
        Script { fd: None, ..Script::new(name, log, acts) }
    }

    fn play(&mut self, callback: &str, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.log.borrow_mut().push(format!("{} {callback}", self.name));
        if self.acts.is_empty() { Ok(Next::Close) } else { self.acts.remove(0)(context) }
    }
}

impl Handler<()> for Script {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    fn added(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.play("added", context)
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.play("ready", context)
    }

    fn woken(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.play("woken", context)
    }

    fn timeout(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.play("timeout", context)
    }

    fn stop(&mut self, context: &mut Context<'_, ()>) -> io::Result<Next> {
        self.play("stop", context)
    }

    fn closed(&mut self, why: End, _: &mut Context<'_, ()>) {
        self.log.borrow_mut().push(format!("{} closed: {why}", self.name));
    }
}

const READ: Next = Next::Wait(Interest::READ);
const WRITE: Next = Next::Wait(Interest::WRITE);
const NOTHING: Next = Next::Wait(Interest::NONE);

/// An act that only returns what is wanted next.
fn want(next: Next) -> Act {
    Box::new(move |_| Ok(next))
}

fn act(act: impl FnMut(&mut Context<'_, ()>) -> io::Result<Next> + 'static) -> Act {
    Box::new(act)
}

fn played(trigger: Trigger, wants: &[Next]) -> Vec<String> {
    let (mut reactor, log) = Fake::reactor(trigger, 0);
    reactor.add(Script::new("a", &log, wants.iter().copied().map(want).collect()));
    run(reactor);
    log.take()
}

#[test]
fn the_selector_is_told_only_what_has_changed() {
    let expected = [
        "a added",
        "add",
        "a ready",
        "a ready",
        "a ready",
        "modify",
        "a ready",
        "modify",
        "a ready",
        "remove",
        "a closed: done",
    ];
    for trigger in [Trigger::Level, Trigger::Edge] {
        assert_eq!(played(trigger, &[READ, READ, Next::Keep, WRITE, READ]), expected);
    }
}

#[test]
fn oneshot_is_renewed_after_every_event_and_only_then() {
    let expected = [
        "a added",
        "add",
        "a ready",
        "modify",
        "a ready",
        "modify",
        "a ready",
        "remove",
        "a closed: done",
    ];
    assert_eq!(played(Trigger::Oneshot, &[READ, READ, Next::Keep]), expected);
    // A wake uses up no event.
    let (mut reactor, log) = Fake::reactor(Trigger::Oneshot, 0);
    let wake = act(|context| {
        context.wake(context.token());
        Ok(READ)
    });
    reactor.add(Script::new("a", &log, vec![wake, want(NOTHING), want(READ)]));
    run(reactor);
    let expected = [
        "a added",
        "add",
        "a ready",
        "remove",
        "a woken",
        "add",
        "a ready",
        "remove",
        "a closed: done",
    ];
    assert_eq!(log.take(), expected);
}

#[test]
fn who_goes_on_is_called_after_the_others_and_once_a_turn() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let again = || vec![want(READ), want(Next::Again), want(Next::Again), want(Next::Again)];
    reactor.add(Script::new("a", &log, again()));
    reactor.add(Script::new("b", &log, vec![want(READ), want(READ), want(READ), want(READ)]));
    for _ in 0..3 {
        log.borrow_mut().push("turn".to_owned());
        reactor.turn(None).unwrap();
    }
    let calls: Vec<_> = log.take().into_iter().filter(|call| !call.contains("add")).collect();
    // The selector reports `a` on each turn too; that and its own wish are one call.
    let expected =
        ["turn", "a ready", "b ready", "turn", "b ready", "a ready", "turn", "b ready", "a ready"];
    assert_eq!(calls, expected);
}

#[test]
fn an_event_or_a_wake_for_a_handler_that_has_gone_reaches_nobody() {
    let (mut reactor, log) = Fake::reactor(Trigger::Edge, 0);
    let last = Rc::new(Cell::new(None));
    let (to_close, to_wake) = (Rc::clone(&last), Rc::clone(&last));
    let new_log = Rc::clone(&log);
    // One batch has events for all three. The first closes the last, which is woken too; the second
    // puts another in its place; then the last one's event and wake find that other.
    let closes = act(move |context| {
        context.wake(to_close.get().unwrap());
        context.close(to_close.get().unwrap());
        Ok(NOTHING)
    });
    let replaces = act(move |context| {
        let old = to_wake.get().unwrap();
        let new = context.add(Script::timer("new", &new_log, vec![want(NOTHING)]));
        assert!(!context.lives(old) && context.lives(new));
        context.wake(old);
        context.close(old);
        Ok(NOTHING)
    });
    reactor.add(Script::new("first", &log, vec![want(READ), closes]));
    reactor.add(Script::new("second", &log, vec![want(READ), replaces]));
    last.set(Some(reactor.add(Script::new("last", &log, vec![want(READ)]))));
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    let calls: Vec<_> = log.take().into_iter().filter(|call| call.contains(' ')).collect();
    let expected = [
        "first added",
        "second added",
        "last added",
        "first ready",
        "last closed: done",
        "second ready",
        "new added",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn an_error_closes_one_handler_and_tells_it_why() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let fails = act(|_| Err(ErrorKind::ConnectionReset.into()));
    reactor.add(Script::new("a", &log, vec![want(READ), fails]));
    reactor.add(Script::new("b", &log, vec![want(READ), want(READ)]));
    run(reactor);
    let calls = log.take();
    assert!(calls.contains(&"a closed: failed: connection reset".to_owned()), "{calls:?}");
    assert!(calls.ends_with(&["b closed: done".to_owned()]), "{calls:?}");
}

/// Panics without a report: the panic is meant.
fn quietly() -> io::Result<Next> {
    std::panic::resume_unwind(Box::new("the handler's own fault"))
}

#[test]
fn a_panic_in_any_callback_closes_one_handler_and_tells_it_why() {
    type Arrange = fn(&mut Context<'_, ()>) -> io::Result<Next>;
    let arrangements: [(&str, Arrange); 5] = [
        ("added", |_| quietly()),
        ("ready", |_| Ok(READ)),
        ("woken", |context| {
            context.wake(context.token());
            Ok(NOTHING)
        }),
        ("timeout", |context| {
            context.timer(Some(Instant::now()));
            Ok(NOTHING)
        }),
        ("stop", |context| {
            context.stop(Duration::from_secs(1));
            Ok(NOTHING)
        }),
    ];
    for (callback, arrange) in arrangements {
        let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
        reactor.add(Script::new("a", &log, vec![act(arrange), act(|_| quietly())]));
        reactor.add(Script::timer("b", &log, vec![want(NOTHING), want(NOTHING)]));
        for _ in 0..3 {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        let calls = log.take();
        assert!(calls.contains(&format!("a {callback}")), "{callback}: {calls:?}");
        assert!(calls.contains(&"a closed: panicked".to_owned()), "{callback}: {calls:?}");
        let others = calls.iter().any(|call| call.starts_with("b closed"));
        assert!(!others, "{callback}: {calls:?}");
    }
}

/// Panics in its last call, and again when it is dropped.
struct Bomb(Log);

impl Handler<()> for Bomb {
    fn closed(&mut self, _: End, _: &mut Context<'_, ()>) {
        self.0.borrow_mut().push("bomb closed".to_owned());
        let _ = quietly();
    }
}

#[test]
fn a_panic_in_the_last_call_harms_nobody() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let bomb = reactor.add(Bomb(Rc::clone(&log)));
    reactor.add(Script::timer(
        "a",
        &log,
        vec![act(move |context| {
            context.close(bomb);
            context.wake(context.token());
            Ok(NOTHING)
        })],
    ));
    run(reactor);
    assert_eq!(log.take(), ["a added", "bomb closed", "a woken", "a closed: done"]);
}

#[test]
fn a_handler_without_ready_fails_instead_of_spinning() {
    struct Forgetful(File, Log);
    impl Handler<()> for Forgetful {
        fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
        fn closed(&mut self, why: End, _: &mut Context<'_, ()>) {
            self.1.borrow_mut().push(why.to_string());
        }
    }
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    reactor.add(Forgetful(file(), Rc::clone(&log)));
    run(reactor);
    assert_eq!(log.take()[2], "failed: the handler has no method `ready`");
}

/// Takes note of being refused, and tries again at once if it is to.
struct Refused {
    retries: bool,
    log: Log,
    fd: File,
}

impl Handler<()> for Refused {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn ready(&mut self, _: Event, _: &mut Context<'_, ()>) -> io::Result<Next> {
        Ok(Next::Close)
    }

    fn timeout(&mut self, _: &mut Context<'_, ()>) -> io::Result<Next> {
        Ok(READ)
    }

    fn refused(&mut self, error: io::Error, context: &mut Context<'_, ()>) -> io::Result<()> {
        self.log.borrow_mut().push("refused".to_owned());
        if !self.retries {
            return Err(error);
        }
        context.timer(Some(Instant::now()));
        Ok(())
    }

    fn closed(&mut self, why: End, _: &mut Context<'_, ()>) {
        self.log.borrow_mut().push(format!("closed: {why}"));
    }
}

#[test]
fn a_handler_that_the_selector_refuses_is_told_so_and_may_try_again() {
    for (retries, expected) in [
        (false, &["refused", "closed: refused by the selector: out of memory"][..]),
        (true, &["refused", "refused", "add", "remove", "closed: done"]),
    ] {
        let (mut reactor, log) = Fake::reactor(Trigger::Level, 2);
        reactor.add(Refused { retries, log: Rc::clone(&log), fd: file() });
        run(reactor);
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn added_handlers_start_in_order_and_do_not_miss_a_stop_in_progress() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let child_log = Rc::clone(&log);
    let parent = act(move |context| {
        for name in ["one", "two", "three"] {
            context.add(Script::timer(name, &child_log, vec![want(NOTHING), want(Next::Close)]));
        }
        context.stop(Duration::from_secs(5));
        Ok(Next::Close)
    });
    reactor.add(Script::timer("parent", &log, vec![parent]));
    run(reactor);
    let expected = [
        "parent added",
        "parent closed: done",
        "one added",
        "one stop",
        "one closed: done",
        "two added",
        "two stop",
        "two closed: done",
        "three added",
        "three stop",
        "three closed: done",
    ];
    assert_eq!(log.take(), expected);
}

#[test]
fn wakes_are_merged_and_do_not_look_like_readiness() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let sleeper = reactor.add(Script::timer("a", &log, vec![want(NOTHING), want(NOTHING)]));
    let wakes = act(move |context| {
        for _ in 0..1000 {
            context.wake(sleeper);
        }
        Ok(NOTHING)
    });
    reactor.add(Script::timer("b", &log, vec![wakes]));
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(log.take(), ["a added", "b added", "a woken"]);
}

#[test]
fn a_handler_that_wakes_itself_for_ever_starves_nobody() {
    struct Restless;
    impl Handler<u32> for Restless {
        fn added(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
            self.woken(context)
        }
        fn woken(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
            context.wake(context.token());
            Ok(Next::Again)
        }
        fn ready(&mut self, _: Event, _: &mut Context<'_, u32>) -> io::Result<Next> {
            Ok(Next::Again)
        }
        fn timeout(&mut self, _: &mut Context<'_, u32>) -> io::Result<Next> {
            Ok(Next::Keep)
        }
    }
    struct Counts;
    impl Handler<u32> for Counts {
        fn added(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
            context.timer(Some(Instant::now()));
            Ok(Next::Keep)
        }
        fn timeout(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
            *context.shared += 1;
            if *context.shared == 5 {
                context.stop(Duration::ZERO);
            }
            self.added(context)
        }
    }
    let (mut reactor, _) = Fake::reactor::<u32>(Trigger::Level, 0);
    reactor.add(Restless);
    reactor.add(Counts);
    assert_eq!(run(reactor), 5);
}

#[test]
fn a_timer_is_set_moved_and_taken_back() {
    struct Timed {
        moves: Vec<Option<Duration>>,
        started: Instant,
    }
    impl Handler<Vec<Duration>> for Timed {
        fn added(&mut self, context: &mut Context<'_, Vec<Duration>>) -> io::Result<Next> {
            for delay in self.moves.drain(..) {
                context.timer(delay.map(|delay| self.started + delay));
            }
            Ok(Next::Keep)
        }
        fn timeout(&mut self, context: &mut Context<'_, Vec<Duration>>) -> io::Result<Next> {
            context.shared.push(self.started.elapsed());
            Ok(Next::Close)
        }
    }
    let long = Some(Duration::from_secs(3600));
    for (first, then) in [(None, 20), (long, 20), (Some(Duration::ZERO), 20)] {
        let mut reactor = Reactor::new(Mio::new(Trigger::Edge).unwrap(), Vec::new());
        let then = Duration::from_millis(then);
        let moves = vec![first, Some(then)];
        reactor.add(Timed { moves, started: Instant::now() });
        let fired = run(reactor);
        assert_eq!(fired.len(), 1);
        assert!(fired[0] >= then, "{fired:?}: too early");
    }
    // Taken back: it never fires.
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge).unwrap(), Vec::new());
    reactor.add(Timed { moves: vec![Some(Duration::ZERO), None], started: Instant::now() });
    for _ in 0..5 {
        assert!(reactor.turn(Some(Duration::from_millis(5))).unwrap());
    }
    assert!(reactor.shared().is_empty());
}

#[test]
fn timers_fire_in_order_and_never_early() {
    struct Due(Duration, Instant);
    impl Handler<Vec<Duration>> for Due {
        fn added(&mut self, context: &mut Context<'_, Vec<Duration>>) -> io::Result<Next> {
            context.timer(Some(self.1 + self.0));
            Ok(Next::Keep)
        }
        fn timeout(&mut self, context: &mut Context<'_, Vec<Duration>>) -> io::Result<Next> {
            assert!(self.1.elapsed() >= self.0, "too early");
            context.shared.push(self.0);
            Ok(Next::Close)
        }
    }
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge).unwrap(), Vec::new());
    let now = Instant::now();
    for delay in [30, 10, 20, 10, 0] {
        reactor.add(Due(Duration::from_millis(delay), now));
    }
    let fired: Vec<_> = run(reactor).iter().map(Duration::as_millis).collect();
    assert_eq!(fired, [0, 10, 10, 20, 30]);
}

/// Another handler of the same turn moves the timer that is due: it does not fire.
#[test]
fn a_timer_taken_back_in_the_turn_in_which_it_is_due_does_not_fire() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let due = act(|context| {
        context.timer(Some(Instant::now()));
        context.wake(context.token());
        Ok(NOTHING)
    });
    let takes_back = act(|context| {
        context.timer(None);
        Ok(NOTHING)
    });
    reactor.add(Script::timer("a", &log, vec![due, takes_back]));
    for _ in 0..3 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(log.take(), ["a added", "a woken"]);
}

#[test]
fn a_failure_of_the_server_ends_the_loop_and_every_handler() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let fails = act(|context| {
        context.fail(io::Error::other("first"));
        context.fail(io::Error::other("second"));
        Ok(NOTHING)
    });
    reactor.add(Script::timer("a", &log, vec![fails]));
    reactor.add(Script::timer("b", &log, vec![]));
    let error = reactor.run().unwrap_err();
    assert_eq!(error.to_string(), "first");
    assert_eq!(log.take(), ["a added", "a closed: cut off", "b closed: cut off"]);
}

#[test]
fn a_stop_tells_every_handler_and_cuts_off_those_that_stay() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let stops = act(|context| {
        assert!(!context.stopping());
        context.stop(Duration::from_millis(20));
        Ok(READ)
    });
    let told = act(|context| {
        assert!(context.stopping());
        Ok(Next::Close)
    });
    reactor.add(Script::timer("stays", &log, vec![want(NOTHING), want(NOTHING)]));
    reactor.add(Script::timer("leaves", &log, vec![stops, told]));
    let start = Instant::now();
    run(reactor);
    assert!(start.elapsed() >= Duration::from_millis(20), "the limit was not waited for");
    let expected = [
        "stays added",
        "leaves added",
        "stays stop",
        "leaves stop",
        "leaves closed: done",
        "stays closed: cut off",
    ];
    assert_eq!(log.take(), expected);
}

#[test]
fn a_second_stop_shortens_the_first_and_tells_nobody_again() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let stop_in = |limit| {
        act(move |context| {
            context.stop(Duration::from_secs(limit));
            context.wake(context.token());
            Ok(NOTHING)
        })
    };
    reactor.add(Script::timer(
        "a",
        &log,
        vec![stop_in(3600), want(NOTHING), stop_in(0), want(NOTHING)],
    ));
    run(reactor);
    assert_eq!(log.take(), ["a added", "a stop", "a woken", "a closed: cut off"]);
}

/// Python's `serve_forever` polls every half second, and a shutdown right at the start was a
/// deadlock.
#[test]
fn twenty_immediate_stops_end_twenty_loops() {
    for _ in 0..20 {
        let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
        let stops = act(|context| {
            context.stop(Duration::from_secs(3600));
            Ok(NOTHING)
        });
        reactor.add(Script::timer("a", &log, vec![stops]));
        run(reactor);
        assert_eq!(log.take(), ["a added", "a stop", "a closed: done"]);
    }
}

#[test]
fn the_loop_does_not_wait_for_handlers_in_the_background() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    let background = act(|context| {
        context.background();
        context.background(); // The second time nothing changes.
        Ok(NOTHING)
    });
    reactor.add(Script::timer("behind", &log, vec![background]));
    reactor.add(Script::timer("front", &log, vec![]));
    run(reactor);
    let expected = ["behind added", "front added", "front closed: done", "behind closed: done"];
    assert_eq!(log.take(), expected);
}

#[test]
fn a_turn_makes_one_wait_and_says_whether_there_is_another() {
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    reactor.add(Script::new("a", &log, vec![want(READ), want(READ)]));
    assert!(reactor.turn(None).unwrap());
    assert_eq!(log.take(), ["a added", "add", "a ready"]);
    assert!(!reactor.turn(None).unwrap());
    assert_eq!(log.take(), ["a ready", "remove", "a closed: done"]);
    assert!(!reactor.turn(None).unwrap());
}

/// Signals are the process's: the tests that use them come one after the other.
static SIGNALS: Mutex<()> = Mutex::new(());

/// Works for a while at each event.
struct Works(Log, File);

impl Handler<()> for Works {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.1.as_fd())
    }

    fn ready(&mut self, _: Event, _: &mut Context<'_, ()>) -> io::Result<Next> {
        thread::sleep(Duration::from_millis(10));
        self.0.borrow_mut().push("worked".to_owned());
        Ok(Next::Keep)
    }

    fn stop(&mut self, _: &mut Context<'_, ()>) -> io::Result<Next> {
        Ok(Next::Keep)
    }

    fn closed(&mut self, why: End, _: &mut Context<'_, ()>) {
        self.0.borrow_mut().push(why.to_string());
    }
}

#[test]
fn a_stop_in_the_middle_of_a_turn_and_its_end_wait_for_one_call_at_most() {
    let _guard = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let stop = Arc::new(Stop::new().unwrap());
    let (mut reactor, log) = Fake::reactor(Trigger::Level, 0);
    reactor.stop_on(Arc::clone(&stop), Duration::from_millis(50));
    for _ in 0..200 {
        reactor.add(Works(Rc::clone(&log), file()));
    }
    let requests = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        stop.request();
    });
    // One turn takes two seconds; the stop and its limit come within the first.
    assert!(!reactor.turn(None).unwrap());
    requests.join().unwrap();
    let calls = log.take();
    let worked = calls.iter().filter(|call| *call == "worked").count();
    assert!((1..100).contains(&worked), "{worked} calls were made");
    assert_eq!(calls.iter().filter(|call| *call == "cut off").count(), 200);
}

#[test]
fn a_request_wakes_a_loop_that_sleeps() {
    let _guard = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    let stop = Arc::new(Stop::new().unwrap());
    let mut reactor = Reactor::new(Mio::new(Trigger::Edge).unwrap(), ());
    reactor.stop_on(Arc::clone(&stop), Duration::from_secs(3600));
    struct Waits;
    impl Handler<()> for Waits {}
    reactor.add(Waits);
    let requests = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        stop.request();
    });
    run(reactor);
    requests.join().unwrap();
}
