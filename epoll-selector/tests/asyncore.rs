//! What CPython's `test_asyncore` asks of the loop and its dispatchers, and the quirks that it
//! shows, asked of the reactor, `connect` and the acceptor, on every selector.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{LONG, a_while, listener, pair, reactor, reset, run, until};
use epoll_selector::{
    Acceptor, Context, Conversation, End, Event, Handler, Interest, Next, Protocol, Reactor,
    Selector, Talk, Token, Trigger, Until, connect, connected,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// What happened, in order.
type Log = Vec<String>;

/// Notes everything that happens to it, and sends every message back.
struct Notes(&'static str);

impl Notes {
    fn note(&self, context: &mut Context<'_, Log>, what: &str) {
        context.shared.push(format!("{} {what}", self.0));
    }
}

impl Protocol<Log> for Notes {
    fn opened(&mut self, talk: &mut Talk<'_, Log>) -> io::Result<()> {
        self.note(&mut talk.context, "opened");
        Ok(())
    }

    fn message(&mut self, message: &[u8], talk: &mut Talk<'_, Log>) -> io::Result<()> {
        let text = String::from_utf8_lossy(message).into_owned();
        self.note(&mut talk.context, &text);
        if text == "fail" {
            return Err(io::Error::other("asked to"));
        }
        if text == "panic" {
            std::panic::resume_unwind(Box::new("asked to"));
        }
        talk.push(message);
        Ok(())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Log>) {
        self.note(context, &format!("ended: {why}"));
    }
}

fn logged<S: Selector>(reactor: &mut Reactor<S, Log>, what: &str) {
    until(reactor, |log| log.iter().any(|line| line == what));
}

fn connect_does_not_wait_and_opened_comes_before_what_has_arrived<S: Selector>(trigger: Trigger) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let socket = connect(&server.local_addr().unwrap().into()).unwrap();
    reactor.add(Conversation::connecting(socket, Notes("a"), LONG).until(Until::Bytes(b"\n")));
    // The greeting is there before the first turn: it comes with the event that says "connected".
    let (mut accepted, _) = server.accept().unwrap();
    accepted.write_all(b"welcome\n").unwrap();
    logged(&mut reactor, "a welcome");
    accepted.read_exact(&mut [0; 7]).unwrap(); // Unread bytes would make the end a reset.
    drop(accepted);
    logged(&mut reactor, "a ended: done");
    assert_eq!(*reactor.shared(), ["a opened", "a welcome", "a ended: done"]);
}

fn a_refused_connect_ends_with_the_reason_and_was_never_open<S: Selector>(trigger: Trigger) {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let socket = connect(&nobody.into()).unwrap();
    reactor.add(Conversation::connecting(socket, Notes("a"), LONG));
    let log = run(reactor);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("a ended: failed: Connection refused"), "{log:?}");
}

/// A listener whose queue is full drops what comes next: connecting to it does not end.
fn full_listener() -> (Socket, SockAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // The queue holds one more than asked for. The next attempt stays in progress.
    loop {
        let socket = connect(&addr).unwrap();
        let started = Instant::now();
        while !connected(&socket).unwrap() {
            if started.elapsed() > Duration::from_millis(50) {
                return (listener, addr, waiting);
            }
        }
        waiting.push(socket);
    }
}

fn a_connect_that_does_not_end_fails_after_its_limit<S: Selector>(trigger: Trigger) {
    let (_listener, addr, _waiting) = full_listener();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let (socket, limit) = (connect(&addr).unwrap(), Duration::from_millis(30));
    let started = Instant::now();
    reactor.add(Conversation::connecting(socket, Notes("a"), limit));
    assert_eq!(run(reactor), ["a ended: failed: no connection within 30ms"]);
    assert!(started.elapsed() >= limit);
}

fn a_stop_does_not_wait_for_a_connect<S: Selector>(trigger: Trigger) {
    let (_listener, addr, _waiting) = full_listener();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    reactor.add(Conversation::connecting(connect(&addr).unwrap(), Notes("a"), LONG));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.add(StopNow);
    assert_eq!(run(reactor), ["a ended: done"]);
}

struct StopNow;

impl<T> Handler<T> for StopNow {
    fn added(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        context.stop(LONG);
        Ok(Next::Close)
    }
}

