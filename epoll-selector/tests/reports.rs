//! What users of such libraries have reported: each report is a test of ours, on every selector.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{LONG, a_while, pair, reactor, run, until};
use epoll_selector::{
    Context, Conversation, End, Event, Handler, Interest, Next, Pause, Peer, Protocol, Remote,
    Selector, Talk, Token, Trigger, Until, connect, mailbox,
};
use socket2::Socket;
use threadpool::ThreadPool;

/// calloop #109, #45 and others: adding and removing sources inside a callback panicked.
fn handlers_are_added_closed_and_woken_inside_every_callback<S: Selector>(trigger: Trigger) {
    /// In each callback adds a handler, wakes it, closes the one before, and wakes and moves
    /// itself.
    struct Busy {
        socket: Socket,
        before: Option<Token>,
        generations: u32,
    }
    /// What is added.
    struct Child;

    type Log = HashMap<&'static str, u32>;

    impl Busy {
        fn act(&mut self, callback: &'static str, context: &mut Context<'_, Log>) {
            *context.shared.entry(callback).or_default() += 1;
            let child = context.add(Child);
            context.wake(child);
            context.wake(context.token());
            if let Some(before) = self.before.replace(child) {
                context.close(before);
                context.close(before); // The second time nobody is there.
                context.wake(before);
            }
            if self.generations.is_multiple_of(5) {
                context.timer(Some(Instant::now()));
            }
            self.generations += 1;
            if self.generations == 20 {
                context.close(context.token()); // Itself.
                context.close(child); // Which has not even started.
            }
        }
    }

    impl Handler<Log> for Busy {
        fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.socket.as_fd())
        }

        fn added(&mut self, context: &mut Context<'_, Log>) -> io::Result<Next> {
            self.act("added", context);
            Ok(Next::Wait(Interest { writable: true, ..Interest::READ }))
        }

        fn ready(&mut self, _: Event, context: &mut Context<'_, Log>) -> io::Result<Next> {
            self.act("ready", context);
            Ok(Next::Keep)
        }

        fn woken(&mut self, context: &mut Context<'_, Log>) -> io::Result<Next> {
            self.act("woken", context);
            Ok(Next::Keep)
        }

        fn timeout(&mut self, context: &mut Context<'_, Log>) -> io::Result<Next> {
            self.act("timeout", context);
            Ok(Next::Keep)
        }

        fn closed(&mut self, why: End, context: &mut Context<'_, Log>) {
            assert!(matches!(why, End::Done), "{why}");
            self.act("closed", context);
        }
    }

    impl Handler<Log> for Child {
        fn woken(&mut self, context: &mut Context<'_, Log>) -> io::Result<Next> {
            *context.shared.entry("child woken").or_default() += 1;
            Ok(Next::Keep)
        }

        fn closed(&mut self, _: End, context: &mut Context<'_, Log>) {
            *context.shared.entry("child closed").or_default() += 1;
            context.add(Grandchild);
        }
    }

    /// Ends at once.
    struct Grandchild;
    impl Handler<Log> for Grandchild {
        fn added(&mut self, _: &mut Context<'_, Log>) -> io::Result<Next> {
            Ok(Next::Close)
        }
    }

    let (_client, socket) = pair();
    let mut reactor = reactor::<S, _>(trigger, Log::new());
    reactor.add(Busy { socket, before: None, generations: 0 });
    until(&mut reactor, |log| log.contains_key("closed"));
    a_while(&mut reactor);
    let log = reactor.shared();
    for callback in ["added", "ready", "woken", "timeout", "closed", "child woken"] {
        assert!(log.contains_key(callback), "{callback} is missing: {log:?}");
    }
    assert_eq!(log["added"], 1);
    assert_eq!(log["closed"], 1);
    assert_eq!(log["child closed"], 20, "all but the last, which `closed` has added");
}

/// calloop #78: a channel whose senders had gone made the loop spin.
fn a_mailbox_whose_senders_have_gone_runs_what_is_left_and_ends<S: Selector>(trigger: Trigger) {
    let (remote, mailbox) = mailbox::<u32>(300).unwrap();
    for _ in 0..200 {
        remote.call(|context| *context.shared += 1).unwrap();
    }
    drop(remote.clone());
    drop(remote);
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(mailbox);
    let mut turns = 0;
    while reactor.turn(Some(LONG)).unwrap() {
        turns += 1;
        assert!(turns < 20, "it spins");
    }
    assert_eq!(*reactor.shared(), 200);
}

