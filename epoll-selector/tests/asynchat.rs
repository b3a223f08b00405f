//! What CPython's `test_asynchat` asks of `async_chat`, asked of a conversation, on every selector.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{LONG, a_while, pair, reactor, reset, run, until};
use epoll_selector::{
    Context, Conversation, End, Producer, Protocol, Reactor, Selector, Talk, Trigger, Until,
};
use socket2::{SockRef, Socket};

/// What a collector has seen.
#[derive(Default)]
struct Seen {
    messages: Vec<Vec<u8>>,
    rest: Option<Vec<u8>>,
    end: Option<End>,
}

/// Collects messages, and sets the terminators that it is given, one after each message.
#[derive(Default)]
struct Collector {
    next: Vec<Until>,
    /// Closes after this many messages.
    close_after: Option<usize>,
}

impl Protocol<Seen> for Collector {
    fn message(&mut self, message: &[u8], talk: &mut Talk<'_, Seen>) -> io::Result<()> {
        talk.context.shared.messages.push(message.to_vec());
        if !self.next.is_empty() {
            talk.until(self.next.remove(0));
        }
        if self.close_after == Some(talk.context.shared.messages.len()) {
            talk.push(b"bye");
            talk.close();
        }
        Ok(())
    }

    fn end_of_input(&mut self, rest: &[u8], talk: &mut Talk<'_, Seen>) -> io::Result<()> {
        talk.context.shared.rest = Some(rest.to_vec());
        talk.close();
        Ok(())
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Seen>) {
        assert!(context.shared.end.replace(why).is_none(), "ended twice");
    }
}

