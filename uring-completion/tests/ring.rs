//! What the ring promises about operations, buffers and bytes, seen from outside.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test they are the report.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{ECANCELED, ENOBUFS};
use socket2::{Domain, Socket, Type};
use uring_completion::{Buffer, Completion, Ring};

/// The longest that any of these waits for something that is due at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A wait for something that must not come.
const SILENCE: Duration = Duration::from_millis(50);

const KEY: usize = 7;

/// A ring with four small buffers of 16 bytes and one large one of 64; `None`, and a line on
/// stderr, where the kernel refuses one.
fn ring(entries: u32) -> Option<Ring> {
    match Ring::new(entries, (4, 16), (1, 64)) {
        Ok(ring) => Some(ring),
        Err(error) if error.to_string().contains("is not available") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two ends of a connection: for the ring, and for the peer.
fn pair() -> (Rc<Socket>, Socket) {
    let (ours, peer) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (Rc::new(ours), peer)
}

fn next(ring: &mut Ring) -> Completion {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        assert!(Instant::now() < deadline, "nothing has completed");
        ring.enter(Some(PATIENCE)).unwrap();
    }
}

/// The next completion, which must be of a receive: its bytes, and whether it was the last.
fn next_received(ring: &mut Ring) -> (io::Result<Option<Buffer>>, bool) {
    match next(ring) {
        Completion::Received { key, bytes, last } => {
            assert_eq!(key, KEY);
            (bytes, last)
        }
        other => panic!("not a receive: {other:?}"),
    }
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

#[test]
fn a_receive_goes_on_until_the_end_of_the_stream() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    ring.receive(&stream, KEY);
    for text in ["one", "two", "three"] {
        peer.write_all(text.as_bytes()).unwrap();
        let (bytes, last) = next_received(&mut ring);
        assert_eq!((&*bytes.unwrap().unwrap(), last), (text.as_bytes(), false));
    }
    drop(peer);
    let (bytes, last) = next_received(&mut ring);
    assert!(bytes.unwrap().is_none() && last);
}

#[test]
fn buffers_that_are_held_run_out_and_dropped_ones_come_back() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    peer.write_all(&[b'x'; 5 * 16]).unwrap();
    ring.receive(&stream, KEY);
    let held: Vec<Buffer> = (0..4).map(|_| next_received(&mut ring).0.unwrap().unwrap()).collect();
    let (bytes, last) = next_received(&mut ring);
    assert!(is(&bytes.unwrap_err(), ENOBUFS) && last, "four buffers cannot hold a fifth piece");
    assert!(held.iter().all(|buffer| buffer[..] == [b'x'; 16]), "nobody wrote to what we hold");
    drop(held);
    // More often than there are buffers, and each comes back each time.
    ring.receive(&stream, KEY);
    for round in 0..20 {
        let (bytes, last) = next_received(&mut ring);
        assert!(bytes.unwrap().is_some() && !last, "round {round}");
        peer.write_all(&[b'x'; 16]).unwrap();
    }
}

#[test]
fn a_bulk_receive_brings_one_piece_of_the_larger_size() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    peer.write_all(&[b'y'; 100]).unwrap();
    ring.receive_bulk(&stream, KEY);
    let (bytes, last) = next_received(&mut ring);
    assert_eq!((bytes.unwrap().unwrap().len(), last), (64, true));
    ring.enter(Some(SILENCE)).unwrap();
    assert!(ring.next_completion().is_none(), "nothing more was asked for");
}

#[test]
fn a_send_straight_out_of_the_received_buffer_arrives() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    ring.receive(&stream, KEY);
    for _ in 0..10 {
        peer.write_all(b"hello").unwrap();
        // A send that succeeds ends no wait: it may come before the receive that it shares a wait
        // with.
        let bytes = loop {
            match next(&mut ring) {
                Completion::Received { bytes, .. } => break bytes.unwrap().unwrap(),
                Completion::Sent { key, result, outgoing } => {
                    assert_eq!((key, result.unwrap(), outgoing.rest().len()), (KEY, 5, 0));
                }
                other => panic!("{other:?}"),
            }
        };
        ring.try_send(&stream, bytes.into(), KEY);
        ring.enter(Some(Duration::ZERO)).unwrap();
        let mut echoed = [0; 5];
        peer.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"hello");
    }
}