/// Python: `handle_accept` with a client that is gone must not harm the server.
fn a_client_that_is_gone_when_it_is_accepted_harms_nobody<S: Selector>(trigger: Trigger) {
    let (listener, addr) = listener(&[]);
    reset(TcpStream::connect(addr).unwrap());
    drop(TcpStream::connect(addr).unwrap());
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"hello").unwrap();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, Log>| {
        Some(Conversation::new(stream, Notes("client")))
    }));
    logged(&mut reactor, "client hello");
    let ended = |log: &mut Log| log.iter().filter(|line| line.contains("ended")).count() == 2;
    until(&mut reactor, ended);
    client.read_exact(&mut [0; 5]).unwrap();
}

fn an_error_and_a_panic_of_one_conversation_leave_the_others_alone<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let names = ["fails", "panics", "works"];
    let [mut fails, mut panics, mut works] = names.map(|name| {
        let (client, server) = pair();
        reactor.add(Conversation::new(server, Notes(name)));
        client
    });
    fails.write_all(b"fail").unwrap();
    logged(&mut reactor, "fails ended: failed: asked to");
    panics.write_all(b"panic").unwrap();
    logged(&mut reactor, "panics ended: panicked");
    for gone in [&mut fails, &mut panics] {
        assert_eq!(gone.read(&mut [0; 1]).unwrap(), 0, "the descriptor is closed");
    }
    works.write_all(b"hello").unwrap();
    logged(&mut reactor, "works hello");
    works.read_exact(&mut [0; 5]).unwrap();
}

/// Python: a default `writable()` of true makes an idle connection spin. And what an outbox once
/// held must not keep it awake.
fn an_idle_conversation_costs_no_turns<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let (mut client, server) = pair();
    reactor.add(Conversation::new(server, Notes("a")));
    let (listener, _) = listener(&[]); // Python never polls a listener for write.
    reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, Log>| {
        Some(Conversation::new(stream, Notes("client")))
    }));
    for _ in 0..3 {
        client.write_all(b"hello").unwrap();
        let before = reactor.shared().len();
        until(&mut reactor, |log| log.len() > before);
        let start = Instant::now();
        let mut turns = 0;
        while start.elapsed() < Duration::from_millis(50) {
            reactor.turn(Some(Duration::from_millis(25))).unwrap();
            turns += 1;
        }
        assert!(turns <= 6, "{turns} turns in 50 ms without anything to do");
    }
}

/// Python's quirk 2: with poll, a hang-up after the first read lost what was still queued.
fn a_hang_up_loses_nothing_of_what_is_queued<S: Selector>(trigger: Trigger) {
    struct Counts;
    impl Protocol<usize> for Counts {
        fn message(&mut self, message: &[u8], talk: &mut Talk<'_, usize>) -> io::Result<()> {
            *talk.context.shared += message.len();
            Ok(())
        }
    }
    let (mut client, server) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    client.write_all(&[b'x'; 20_000]).unwrap();
    client.write_all(&[b'y'; 100_000]).unwrap(); // More than one read takes.
    drop(client);
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(Conversation::new(Socket::from(OwnedFd::from(server)), Counts));
    assert_eq!(run(reactor), 120_000);
}

type Meddle = Box<dyn FnMut(&mut Context<'_, Log>)>;

/// Reads a byte of its own, then does something to another.
struct Meddler {
    stream: Socket,
    meddle: Meddle,
    name: &'static str,
}

impl Handler<Log> for Meddler {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, Log>) -> io::Result<Next> {
        context.shared.push(format!("{} ready", self.name));
        let received = self.stream.read(&mut [0; 8])?;
        assert!(received > 0, "an event that was not its own");
        (self.meddle)(context);
        Ok(Next::Wait(Interest::READ))
    }
}