/// Sends `input` in chunks, one turn of the loop for each, then the end of stream. Returns what the
/// collector saw.
fn collect<S: Selector>(
    trigger: Trigger,
    input: &[u8],
    chunk: usize,
    first: Until,
    next: &[Until],
) -> Seen {
    let (mut client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, Seen::default());
    let collector = Collector { next: next.to_vec(), close_after: None };
    reactor.add(Conversation::new(server, collector).until(first));
    for chunk in input.chunks(chunk) {
        client.write_all(chunk).unwrap();
        reactor.turn(Some(LONG)).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    run(reactor)
}

const LINES: [&[u8]; 3] = [b"hello world", b"I'm not dead yet!", b"q qq x"];

fn terminators_of_1_2_and_3_bytes_in_chunks_of_1_2_and_3<S: Selector>(trigger: Trigger) {
    for terminator in [&b"\n"[..], b"\r\n", b"qqq"] {
        let input = [LINES.join(terminator), terminator.to_vec()].concat();
        for chunk in [1, 2, 3] {
            let seen = collect::<S>(trigger, &input, chunk, Until::Bytes(terminator), &[]);
            assert_eq!(seen.messages, LINES, "{terminator:?} in chunks of {chunk}");
            assert_eq!(seen.rest.unwrap(), b"");
            assert!(matches!(seen.end, Some(End::Done)));
        }
    }
}

fn counts_of_1_and_6<S: Selector>(trigger: Trigger) {
    let input = b"hello world, I'm not dead yet!";
    for count in [1, 6] {
        for chunk in [1, 2, 3, input.len()] {
            let next = vec![Until::Count(count); input.len()];
            let seen = collect::<S>(trigger, input, chunk, Until::Count(count), &next);
            let expected: Vec<_> = input.chunks(count).map(<[u8]>::to_vec).collect();
            assert_eq!(seen.messages, expected, "count {count} in chunks of {chunk}");
        }
    }
}

fn a_count_is_used_up_by_its_message_and_what_follows_comes_as_it_arrives<S: Selector>(
    trigger: Trigger,
) {
    let seen = collect::<S>(trigger, b"headbody", 8, Until::Count(4), &[]);
    assert_eq!(seen.messages, [b"head", b"body"]);
    let seen = collect::<S>(trigger, b"headbody", 6, Until::Count(4), &[]);
    assert_eq!(seen.messages, [&b"head"[..], b"bo", b"dy"]);
}

fn a_count_of_0_and_a_count_beyond_the_input<S: Selector>(trigger: Trigger) {
    let next = [Until::Count(0), Until::Count(9)];
    let seen = collect::<S>(trigger, b"headbody", 3, Until::Count(4), &next);
    assert_eq!(seen.messages, [&b"head"[..], b""]);
    assert_eq!(seen.rest.unwrap(), b"body");
}

fn at_most_delivers_what_is_there_and_not_the_next_message<S: Selector>(trigger: Trigger) {
    let next = [Until::AtMost(2), Until::Bytes(b"\n")];
    let seen = collect::<S>(trigger, b"bodyGET\n", 8, Until::AtMost(3), &next);
    assert_eq!(seen.messages, [&b"bod"[..], b"yG", b"ET"]);
}

fn without_a_terminator_every_chunk_is_a_message_and_none_is_empty<S: Selector>(trigger: Trigger) {
    for until in [Until::Any, Until::Bytes(b"")] {
        let seen = collect::<S>(trigger, b"hello world", 4, until, &[]);
        assert_eq!(seen.messages, [&b"hell"[..], b"o wo", b"rld"]);
        assert_eq!(seen.rest.unwrap(), b"");
    }
}

fn empty_lines_are_messages<S: Selector>(trigger: Trigger) {
    for chunk in [1, 100] {
        let input = b"hello\n\nworld\n\n\n";
        let seen = collect::<S>(trigger, input, chunk, Until::Bytes(b"\n"), &[]);
        assert_eq!(seen.messages, [&b"hello"[..], b"", b"world", b"", b""]);
    }
}

fn the_terminator_changes_inside_the_callback<S: Selector>(trigger: Trigger) {
    // All of it in one read, so that what follows has arrived when the terminator changes.
    let next = [Until::Count(3), Until::Bytes(b"\r\n"), Until::Any];
    let seen = collect::<S>(trigger, b"a\nb\ncd\r\nend", 100, Until::Bytes(b"\n"), &next);
    assert_eq!(seen.messages, [&b"a"[..], b"b\nc", b"d", b"end"]);
}

fn a_terminator_that_is_set_later_is_found_in_what_has_arrived<S: Selector>(trigger: Trigger) {
    struct Changes;
    impl Protocol<Vec<Vec<u8>>> for Changes {
        fn opened(&mut self, talk: &mut Talk<'_, Vec<Vec<u8>>>) -> io::Result<()> {
            talk.context.timer(Some(Instant::now() + Duration::from_millis(30)));
            Ok(())
        }
        fn message(&mut self, message: &[u8], talk: &mut Talk<'_, Vec<Vec<u8>>>) -> io::Result<()> {
            talk.context.shared.push(message.to_vec());
            Ok(())
        }
        fn timeout(&mut self, talk: &mut Talk<'_, Vec<Vec<u8>>>) -> io::Result<()> {
            talk.until(Until::Bytes(b"|"));
            Ok(())
        }
    }
    let (mut client, server) = pair();
    client.write_all(b"one|two|three").unwrap();
    let mut reactor = reactor::<S, _>(trigger, Vec::new());
    reactor.add(Conversation::new(server, Changes).until(Until::Bytes(b"\r\n")));
    until(&mut reactor, |messages| *messages == [b"one", b"two"]);
}

fn a_terminator_that_begins_and_breaks_off_is_part_of_the_message<S: Selector>(trigger: Trigger) {
    for chunk in 1..=5 {
        let input = b"a\r\n\rb\r\r\n\r\nc\r\n\r\n";
        let seen = collect::<S>(trigger, input, chunk, Until::Bytes(b"\r\n\r\n"), &[]);
        assert_eq!(seen.messages, [&b"a\r\n\rb\r"[..], b"c"], "chunks of {chunk}");
    }
}

fn what_is_unterminated_at_the_end_is_not_lost<S: Selector>(trigger: Trigger) {
    let seen = collect::<S>(trigger, b"one\ntwo", 2, Until::Bytes(b"\n"), &[]);
    assert_eq!((seen.messages, seen.rest), (vec![b"one".to_vec()], Some(b"two".to_vec())));
}

/// Under edge triggering there is one event for both: a short read alone is not the end of it.
fn bytes_and_the_end_of_stream_in_one_event_are_both_found<S: Selector>(trigger: Trigger) {
    let (mut client, server) = pair();
    client.write_all(b"one\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut reactor = reactor::<S, _>(trigger, Seen::default());
    reactor.add(Conversation::new(server, Collector::default()).until(Until::Bytes(b"\n")));
    until_end(&mut reactor);
    assert_eq!(reactor.shared().messages, [b"one"]);
}

fn length_prefixed_messages_in_every_chunk_size<S: Selector>(trigger: Trigger) {
    let input = b"\0\0\0\x05hello\0\0\0\0\0\0\0\x01!";
    for chunk in 1..=input.len() {
        let seen = collect::<S>(trigger, input, chunk, Until::Prefixed, &[]);
        assert_eq!(seen.messages, [&b"hello"[..], b"", b"!"], "chunks of {chunk}");
    }
}

fn a_message_of_the_longest_length_is_delivered_and_a_longer_one_is_an_error<S: Selector>(
    trigger: Trigger,
) {
    for chunk in [1, 3, 100] {
        for (input, until) in [
            (&b"12345\r\n123456\r\n"[..], Until::Bytes(b"\r\n")),
            (b"12345\r\n1234567", Until::Bytes(b"\r\n")),
            (b"\0\0\0\x0512345\0\0\0\x06123456", Until::Prefixed),
        ] {
            let (mut client, server) = pair();
            let mut reactor = reactor::<S, _>(trigger, Seen::default());
            let conversation = Conversation::new(server, Collector::default());
            reactor.add(conversation.until(until).longest(5));
            for chunk in input.chunks(chunk) {
                let _ = client.write_all(chunk);
                reactor.turn(Some(LONG)).unwrap();
                if reactor.shared().end.is_some() {
                    break;
                }
            }
            until_end(&mut reactor);
            let seen = reactor.shared();
            assert_eq!(seen.messages, [b"12345"], "{until:?} in chunks of {chunk}");
            let Some(End::Failed(error)) = &seen.end else { panic!("{:?}", seen.end) };
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(error.to_string(), "a message is longer than 5 bytes");
        }
    }
}

fn until_end<S: Selector>(reactor: &mut Reactor<S, Seen>) {
    until(reactor, |seen| seen.end.is_some());
}

/// Python's quirk 3: `close()` inside `found_terminator` still delivers later lines.
fn after_close_no_further_message_is_delivered<S: Selector>(trigger: Trigger) {
    let (mut client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, Seen::default());
    let collector = Collector { close_after: Some(2), ..Collector::default() };
    reactor.add(Conversation::new(server, collector).until(Until::Bytes(b"\n")));
    client.write_all(b"one\ntwo\nthree\nfour\n").unwrap();
    until(&mut reactor, |seen| !seen.messages.is_empty());
    client.write_all(b"five\n").unwrap();
    a_while(&mut reactor);
    assert!(reactor.shared().end.is_none(), "it waits for the peer's end of stream");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"bye", "what was queued is sent before the end");
    drop(client);
    until_end(&mut reactor);
    assert_eq!(reactor.shared().messages, [b"one", b"two"]);
    assert!(matches!(reactor.shared().end, Some(End::Done)));
}

fn what_comes_after_close_is_thrown_away_and_does_not_reset_the_connection<S: Selector>(
    trigger: Trigger,
) {
    let (mut client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, Seen::default());
    let collector = Collector { close_after: Some(1), ..Collector::default() };
    reactor.add(Conversation::new(server, collector).until(Until::Bytes(b"\n")));
    client.write_all(b"one\n").unwrap();
    let talking = thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap(); // The conversation is closed now.
        // Far more than the buffers of both sockets hold.
        client.write_all(&vec![b'\n'; 20_000_000]).unwrap();
        answer
    });
    until_end(&mut reactor);
    assert_eq!(talking.join().unwrap(), b"bye");
    assert!(matches!(reactor.shared().end, Some(End::Done)));
    assert_eq!(reactor.shared().messages.len(), 1);
}