/// libevent: reading paused for two reasons went on when the first had gone.
fn reading_goes_on_when_the_last_reason_has_gone<S: Selector>(trigger: Trigger) {
    struct Paused;
    impl Protocol<(Option<Peer>, Vec<u8>)> for Paused {
        fn message(
            &mut self,
            message: &[u8],
            talk: &mut Talk<'_, (Option<Peer>, Vec<u8>)>,
        ) -> io::Result<()> {
            talk.context.shared.1.extend_from_slice(message);
            talk.context.shared.0 = Some(talk.peer());
            talk.pause(Pause::Rate);
            talk.pause(Pause::Busy);
            talk.context.timer(Some(Instant::now()));
            Ok(())
        }

        fn timeout(&mut self, talk: &mut Talk<'_, (Option<Peer>, Vec<u8>)>) -> io::Result<()> {
            talk.resume(Pause::Rate);
            Ok(())
        }

        fn woken(&mut self, talk: &mut Talk<'_, (Option<Peer>, Vec<u8>)>) -> io::Result<()> {
            talk.resume(Pause::Busy);
            Ok(())
        }
    }
    let (mut client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, (None, Vec::new()));
    reactor.add(Conversation::new(server, Paused).until(Until::Count(1)));
    client.write_all(b"1").unwrap();
    until(&mut reactor, |seen| seen.1 == b"1");
    client.write_all(b"2").unwrap();
    a_while(&mut reactor); // The timer has removed one reason.
    assert_eq!(reactor.shared().1, b"1");
    let (remote, mailbox) = mailbox::<(Option<Peer>, Vec<u8>)>(1).unwrap();
    reactor.add(mailbox);
    remote.call(|context| context.wake(context.shared.0.as_ref().unwrap().token())).unwrap();
    until(&mut reactor, |seen| seen.1 == b"12");
}

/// A port forwarder: one of these for the client, and one for the server behind.
struct Half {
    to: Option<SocketAddr>,
    other: Option<Peer>,
}

type Ends = Vec<Result<(), String>>;

impl Protocol<Ends> for Half {
    fn opened(&mut self, talk: &mut Talk<'_, Ends>) -> io::Result<()> {
        if let Some(to) = self.to {
            let upstream = Half { to: None, other: Some(talk.peer()) };
            let upstream = Conversation::connecting(connect(&to.into())?, upstream, LONG);
            self.other = Some(upstream.add_to(&mut talk.context));
        }
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Ends>) -> io::Result<()> {
        let other = self.other.as_ref().unwrap();
        assert!(other.push(bytes, &mut talk.context));
        if other.is_full() {
            talk.pause(Pause::Partner);
        }
        Ok(())
    }

    fn drained(&mut self, talk: &mut Talk<'_, Ends>) -> io::Result<()> {
        talk.context.wake(self.other.as_ref().unwrap().token());
        Ok(())
    }

    fn woken(&mut self, talk: &mut Talk<'_, Ends>) -> io::Result<()> {
        if !self.other.as_ref().unwrap().is_full() {
            talk.resume(Pause::Partner);
        }
        Ok(())
    }

    fn end_of_input(&mut self, _: &[u8], talk: &mut Talk<'_, Ends>) -> io::Result<()> {
        self.other.as_ref().unwrap().finish(&mut talk.context);
        Ok(())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Ends>) {
        context.shared.push(why.into_result().map_err(|error| error.to_string()));
        if let Some(other) = &self.other {
            other.close(context);
        }
    }
}

/// mio #1085, #1854: draining, partial writes and half-close are what everybody gets wrong.
fn a_forwarder_passes_on_every_byte_and_both_ends_of_stream<S: Selector>(trigger: Trigger) {
    const BYTES: usize = 8_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Some(listener.local_addr().unwrap());
    let (client, server) = pair();
    let mut reading = client.try_clone().unwrap();
    let mut writing = client;
    let sent: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let expected = sent.clone();
    // The server behind answers only after the client's end of stream, and so late that all is
    // full.
    let behind = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        thread::sleep(Duration::from_millis(50));
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let writer = thread::spawn(move || {
        writing.write_all(&sent).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        thread::sleep(Duration::from_millis(100));
        reading.read_to_end(&mut all).unwrap();
        all
    });
    let mut reactor = reactor::<S, _>(trigger, Ends::new());
    reactor.add(Conversation::new(server, Half { to, other: None }));
    assert_eq!(run(reactor), [Ok(()), Ok(())]);
    assert!(reader.join().unwrap() == expected);
    writer.join().unwrap();
    behind.join().unwrap();
}

fn a_forwarder_whose_upstream_refuses_ends_the_client<S: Selector>(trigger: Trigger) {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut client, server) = pair();
    client.write_all(b"hello").unwrap();
    let mut reactor = reactor::<S, _>(trigger, Ends::new());
    reactor.add(Conversation::new(server, Half { to: Some(closed), other: None }));
    until(&mut reactor, |ends| !ends.is_empty());
    assert!(reactor.shared()[0].as_ref().unwrap_err().contains("refused"));
    a_while(&mut reactor);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop(client);
    until(&mut reactor, |ends| ends.len() == 2);
}

/// A chat's member: sends each line to everybody, and gives up those who do not read.
struct Member;

#[derive(Default)]
struct Room {
    members: HashMap<Token, Peer>,
    dropped: usize,
}

