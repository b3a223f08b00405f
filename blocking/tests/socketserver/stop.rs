//! When the loop ends, and what a close waits for.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socketserver::{Address, Concurrency, Datagram, Handler, Server, Socket, Stopper};

use crate::common::{A_MOMENT, Answer, Client, Kind, LONG, STREAMS, WELL};
use crate::on_every_kind;

fn serving<R: Answer, H: Handler<R>>(mut server: Server<R, H>) -> JoinHandle<Server<R, H>> {
    thread::spawn(move || {
        server.serve_forever().unwrap();
        server
    })
}

/// Calls `shutdown` on another thread. The channel tells when it has returned.
fn shut_down(stopper: &Stopper) -> mpsc::Receiver<()> {
    let (returned, has_returned) = mpsc::channel();
    let stopper = stopper.clone();
    thread::spawn(move || {
        stopper.shutdown();
        returned.send(()).unwrap();
    });
    has_returned
}

/// [test_shutdown] Often, the loop has not even begun when it is shut down.
#[test]
fn shutdown_20_times_immediately() {
    fn shutdown_20_times<R: Answer>(kind: Kind) {
        let servers: Vec<_> = (0..20)
            .map(|_| Server::<R, _>::bind(&kind.any_address(), Concurrency::threads(), WELL))
            .collect();
        let loops: Vec<_> = servers
            .into_iter()
            .map(|server| {
                let server = server.unwrap();
                let stopper = server.stopper();
                let serving = serving(server);
                shut_down(&stopper).recv_timeout(LONG).unwrap();
                serving
            })
            .collect();
        for serving in loops {
            serving.join().unwrap();
        }
    }
    on_every_kind(shutdown_20_times::<Socket>, shutdown_20_times::<Datagram>);
}

/// A loop that polled every 0.5 s would need about 5 s for these shutdowns.
#[test]
fn shutdown_has_no_poll_interval_to_wait_for() {
    let idle = |kind: Kind| {
        let address = kind.any_address();
        Server::<Socket, _>::bind(&address, Concurrency::one_at_a_time(), WELL).unwrap()
    };
    let servers: Vec<_> = (0..20).map(|at| idle(STREAMS[at % 2])).collect();
    let stoppers: Vec<_> = servers.iter().map(Server::stopper).collect();
    let loops: Vec<_> = servers.into_iter().map(serving).collect();
    thread::sleep(A_MOMENT); // The loops sleep in poll(2).
    let start = Instant::now();
    for stopper in &stoppers {
        stopper.shutdown();
    }
    let took = start.elapsed();
    for serving in loops {
        serving.join().unwrap();
    }
    assert!(took < Duration::from_millis(500), "20 shutdowns took {took:?}");
}

#[test]
fn shutdown_waits_for_the_request_in_the_loop_and_no_other_is_taken() {
    fn waits<R: Answer>(kind: Kind, forever: bool) {
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let served = Arc::new(AtomicBool::new(false));
        let was_served = Arc::clone(&served);
        let handler = move |request: &R| {
            request.answer(b"begun")?;
            let _ = wait.lock().unwrap().recv();
            was_served.store(true, Ordering::SeqCst);
            Ok(())
        };
        let one_at_a_time = Concurrency::one_at_a_time();
        let mut server = Server::<R, _>::bind(&kind.any_address(), one_at_a_time, handler).unwrap();
        let (address, stopper) = (server.address().unwrap(), server.stopper());
        let serving = thread::spawn(move || match forever {
            true => server.serve_forever().unwrap(),
            false => assert!(server.handle_request(None).unwrap()),
        });
        let client = Client::request(kind, &address);
        assert_eq!(client.datagram().unwrap(), b"begun");
        let late = Client::request(kind, &address);
        let returned = shut_down(&stopper);
        assert!(returned.recv_timeout(A_MOMENT).is_err(), "{kind:?}: it did not wait");
        go_on.send(()).unwrap();
        returned.recv_timeout(LONG).unwrap();
        assert!(served.load(Ordering::SeqCst));
        drop(go_on);
        serving.join().unwrap();
        // The server is gone. A connection that was never accepted is reset.
        late.socket.set_nonblocking(true).unwrap();
        let received = (&late.socket).read(&mut [0; 1]);
        assert!(!received.is_ok_and(|received| received > 0), "{kind:?}");
    }
    for forever in [true, false] {
        on_every_kind(
            |kind| waits::<Socket>(kind, forever),
            |kind| waits::<Datagram>(kind, forever),
        );
    }
}

#[test]
fn a_handler_may_shut_its_own_server_down() {
    fn shuts_down<R: Answer>(kind: Kind) {
        for concurrency in [Concurrency::one_at_a_time(), Concurrency::threads()] {
            let (give, take) = mpsc::channel::<Stopper>();
            let take = Mutex::new(take);
            let handler = move |request: &R| {
                take.lock().unwrap().recv().unwrap().shutdown();
                request.answer(b"it returned")
            };
            let server = Server::<R, _>::bind(&kind.any_address(), concurrency, handler).unwrap();
            let address = server.address().unwrap();
            give.send(server.stopper()).unwrap();
            let serving = serving(server);
            let client = Client::request(kind, &address);
            assert_eq!(client.datagram().unwrap(), b"it returned");
            serving.join().unwrap();
        }
    }
    on_every_kind(shuts_down::<Socket>, shuts_down::<Datagram>);
}

#[test]
fn a_stop_is_for_good() {
    let address = Kind::Tcp.any_address();
    let mut server = Server::<Socket, _>::bind(&address, Concurrency::threads(), WELL).unwrap();
    let stopper = server.stopper();
    stopper.shutdown(); // No loop runs: it does not wait.
    assert!(stopper.requested());
    let _client = Client::request(Kind::Tcp, &server.address().unwrap());
    server.serve_forever().unwrap();
    assert!(!server.handle_request(None).unwrap());
}