fn a_peer_that_never_ends_its_stream_does_not_keep_a_closed_conversation<S: Selector>(
    trigger: Trigger,
) {
    let (mut client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, Seen::default());
    let collector = Collector { close_after: Some(1), ..Collector::default() };
    reactor.add(Conversation::new(server, collector).until(Until::Bytes(b"\n")));
    client.write_all(b"one\n").unwrap();
    until_end(&mut reactor); // Within 20 s; a peer that takes nothing has 30 s.
    assert!(matches!(reactor.shared().end, Some(End::Done)));
}

/// Under edge triggering one event stands for all that has arrived, also for more than one turn reads.
fn what_one_turn_does_not_read_is_read_without_another_event<S: Selector>(trigger: Trigger) {
    struct Counts;
    impl Protocol<usize> for Counts {
        fn message(&mut self, message: &[u8], talk: &mut Talk<'_, usize>) -> io::Result<()> {
            *talk.context.shared += message.len();
            Ok(())
        }
    }
    let (client, server) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    SockRef::from(&client).set_send_buffer_size(1 << 20).unwrap();
    let mut queued = 0;
    while let Ok(sent) = (&client).write(&[b'x'; 8192]) {
        queued += sent;
    }
    let turn = 4 * echo::SCRATCH_BYTES;
    assert!(queued > turn, "the socket holds only {queued} bytes");
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(Conversation::new(Socket::from(OwnedFd::from(server)), Counts));
    reactor.turn(Some(LONG)).unwrap();
    assert_eq!(*reactor.shared(), turn, "the others get their turn");
    until(&mut reactor, |received| *received == queued);
}

