//! Clients of the `http` example that are slow, deaf, many, or gone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::site;
use super::web::{Web, ask, pattern};
use crate::hostile::resident_kib;
use crate::{LONG, connect, stop};

#[test]
fn a_request_that_does_not_become_complete_is_told_408_and_an_idle_client_nothing() {
    let folder = site();
    let server = folder.serve(&["--timeout", "300ms"]);
    let (reply, over) = ask(&server, b"GET / HTTP/1.1\r\nHo");
    assert_eq!((reply.status, over), (408, true));
    assert!(Web::connect(&server).is_over(), "idle from the start");
    let mut web = Web::connect(&server);
    assert_eq!(web.get("/", "").status, 200);
    assert!(web.is_over(), "idle after an answer");
    let mut web = Web::connect(&server);
    web.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let mut rest = Vec::new();
    web.0.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\r\n\r\nhe"), "the answer had begun");
    stop(server);
}

#[test]
fn a_client_that_takes_nothing_is_ended_and_a_slow_one_is_not() {
    let folder = site();
    folder.file("huge.bin", pattern(32 << 20));
    let server = folder.serve(&["--timeout", "1s"]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = descriptors();
    let mut deaf = Web::connect(&server);
    deaf.send("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut slow = Web::connect(&server);
    slow.send("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.head();
    // At most 2 MiB each 150 ms: this takes longer than two timeouts.
    let (mut left, mut buffer) = (32 << 20, vec![0; 2 << 20]);
    while left > 0 {
        std::thread::sleep(Duration::from_millis(150));
        let count = slow.0.read(&mut buffer).unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
    drop(slow);
    let start = Instant::now();
    while descriptors() > before {
        assert!(start.elapsed() < LONG, "the deaf one is still connected");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut rest = Vec::new();
    let _ = deaf.0.read_to_end(&mut rest);
    assert!(rest.len() < 32 << 20, "it has got all");
    stop(server);
}

#[test]
fn a_half_close_or_a_reset_anywhere_harms_nobody_else() {
    let folder = site();
    let server = folder.serve(&[]);
    let requests = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let head_end = requests.find("\r\n\r\n").unwrap() + 4;
    for cut in 0..=requests.len() {
        let mut web = Web::connect(&server);
        web.send(&requests[..cut]);
        web.0.get_mut().shutdown(Shutdown::Write).unwrap();
        if (1..head_end).contains(&cut) {
            assert_eq!(web.reply(true).status, 400, "cut at {cut}");
        } else if cut >= head_end {
            assert!(web.reply(true).body == pattern(1_000_000), "cut at {cut}");
        }
        let mut rest = Vec::new();
        web.0.read_to_end(&mut rest).unwrap();
        let complete = cut == requests.len();
        assert_eq!(rest.ends_with(b"3\r\nabc\r\n0\r\n\r\n"), complete, "cut at {cut}");

        let mut web = Web::connect(&server);
        web.send(&requests[..cut]);
        let socket = socket2::Socket::from(web.0.into_inner());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(Web::connect(&server).get("/small.txt", "").status, 200);
    stop(server);
}

#[test]
fn a_flood_of_head_body_or_requests_costs_bounded_memory() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut good = Web::connect(&server);
    good.get("/large.bin", "");
    let before = resident_kib(&server);
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let floods = [
        ("GET / HTTP/1.1\r\n", "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(2000)),
        ("GET /", "x".repeat(65536)),
        (chunked, "5\r\nhello\r\n".repeat(6000)),
        ("", "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1500)),
        ("", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000)),
        (&format!("{chunked}0\r\n"), "X: y\r\n".repeat(10_000)),
        (&format!("{chunked}5;"), "x".repeat(65536)),
    ];
    let mut deaf = Vec::new();
    for (first, then) in &floods {
        let mut flood = connect(&server);
        flood.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = flood.write_all(first.as_bytes());
        for _ in 0..100 {
            if flood.write_all(then.as_bytes()).is_err() {
                break; // The server reads no more, or has ended it.
            }
        }
        deaf.push(flood);
        assert_eq!(good.get("/small.txt", "").status, 200, "beside {first:?}");
    }
    let growth = resident_kib(&server).saturating_sub(before);
    assert!(growth < 8 * 1024, "grew by {growth} KiB");
    stop(server);
}

/// 10 000 idle connections, and the time of one request beside them.
#[test]
fn idle_connections_do_not_slow_the_others() {
    const IDLE: usize = 10_000;
    let wanted = IDLE as u64 + 500;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < wanted || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return eprintln!("SKIPPED: {wanted} descriptors are needed, and the limit is {hard}");
    }
    let folder = site();
    let server = folder.serve(&["--max-connections", "11000", "--timeout", "5m"]);
    let mut web = Web::connect(&server);
    let mut fastest = || {
        let times = (0..500).map(|_| {
            let start = Instant::now();
            assert_eq!(web.get("/small.txt", "").status, 200);
            start.elapsed()
        });
        times.min().unwrap()
    };
    let before = fastest();
    let idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let mut idle = Web::connect(&server);
            assert_eq!(idle.get("/small.txt", "").status, 200);
            idle.0.into_inner()
        })
        .collect();
    let after = fastest();
    assert!(after < before * 10, "{before:?} became {after:?} beside {} idle", idle.len());
    stop(server);
}
