use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Instant;

use super::*;

/// The echo server of this package, and a forwarder in front of it.
fn forwarded(args: &[&str]) -> (Process, Process) {
    let mut echo = Command::new(env!("CARGO_BIN_EXE_epoll-selector"));
    let echo = Process::start(echo.args(["--addr", "127.0.0.1:0"])).unwrap();
    let to = echo.addr().to_string();
    let forward = serve("forward", &[&["--to", &to], args].concat());
    (echo, forward)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn every_byte_and_the_end_of_stream_pass_in_both_directions() {
    let (echo, forward) = forwarded(&[]);
    let sent = pattern(5_000_000);
    let mut writing = connect(&forward);
    let mut reading = writing.try_clone().unwrap();
    let expected = sent.clone();
    let reader = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100)); // All buffers on the way fill up first.
        let mut received = Vec::new();
        reading.read_to_end(&mut received).unwrap();
        assert!(received == expected);
    });
    writing.write_all(&sent).unwrap();
    writing.shutdown(Shutdown::Write).unwrap();
    reader.join().unwrap();
    stop(forward);
    stop(echo);
}

#[test]
fn an_upstream_that_refuses_ends_the_client() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let forward = serve("forward", &["--to", &closed.to_string(), "-v"]);
    let mut client = connect(&forward);
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(stop(forward).contains("refused"));
}

#[test]
fn a_reset_of_the_upstream_is_passed_on_as_a_reset() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = serve("forward", &["--to", &upstream.local_addr().unwrap().to_string()]);
    let mut client = connect(&forward);
    client.write_all(b"hello").unwrap();
    let (server, _) = upstream.accept().unwrap();
    socket2::Socket::from(server).set_linger(Some(Duration::ZERO)).unwrap();
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    stop(forward);
}

#[test]
fn a_client_that_resets_ends_its_upstream() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = serve("forward", &["--to", &upstream.local_addr().unwrap().to_string()]);
    let client = connect(&forward);
    let (mut server, _) = upstream.accept().unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    socket2::Socket::from(client).set_linger(Some(Duration::ZERO)).unwrap();
    assert!(matches!(server.read(&mut [0; 1]), Ok(0) | Err(_)));
    stop(forward);
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream_from_sending() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = serve("forward", &["--to", &upstream.local_addr().unwrap().to_string()]);
    let _client = connect(&forward);
    let (mut server, _) = upstream.accept().unwrap();
    server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut taken = 0;
    while taken < 200 << 20 {
        match server.write(&chunk) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    assert!(taken < 64 << 20, "{taken} bytes were taken for a client that reads nothing");
    stop(forward);
}

#[test]
fn a_delay_a_rate_and_a_cut_make_a_bad_network() {
    let (echo, forward) = forwarded(&["--delay", "50ms"]);
    let start = Instant::now();
    assert_eq!(exchange(&forward, b"late"), b"late");
    assert!(start.elapsed() >= Duration::from_millis(100), "50 ms in each direction");
    stop(forward);
    stop(echo);

    let (echo, forward) = forwarded(&["--rate", "100000"]);
    let (start, sent) = (Instant::now(), pattern(30_000));
    assert!(exchange(&forward, &sent) == sent);
    assert!(start.elapsed() >= Duration::from_millis(250), "30 000 bytes at 100 000 a second");
    stop(forward);
    stop(echo);

    let (echo, forward) = forwarded(&["--cut", "1000"]);
    assert_eq!(exchange(&forward, &[b'x'; 1000]), [b'x'; 1000]);
    let mut client = connect(&forward);
    client.write_all(&[b'x'; 1001]).unwrap();
    let mut received = Vec::new();
    assert!(client.read_to_end(&mut received).is_err(), "it is reset");
    stop(forward);
    stop(echo);
}