/// Python's quirk 4: a descriptor that is used again within a pass got the event of the one before.
fn a_descriptor_used_again_within_a_pass_gets_no_stale_event<S: Selector>(trigger: Trigger) {
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let mut clients = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    // All are ready in the same pass. Whoever comes first closes the others, and puts new ones
    // there.
    let shared_tokens = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Token>::new()));
    let spares = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    for _ in 0..4 {
        let (mut client, stream) = pair();
        client.write_all(b"x").unwrap();
        clients.push(client);
        let (tokens_of_all, spare_clients) = (shared_tokens.clone(), spares.clone());
        let meddle = Box::new(move |context: &mut Context<'_, Log>| {
            for token in tokens_of_all.borrow_mut().drain(..) {
                if token != context.token() {
                    context.close(token);
                }
            }
            let added = context.add(Replaces(spare_clients.clone()));
            context.wake(added);
        });
        tokens.push(reactor.add(Meddler { stream, meddle, name: "old" }));
    }
    *shared_tokens.borrow_mut() = tokens;
    logged(&mut reactor, "replaced");
    a_while(&mut reactor);
    let log = reactor.shared();
    assert_eq!(log.iter().filter(|line| *line == "old ready").count(), 1, "{log:?}");
    assert!(!log.iter().any(|line| line == "new ready"), "{log:?}");
}

/// Opens connections as soon as the closed ones have given their descriptors back.
struct Replaces(std::rc::Rc<std::cell::RefCell<Vec<TcpStream>>>);

impl Handler<Log> for Replaces {
    fn woken(&mut self, context: &mut Context<'_, Log>) -> io::Result<Next> {
        for _ in 0..3 {
            let (client, stream) = pair();
            self.0.borrow_mut().push(client);
            context.add(Meddler { stream, meddle: Box::new(|_| {}), name: "new" });
        }
        context.shared.push("replaced".to_owned());
        Ok(Next::Close)
    }
}

fn a_full_acceptor_waits_and_goes_on_when_a_client_leaves<S: Selector>(trigger: Trigger) {
    let (listener, addr) = listener(&["--max-connections", "2"]);
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    reactor.add(Acceptor::new(listener, |stream, _: &mut Context<'_, Log>| {
        Some(Conversation::new(stream, Notes("client")))
    }));
    let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let count = |log: &Log, what: &str| log.iter().filter(|line| line.ends_with(what)).count();
    for gone in 0..=3 {
        until(&mut reactor, |log| count(log, "opened") == 2 + gone);
        a_while(&mut reactor);
        assert_eq!(count(reactor.shared(), "opened"), 2 + gone, "{gone} have gone");
        clients.remove(0);
    }
    until(&mut reactor, |log| count(log, "ended: done") >= 3);
}

fn a_client_that_is_turned_away_or_whose_handler_panics_takes_no_place<S: Selector>(
    trigger: Trigger,
) {
    let (listener, addr) = listener(&["--max-connections", "1"]);
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    let mut accepted = 0;
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Log>| {
        accepted += 1;
        match accepted {
            1 => None,
            2 => std::panic::resume_unwind(Box::new("the program's own fault")),
            _ => Some(Conversation::new(stream, Notes("third"))),
        }
    }));
    let mut first = TcpStream::connect(addr).unwrap();
    let mut second = TcpStream::connect(addr).unwrap();
    let mut third = TcpStream::connect(addr).unwrap();
    third.write_all(b"hello").unwrap();
    logged(&mut reactor, "third hello");
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
}

on_every_selector!(
    connect_does_not_wait_and_opened_comes_before_what_has_arrived,
    a_refused_connect_ends_with_the_reason_and_was_never_open,
    a_connect_that_does_not_end_fails_after_its_limit,
    a_stop_does_not_wait_for_a_connect,
    a_client_that_is_gone_when_it_is_accepted_harms_nobody,
    an_error_and_a_panic_of_one_conversation_leave_the_others_alone,
    an_idle_conversation_costs_no_turns,
    a_hang_up_loses_nothing_of_what_is_queued,
    a_descriptor_used_again_within_a_pass_gets_no_stale_event,
    a_full_acceptor_waits_and_goes_on_when_a_client_leaves,
    a_client_that_is_turned_away_or_whose_handler_panics_takes_no_place,
);

#[test]
fn connecting_to_a_unix_socket_whose_backlog_is_full_says_so_at_once() {
    let path = std::env::temp_dir().join(format!("asyncore-full-{}", std::process::id()));
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let addr = SockAddr::unix(&path).unwrap();
    listener.bind(&addr).unwrap();
    listener.listen(0).unwrap();
    let _waiting = connect(&addr).unwrap();
    let error = connect(&addr).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