#[test]
fn handle_request_returns_after_its_limit_or_a_stop() {
    fn returns<R: Answer>(kind: Kind) {
        let address = kind.any_address();
        let mut server = Server::<R, _>::bind(&address, Concurrency::threads(), WELL).unwrap();
        let start = Instant::now();
        assert!(!server.handle_request(Some(A_MOMENT)).unwrap());
        assert!(start.elapsed() >= A_MOMENT);
        assert!(!server.handle_request(Some(Duration::ZERO)).unwrap());
        let stopper = server.stopper();
        let waiting = thread::spawn(move || server.handle_request(None).unwrap());
        thread::sleep(A_MOMENT);
        assert!(!waiting.is_finished());
        shut_down(&stopper).recv_timeout(LONG).unwrap();
        assert!(!waiting.join().unwrap());
    }
    on_every_kind(returns::<Socket>, returns::<Datagram>);
}

/// [test_close_immediately, test_context_manager]
#[test]
fn close_immediately() {
    fn close<R: Answer>(kind: Kind) {
        let address = kind.any_address();
        let server = Server::<R, _>::bind(&address, Concurrency::threads(), WELL).unwrap();
        let address = server.address().unwrap();
        server.close(LONG);
        // The address is free.
        drop(Server::<R, _>::bind(&address, Concurrency::threads(), WELL).unwrap());
        if let Address::Unix(path) = &address {
            assert!(!path.exists());
        }
    }
    on_every_kind(close::<Socket>, close::<Datagram>);
}

/// Answers at the beginning, and a moment later in `finish`.
struct Slow(Arc<AtomicBool>);

impl<R: Answer> Handler<R> for Slow {
    type Session = ();

    fn setup(&self, request: &R) -> io::Result<()> {
        request.answer(b"begun")
    }

    fn handle(&self, (): &mut (), _: &R) -> io::Result<()> {
        thread::sleep(A_MOMENT);
        Ok(())
    }

    fn finish(&self, (): (), request: &R) -> io::Result<()> {
        request.answer(b" and ended")?;
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn threads_are_joined_on_close() {
    fn joins<R: Answer>(kind: Kind) {
        let finished = Arc::new(AtomicBool::new(false));
        let slow = Slow(Arc::clone(&finished));
        let address = kind.any_address();
        let mut server = Server::<R, _>::bind(&address, Concurrency::threads(), slow).unwrap();
        let client = Client::request(kind, &server.address().unwrap());
        assert!(server.handle_request(Some(LONG)).unwrap());
        assert_eq!(client.datagram().unwrap(), b"begun");
        assert_eq!(server.active(), 1);
        assert!(!finished.load(Ordering::SeqCst));
        server.close(LONG);
        assert!(finished.load(Ordering::SeqCst), "{kind:?}");
        // The thread held the other reference. It is gone with the handler.
        assert_eq!(Arc::strong_count(&finished), 1, "{kind:?}");
        assert_eq!(client.received(), " and ended", "{kind:?}: it was cut off");
    }
    on_every_kind(joins::<Socket>, joins::<Datagram>);
}

/// Echoes to the end of the stream.
fn echo(stream: &Socket) -> io::Result<()> {
    let (mut from, mut to) = (stream, stream);
    io::copy(&mut from, &mut to).map(drop)
}

#[test]
fn a_close_ends_a_silent_client_behind_what_has_arrived() {
    for kind in STREAMS {
        let address = kind.any_address();
        let mut server = Server::bind(&address, Concurrency::threads(), echo).unwrap();
        let mut client = Client::connect(kind, &server.address().unwrap());
        assert!(server.handle_request(Some(LONG)).unwrap());
        client.socket.write_all(b"hello").unwrap();
        let start = Instant::now();
        server.close(LONG);
        assert!(start.elapsed() < LONG / 2, "{kind:?}: it waited for the client");
        assert_eq!(client.received(), "hello");
    }
}

#[test]
fn a_close_cuts_off_a_client_that_does_not_read() {
    for kind in STREAMS {
        let flood = |mut stream: &Socket| loop {
            stream.write_all(&[0; 64 * 1024])?;
        };
        let address = kind.any_address();
        let mut server = Server::bind(&address, Concurrency::threads(), flood).unwrap();
        let client = Client::connect(kind, &server.address().unwrap());
        assert!(server.handle_request(Some(LONG)).unwrap());
        thread::sleep(A_MOMENT); // Until the buffers are full.
        let start = Instant::now();
        server.close(A_MOMENT);
        assert!(start.elapsed() >= A_MOMENT && start.elapsed() < LONG, "{kind:?}");
        // The buffers hold far less than this. The end may be a reset.
        let _ = io::copy(&mut (&client.socket).take(256 * 1024 * 1024), &mut io::sink());
        assert_eq!((&client.socket).read(&mut [0; 1]).unwrap(), 0, "{kind:?}");
    }
}

#[test]
fn a_close_gives_a_handler_up_that_does_not_end() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let stuck = move |_: &Socket| {
        let _ = wait.lock().unwrap().recv();
        Ok(())
    };
    let address = Kind::Tcp.any_address();
    let mut server = Server::bind(&address, Concurrency::threads(), stuck).unwrap();
    let _client = Client::connect(Kind::Tcp, &server.address().unwrap());
    assert!(server.handle_request(Some(LONG)).unwrap());
    let start = Instant::now();
    server.close(A_MOMENT);
    assert!(start.elapsed() < LONG);
    drop(go_on);
}
