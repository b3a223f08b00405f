//! Opening connections: their rate, their local addresses, and the kinds of server address.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::{Address, Plan, Session, Slice};

use crate::server::Server;

#[test]
fn connections_are_opened_no_faster_than_asked() {
    let server = Server::echo();
    let plan = Plan { connections: 30, connect_rate: Some(100.0), ..Plan::new(server.addr) };
    let began = Instant::now();
    Session::open(&plan).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(290));
}

#[test]
fn sources_take_turns() {
    let seen: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let peers = Arc::clone(&seen);
    let server = Server::start(move |_, mut stream| {
        peers.lock().unwrap().push(stream.peer_addr().unwrap().ip());
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    let sources = vec![IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3])];
    for churn in [false, true] {
        let plan =
            Plan { connections: 4, churn, sources: sources.clone(), ..Plan::new(server.addr) };
        let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(8)).unwrap();
        assert_eq!((sample.messages, sample.faults.total()), (8, 0), "{}", sample.faults);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.iter().filter(|ip| **ip == sources[0]).count() * 2, seen.len());
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 2);
    }
}

#[test]
fn churn_sends_exactly_one_message_on_each_connection() {
    const MESSAGES: usize = 50;
    for half_close in [false, true] {
        let received: Arc<Mutex<Vec<usize>>> = Arc::default();
        let counts = Arc::clone(&received);
        let server = Server::start(move |_, mut stream| {
            let (mut buffer, mut count) = ([0; 4096], 0);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                count += length;
                stream.write_all(&buffer[..length]).unwrap();
            }
            counts.lock().unwrap().push(count);
        });
        let plan = Plan { connections: 4, churn: true, half_close, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        let sample = session.run(&Slice::of_messages(MESSAGES as u64)).unwrap();
        assert_eq!((sample.messages, sample.faults.total()), (MESSAGES as u64, 0));
        // The server notices the last end of a stream a little later.
        let deadline = Instant::now() + Duration::from_secs(10);
        while received.lock().unwrap().len() < MESSAGES && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(*received.lock().unwrap(), [64; MESSAGES], "bytes of each connection");
    }
}

#[test]
fn a_unix_socket_is_an_address_too() {
    let name = format!("loadgen-test-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
            });
        }
    });
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    for connections in [1, 4] {
        let plan = Plan { connections, ..Plan::new(address.clone()) };
        let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(40)).unwrap();
        assert_eq!((sample.messages, sample.faults.total()), (40, 0), "{}", sample.faults);
    }
    std::fs::remove_file(&path).unwrap();
    let error = Session::open(&Plan::new(address)).err().unwrap().to_string();
    assert!(error.contains("start the server first"), "{error}");
}

#[test]
fn addresses_are_read_as_they_are_written() {
    for text in ["127.0.0.1:7000", "[::1]:7000", "unix:/run/echo.sock"] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    for nonsense in ["", "nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        assert!(nonsense.parse::<Address>().is_err(), "{nonsense}");
    }
}
