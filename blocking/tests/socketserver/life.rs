//! The life of a request: which steps run, and in which order.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use socketserver::{Concurrency, Datagram, Failure, Handler, Server, Socket, Step};

use crate::common::{Answer, Client, DATAGRAMS, Kind, LIVES, LONG, Letters, STREAMS, WELL};

const ONE_AT_A_TIME: Concurrency = Concurrency::one_at_a_time();
const THREADS: Concurrency = Concurrency::threads();

/// The letters that one client sees.
fn letters<R: Answer>(kind: Kind, concurrency: Concurrency, handler: Letters) -> String {
    let mut server = Server::<R, _>::bind(&kind.any_address(), concurrency, handler).unwrap();
    let client = Client::request(kind, &server.address().unwrap());
    assert!(server.handle_request(Some(LONG)).unwrap());
    server.close(LONG);
    client.received()
}

/// [test_shutdown_request_called_if_verify_request_false, ErrorHandlerTest.test_sync_handled]
#[test]
fn one_at_a_time_each_life_has_its_steps_in_order_and_ends_in_a_close() {
    for (handler, expected) in LIVES {
        for kind in STREAMS {
            let seen = letters::<Socket>(kind, ONE_AT_A_TIME, handler);
            assert_eq!(seen, expected, "{kind:?} {handler:?}");
        }
        for kind in DATAGRAMS {
            let seen = letters::<Datagram>(kind, ONE_AT_A_TIME, handler);
            assert_eq!(seen, expected, "{kind:?} {handler:?}");
        }
    }
}

/// [ErrorHandlerTest.test_threading_handled]
#[test]
fn with_threads_each_life_has_its_steps_in_order_and_ends_in_a_close() {
    for (handler, expected) in LIVES {
        for kind in STREAMS {
            let seen = letters::<Socket>(kind, THREADS, handler);
            assert_eq!(seen, expected, "{kind:?} {handler:?}");
        }
        for kind in DATAGRAMS {
            let seen = letters::<Datagram>(kind, THREADS, handler);
            assert_eq!(seen, expected, "{kind:?} {handler:?}");
        }
    }
}

/// Three clients of a server that serves forever, one after the other, as CPython's `run_server`
/// does.
fn run_server<R: Answer>(kind: Kind, concurrency: Concurrency) {
    let mut server = Server::<R, _>::bind(&kind.any_address(), concurrency, WELL).unwrap();
    let (address, stopper) = (server.address().unwrap(), server.stopper());
    let serving = thread::spawn(move || {
        server.serve_forever().unwrap();
        server
    });
    for _ in 0..3 {
        let client = Client::request(kind, &address);
        let seen = if kind.is_stream() {
            client.received()
        } else {
            (0..4).map(|_| String::from_utf8(client.datagram().unwrap()).unwrap()).collect()
        };
        assert_eq!(seen, "vshf");
    }
    stopper.shutdown();
    serving.join().unwrap().close(LONG);
}

/// [test_TCPServer]
#[test]
fn tcp_server() {
    run_server::<Socket>(Kind::Tcp, ONE_AT_A_TIME);
}

/// [test_ThreadingTCPServer]
#[test]
fn threading_tcp_server() {
    run_server::<Socket>(Kind::Tcp, THREADS);
}

/// [test_UnixStreamServer]
#[test]
fn unix_stream_server() {
    run_server::<Socket>(Kind::UnixStream, ONE_AT_A_TIME);
}

/// [test_ThreadingUnixStreamServer]
#[test]
fn threading_unix_stream_server() {
    run_server::<Socket>(Kind::UnixStream, THREADS);
}

/// [test_UDPServer]
#[test]
fn udp_server() {
    run_server::<Datagram>(Kind::Udp, ONE_AT_A_TIME);
}

/// [test_ThreadingUDPServer]
#[test]
fn threading_udp_server() {
    run_server::<Datagram>(Kind::Udp, THREADS);
}

/// [test_UnixDatagramServer]
#[test]
fn unix_datagram_server() {
    run_server::<Datagram>(Kind::UnixDatagram, ONE_AT_A_TIME);
}

/// [test_ThreadingUnixDatagramServer]
#[test]
fn threading_unix_datagram_server() {
    run_server::<Datagram>(Kind::UnixDatagram, THREADS);
}

/// A stream ends for its client when it is closed, and not when its last copy is.
#[test]
fn a_copy_that_a_handler_keeps_does_not_keep_the_stream_open() {
    struct Keeper {
        verified: bool,
        kept: Arc<Mutex<Vec<Socket>>>,
    }
    impl Handler<Socket> for Keeper {
        type Session = ();

        fn verify(&self, stream: &Socket) -> bool {
            self.kept.lock().unwrap().push(stream.try_clone().unwrap());
            self.verified
        }

        fn setup(&self, _: &Socket) -> io::Result<()> {
            Ok(())
        }

        fn handle(&self, (): &mut (), mut stream: &Socket) -> io::Result<()> {
            stream.write_all(b"hello")
        }
    }
    for kind in STREAMS {
        for (verified, expected) in [(true, "hello"), (false, "")] {
            let kept = Arc::new(Mutex::default());
            let keeper = Keeper { verified, kept: Arc::clone(&kept) };
            let mut server = Server::bind(&kind.any_address(), ONE_AT_A_TIME, keeper).unwrap();
            let client = Client::connect(kind, &server.address().unwrap());
            assert!(server.handle_request(Some(LONG)).unwrap());
            assert_eq!(client.received(), expected, "{kind:?}");
            assert_eq!(kept.lock().unwrap().len(), 1);
        }
    }
}

#[test]
fn a_failure_names_its_step_and_keeps_its_source() {
    let failure = Failure::Failed(Step::Finish, io::Error::other("full"));
    assert_eq!(failure.to_string(), "request failed in finish: full");
    assert_eq!(failure.source().unwrap().to_string(), "full");
}

#[test]
fn a_sender_without_an_address_is_served_and_cannot_be_answered() {
    let kind = Kind::UnixDatagram;
    let (answered, was_answered) = mpsc::channel();
    let handler = move |datagram: &Datagram| {
        let error = datagram.reply(b"who are you?").unwrap_err().kind();
        answered.send((datagram.bytes().to_vec(), error)).unwrap();
        Ok(())
    };
    let mut server = Server::bind(&kind.any_address(), ONE_AT_A_TIME, handler).unwrap();
    let nameless = UnixDatagram::unbound().unwrap();
    let address = server.address().unwrap().to_string();
    for text in [&b"hello"[..], b""] {
        nameless.send_to(text, address.strip_prefix("unix:").unwrap()).unwrap();
        assert!(server.handle_request(Some(LONG)).unwrap());
        let expected = (text.to_vec(), ErrorKind::NotConnected);
        assert_eq!(was_answered.try_recv().unwrap(), expected);
    }
}

#[test]
fn a_datagram_that_may_be_cut_is_dropped_and_the_next_one_is_whole() {
    let kind = Kind::UnixDatagram;
    let length =
        |datagram: &Datagram| datagram.reply(datagram.bytes().len().to_string().as_bytes());
    let mut server = Server::bind(&kind.any_address(), ONE_AT_A_TIME, length).unwrap();
    let client = Client::connect(kind, &server.address().unwrap());
    client.socket.send(&vec![0; echo::SCRATCH_BYTES]).unwrap();
    client.socket.send(&vec![0; echo::SCRATCH_BYTES - 1]).unwrap();
    assert!(server.handle_request(Some(LONG)).unwrap());
    drop(server);
    assert_eq!(client.received(), (echo::SCRATCH_BYTES - 1).to_string());
}