/// Sends one large answer, and closes when it is done.
struct Large(Vec<u8>);

impl Protocol<Option<End>> for Large {
    fn opened(&mut self, talk: &mut Talk<'_, Option<End>>) -> io::Result<()> {
        talk.push(std::mem::take(&mut self.0));
        talk.close();
        Ok(())
    }

    fn message(&mut self, _: &[u8], _: &mut Talk<'_, Option<End>>) -> io::Result<()> {
        panic!("a closed conversation delivers nothing");
    }

    fn ended(&mut self, why: End, context: &mut Context<'_, Option<End>>) {
        *context.shared = Some(why);
    }
}

/// Bytes that show when they come in a wrong order.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

fn close_sends_all_300_000_bytes_first_though_the_peer_has_sent_too<S: Selector>(trigger: Trigger) {
    let (mut client, server) = pair();
    // Unread input at a close would reset the connection, and the last bytes would be lost.
    client.write_all(b"a question that nobody reads").unwrap();
    let reading = thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).map(|_| answer)
    });
    let mut reactor = reactor::<S, _>(trigger, None);
    reactor.add(Conversation::new(server, Large(pattern(300_000))));
    let end = run(reactor);
    assert!(matches!(end, Some(End::Done)), "{end:?}");
    assert!(reading.join().unwrap().unwrap() == pattern(300_000));
}

fn a_peer_that_leaves_early_ends_its_conversation<S: Selector>(trigger: Trigger) {
    let (client, server) = pair();
    let mut reactor = reactor::<S, _>(trigger, None);
    reactor.add(Conversation::new(server, Large(pattern(10_000_000))));
    reset(client);
    let end = run(reactor);
    assert!(matches!(end, Some(End::Failed(_))), "{end:?}");
}

/// Python's quirk 5: a peer's half-close loses queued output.
fn a_half_close_loses_no_queued_output<S: Selector>(trigger: Trigger) {
    struct Repeat;
    impl Protocol<()> for Repeat {
        fn message(&mut self, message: &[u8], talk: &mut Talk<'_, ()>) -> io::Result<()> {
            let count: usize = String::from_utf8_lossy(message).parse().unwrap();
            talk.push(pattern(count));
            Ok(())
        }
    }
    let (mut client, server) = pair();
    client.write_all(b"2000000\n3\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let reading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).map(|_| answer)
    });
    let mut reactor = reactor::<S, _>(trigger, ());
    reactor.add(Conversation::new(server, Repeat).until(Until::Bytes(b"\n")));
    run(reactor);
    assert!(reading.join().unwrap().unwrap() == [pattern(2_000_000), pattern(3)].concat());
}

