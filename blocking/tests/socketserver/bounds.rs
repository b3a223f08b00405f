//! How many requests are served at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use socketserver::{Concurrency, Datagram, Server, Socket};

use crate::common::{A_MOMENT, Answer, Client, Kind, LONG, STREAMS, WELL, until};
use crate::on_every_kind;

/// Four requests that all wait to be let go: `at_once` of them are served at the same time, and no
/// more.
fn serves<R: Answer>(kind: Kind, concurrency: Concurrency, at_once: usize) {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, ends) = (Arc::clone(&begun), Arc::clone(&ended));
    let handler = move |_: &R| {
        begins.fetch_add(1, Ordering::SeqCst);
        let _ = wait.lock().unwrap().recv();
        ends.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let mut server = Server::<R, _>::bind(&kind.any_address(), concurrency, handler).unwrap();
    let (address, stopper) = (server.address().unwrap(), server.stopper());
    let serving = thread::spawn(move || server.serve_forever().unwrap());
    let _clients: Vec<_> = (0..4).map(|_| Client::request(kind, &address)).collect();
    until(|| begun.load(Ordering::SeqCst) == at_once);
    thread::sleep(A_MOMENT);
    assert_eq!(begun.load(Ordering::SeqCst), at_once, "{kind:?} {concurrency:?}");
    for ended_now in 1..=4 {
        go_on.send(()).unwrap();
        until(|| ended.load(Ordering::SeqCst) == ended_now);
        until(|| begun.load(Ordering::SeqCst) == (at_once + ended_now).min(4));
    }
    stopper.shutdown();
    serving.join().unwrap();
}

#[test]
fn at_most_as_many_threads_serve_as_are_allowed() {
    for (allowed, at_once) in [(0, 1), (3, 3), (1000, 4)] {
        let threads = Concurrency::threads().at_most(allowed);
        on_every_kind(
            |kind| serves::<Socket>(kind, threads, at_once),
            |kind| serves::<Datagram>(kind, threads, at_once),
        );
    }
}

#[test]
fn one_at_a_time_is_one_at_a_time() {
    let one = Concurrency::one_at_a_time().at_most(10);
    on_every_kind(|kind| serves::<Socket>(kind, one, 1), |kind| serves::<Datagram>(kind, one, 1));
}

/// [test_threads_reaped]
#[test]
fn threads_are_reaped() {
    fn reaps<R: Answer>(kind: Kind) {
        let address = kind.any_address();
        let mut server = Server::<R, _>::bind(&address, Concurrency::threads(), WELL).unwrap();
        let address = server.address().unwrap();
        for _ in 0..10 {
            let client = Client::request(kind, &address);
            assert!(server.handle_request(Some(LONG)).unwrap());
            // The last letter: the thread is about to end.
            while client.datagram().is_some_and(|letters| !letters.contains(&b'f')) {}
        }
        until(|| server.active() == 0);
    }
    on_every_kind(reaps::<Socket>, reaps::<Datagram>);
}

/// A loop that sleeps because all threads are busy must learn that one has ended.
#[test]
fn a_place_that_becomes_free_is_taken_at_once() {
    for kind in STREAMS {
        let concurrency = Concurrency::threads().at_most(1);
        let mut server = Server::<Socket, _>::bind(&kind.any_address(), concurrency, WELL).unwrap();
        let (address, stopper) = (server.address().unwrap(), server.stopper());
        let serving = thread::spawn(move || server.serve_forever().unwrap());
        let clients: Vec<_> = (0..100).map(|_| Client::request(kind, &address)).collect();
        for client in clients {
            assert_eq!(client.received(), "vshf");
        }
        stopper.shutdown();
        serving.join().unwrap();
    }
}