impl Protocol<Room> for Member {
    fn opened(&mut self, talk: &mut Talk<'_, Room>) -> io::Result<()> {
        let peer = talk.peer();
        talk.context.shared.members.insert(peer.token(), peer);
        Ok(())
    }

    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, Room>) -> io::Result<()> {
        let line: Arc<[u8]> = Arc::from([line, b"\n"].concat());
        // The speaker is among them: its own outbox is reached in the middle of its own call.
        for peer in talk.context.shared.members.clone().values() {
            if !peer.push(Arc::clone(&line), &mut talk.context) {
                talk.context.close(peer.token());
                talk.context.shared.dropped += 1;
            }
        }
        Ok(())
    }

    fn ended(&mut self, _: End, context: &mut Context<'_, Room>) {
        let token = context.token();
        context.shared.members.remove(&token);
    }
}

fn a_member_that_does_not_read_is_dropped_and_the_others_hear_everything<S: Selector>(
    trigger: Trigger,
) {
    let mut reactor = reactor::<S, _>(trigger, Room::default());
    let mut clients: Vec<TcpStream> = (0..3)
        .map(|_| {
            let (client, server) = pair();
            let member = Conversation::new(server, Member).until(Until::Bytes(b"\n"));
            reactor.add(member.longest(100_000).marks(10_000, 200_000));
            client
        })
        .collect();
    let lazy = clients.pop().unwrap();
    let mut speaker = clients.remove(0);
    let mut listener = clients.remove(0);
    let line = [vec![b'x'; 99_999], b"\n".to_vec()].concat();
    // Line by line, so that those who read keep up; more in all than any socket buffer takes.
    let speaking = thread::spawn(move || {
        let mut heard = vec![0; line.len()];
        for _ in 0..200 {
            speaker.write_all(&line).unwrap();
            for member in [&mut speaker, &mut listener] {
                member.read_exact(&mut heard).unwrap();
                assert!(heard == line);
            }
        }
        (speaker, listener)
    });
    while !speaking.is_finished() {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
    let members = speaking.join().unwrap();
    assert_eq!(reactor.shared().dropped, 1);
    assert_eq!(reactor.shared().members.len(), 2);
    drop((members, lazy));
}

/// Answers each line with its reverse, which a pool computes; in order, and reads no more
/// meanwhile.
struct Compute;

struct Office {
    pool: ThreadPool,
    remote: Remote<Office>,
    answers: HashMap<Token, Vec<u8>>,
}

impl Protocol<Office> for Compute {
    fn message(&mut self, line: &[u8], talk: &mut Talk<'_, Office>) -> io::Result<()> {
        let (line, token) = (line.to_vec(), talk.context.token());
        let remote = talk.context.shared.remote.clone();
        let job = move || {
            let answer = line.into_iter().rev().collect();
            let _ = remote.call(move |context| {
                if context.lives(token) {
                    context.shared.answers.insert(token, answer);
                    context.wake(token);
                }
            });
        };
        talk.pause(Pause::Busy);
        talk.context.shared.pool.try_execute(job).map_err(|_| io::Error::other("the pool is full"))
    }

    fn woken(&mut self, talk: &mut Talk<'_, Office>) -> io::Result<()> {
        let token = talk.context.token();
        if let Some(answer) = talk.context.shared.answers.remove(&token) {
            talk.push(answer);
            talk.push(b"\n");
            talk.resume(Pause::Busy);
        }
        Ok(())
    }
}

fn what_a_pool_computes_comes_back_in_order_through_the_mailbox<S: Selector>(trigger: Trigger) {
    let (remote, mailbox) = mailbox(4).unwrap();
    let pool = ThreadPool::new(2, 4).unwrap();
    let mut reactor = reactor::<S, _>(trigger, Office { pool, remote, answers: HashMap::new() });
    reactor.add(mailbox);
    let (mut client, server) = pair();
    reactor.add(Conversation::new(server, Compute).until(Until::Bytes(b"\n")));
    client.write_all(b"one\ntwo\nthree\nfour\n").unwrap();
    let (answered, has_answered) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut answers = [0; 19];
        client.read_exact(&mut answers).unwrap();
        answered.send(()).unwrap();
        answers
    });
    while has_answered.try_recv().is_err() {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(&reading.join().unwrap(), b"eno\nowt\neerht\nruof\n");
}

on_every_selector!(
    handlers_are_added_closed_and_woken_inside_every_callback,
    a_mailbox_whose_senders_have_gone_runs_what_is_left_and_ends,
    reading_goes_on_when_the_last_reason_has_gone,
    a_forwarder_passes_on_every_byte_and_both_ends_of_stream,
    a_forwarder_whose_upstream_refuses_ends_the_client,
    a_member_that_does_not_read_is_dropped_and_the_others_hear_everything,
    what_a_pool_computes_comes_back_in_order_through_the_mailbox,
);