#[test]
fn what_the_peer_does_not_take_comes_back_as_the_rest() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251) as u8).collect();
    ring.try_send(&stream, bytes.clone().into(), KEY);
    let Completion::Sent { result, outgoing, .. } = next(&mut ring) else { panic!("not a send") };
    let sent = result.unwrap();
    assert!(sent > 0 && outgoing.rest() == &bytes[sent..], "{sent} bytes are gone");
    ring.try_send(&stream, outgoing, KEY);
    let Completion::Sent { result, mut outgoing, .. } = next(&mut ring) else { panic!("no send") };
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    // The patient form waits for the peer, who reads it all in order.
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 4_000_000];
        peer.read_exact(&mut all).map(|()| all)
    });
    while !outgoing.rest().is_empty() {
        ring.send(&stream, outgoing, KEY);
        let Completion::Sent { result, outgoing: rest, .. } = next(&mut ring) else {
            panic!("no send")
        };
        assert!(result.unwrap() > 0);
        outgoing = rest;
    }
    assert!(reader.join().unwrap().unwrap() == bytes);
}

#[test]
fn a_late_cancellation_does_not_meet_the_next_operation_in_the_same_place() {
    let Some(mut ring) = ring(8) else { return };
    let ((first, first_peer), (second, mut second_peer)) = (pair(), pair());
    let ended = ring.receive(&first, KEY);
    drop(first_peer);
    assert!(next_received(&mut ring).1, "the first has ended, and its place is free");
    ring.receive(&second, KEY);
    ring.cancel(ended);
    ring.enter(Some(SILENCE)).unwrap();
    assert!(ring.next_completion().is_none(), "the second was cancelled in its stead");
    second_peer.write_all(b"still here").unwrap();
    assert_eq!(&*next_received(&mut ring).0.unwrap().unwrap(), b"still here");
}

#[test]
fn a_cancelled_operation_ends_once() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, _peer) = pair();
    let receive = ring.receive(&stream, KEY);
    ring.enter(Some(Duration::ZERO)).unwrap();
    ring.cancel(receive);
    ring.cancel(receive);
    let (bytes, last) = next_received(&mut ring);
    assert!(is(&bytes.unwrap_err(), ECANCELED) && last);
    ring.enter(Some(SILENCE)).unwrap();
    assert!(ring.next_completion().is_none());
}

#[test]
fn more_operations_and_completions_than_the_queues_hold_are_all_served() {
    let Some(mut ring) = ring(1) else { return };
    let mut pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    for (key, (stream, peer)) in pairs.iter_mut().enumerate() {
        peer.write_all(b"x").unwrap();
        ring.receive_bulk(stream, key);
    }
    let mut served = [false; 100];
    while served.contains(&false) {
        let Completion::Received { key, bytes, .. } = next(&mut ring) else { panic!("no receive") };
        match bytes {
            Ok(bytes) => {
                assert_eq!(&*bytes.unwrap(), b"x");
                assert!(!std::mem::replace(&mut served[key], true), "{key} was served twice");
            }
            // There is but one buffer for them all.
            Err(error) if is(&error, ENOBUFS) => drop(ring.receive_bulk(&pairs[key].0, key)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn failures_that_the_queue_has_no_room_for_are_not_taken_for_success() {
    let Some(mut ring) = ring(1) else { return };
    let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
    for (stream, _) in &pairs {
        stream.set_nonblocking(true).unwrap();
        while stream.send(&[b'z'; 4096]).is_ok() {}
        ring.try_send(stream, vec![b'z'; 4096].into(), KEY);
    }
    for _ in &pairs {
        let Completion::Sent { result, .. } = next(&mut ring) else { panic!("not a send") };
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_ring_that_is_dropped_ends_its_operations_and_closes_their_streams() {
    let Some(mut ring) = ring(8) else { return };
    let (stream, mut peer) = pair();
    ring.receive(&stream, KEY);
    ring.send(&stream, vec![b'z'; 4_000_000].into(), KEY);
    ring.send(&stream, vec![b'z'; 4_000_000].into(), KEY);
    ring.enter(Some(SILENCE)).unwrap();
    drop(stream);
    drop(ring);
    // End of stream behind what was sent, rather than a time-out: nobody holds the other end.
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert!(received.len() < 8_000_000);
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let Some(mut ring) = ring(8) else { return };
    let start = Instant::now();
    ring.enter(Some(SILENCE)).unwrap();
    assert!(start.elapsed() >= SILENCE && ring.next_completion().is_none());
}

#[test]
fn a_stock_that_is_no_power_of_two_is_refused_in_words() {
    let Some(_) = ring(8) else { return };
    let Err(error) = Ring::new(8, (3, 16), (1, 64)) else {
        panic!("the kernel took three buffers")
    };
    assert_eq!(error.raw_os_error().map(Errno::from_raw), None);
    assert!(error.to_string().starts_with("io_uring is not available"), "{error}");
}