/// Each answer fills the outbox: the next request is held back until it is sent, and is not
/// forgotten.
fn requests_in_one_read_with_large_answers_are_all_answered<S: Selector>(trigger: Trigger) {
    struct Large;
    impl Protocol<usize> for Large {
        fn message(&mut self, _: &[u8], talk: &mut Talk<'_, usize>) -> io::Result<()> {
            assert_eq!(talk.pending(), 0, "a request was delivered behind a full outbox");
            *talk.context.shared += 1;
            talk.push(pattern(300_000));
            Ok(())
        }
    }
    let (mut client, server) = pair();
    client.write_all(b"1\n2\n3\n4\n").unwrap();
    let reading = thread::spawn(move || {
        let mut answers = vec![0; 4 * 300_000];
        client.read_exact(&mut answers).unwrap();
        answers
    });
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(Conversation::new(server, Large).until(Until::Bytes(b"\n")).marks(0, 300_000));
    until(&mut reactor, |answered| *answered == 4);
    run(reactor);
    assert!(reading.join().unwrap() == pattern(300_000).repeat(4));
}

/// CPython's `simple_producer`: cuts what it has into pieces.
struct Pieces {
    data: Vec<u8>,
    size: usize,
    at: usize,
}

impl Producer for Pieces {
    fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        assert!(into.is_empty());
        let end = self.data.len().min(self.at + self.size);
        into.extend_from_slice(&self.data[self.at..end]);
        self.at = end;
        Ok(end < self.data.len())
    }
}

/// CPython's `string_producer`: has all at once, and says so only when it is asked again.
struct Once(Option<Vec<u8>>);

impl Producer for Once {
    fn more(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some(data) = self.0.take() else { return Ok(false) };
        into.extend_from_slice(&data);
        Ok(true)
    }
}

fn both_kinds_of_producer_between_pushed_bytes<S: Selector>(trigger: Trigger) {
    struct Mixed;
    impl Protocol<()> for Mixed {
        fn opened(&mut self, talk: &mut Talk<'_, ()>) -> io::Result<()> {
            talk.push(b"<");
            talk.produce(Pieces { data: pattern(700_000), size: 512, at: 0 });
            talk.push(b"|");
            talk.produce(Once(Some(b"all at once".to_vec())));
            talk.produce(Once(None)); // Has nothing at all.
            talk.push(b">");
            talk.close();
            Ok(())
        }

        fn message(&mut self, _: &[u8], _: &mut Talk<'_, ()>) -> io::Result<()> {
            Ok(())
        }
    }
    let (mut client, server) = pair();
    let reading = thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).map(|_| answer)
    });
    let mut reactor = reactor::<S, _>(trigger, ());
    reactor.add(Conversation::new(server, Mixed));
    run(reactor);
    let expected = [b"<", &pattern(700_000)[..], b"|all at once>"].concat();
    assert!(reading.join().unwrap().unwrap() == expected);
}

on_every_selector!(
    terminators_of_1_2_and_3_bytes_in_chunks_of_1_2_and_3,
    counts_of_1_and_6,
    a_count_is_used_up_by_its_message_and_what_follows_comes_as_it_arrives,
    a_count_of_0_and_a_count_beyond_the_input,
    at_most_delivers_what_is_there_and_not_the_next_message,
    without_a_terminator_every_chunk_is_a_message_and_none_is_empty,
    empty_lines_are_messages,
    the_terminator_changes_inside_the_callback,
    a_terminator_that_is_set_later_is_found_in_what_has_arrived,
    a_terminator_that_begins_and_breaks_off_is_part_of_the_message,
    what_is_unterminated_at_the_end_is_not_lost,
    bytes_and_the_end_of_stream_in_one_event_are_both_found,
    length_prefixed_messages_in_every_chunk_size,
    a_message_of_the_longest_length_is_delivered_and_a_longer_one_is_an_error,
    after_close_no_further_message_is_delivered,
    what_comes_after_close_is_thrown_away_and_does_not_reset_the_connection,
    a_peer_that_never_ends_its_stream_does_not_keep_a_closed_conversation,
    what_one_turn_does_not_read_is_read_without_another_event,
    close_sends_all_300_000_bytes_first_though_the_peer_has_sent_too,
    a_peer_that_leaves_early_ends_its_conversation,
    a_half_close_loses_no_queued_output,
    requests_in_one_read_with_large_answers_are_all_answered,
    both_kinds_of_producer_between_pushed_bytes,
);
