//! The `http` example, over real bytes.

mod hostile;
mod request;
pub(crate) mod web;

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::hostile::resident_kib;
use super::*;
use web::{Folder, Web, ask, output_of, pattern};

/// A site with a page, a small file, and a file of 1 MB.
fn site() -> Folder {
    let folder = Folder::new();
    folder.file("index.html", "<p>home</p>\n");
    folder.file("small.txt", "0123456789");
    folder.file("dir/index.html", "<p>dir</p>\n");
    folder.file("large.bin", pattern(1_000_000));
    folder
}

#[test]
fn a_connection_serves_many_requests_and_tells_each_file_by_its_type() {
    let folder = site();
    let server = folder.serve(&["--log"]);
    let mut web = Web::connect(&server);
    for _ in 0..3 {
        let reply = web.get("/small.txt", "");
        assert_eq!((reply.status, &reply.body[..]), (200, &b"0123456789"[..]));
        assert_eq!(reply.field("content-type"), "text/plain; charset=utf-8");
        assert!(httpdate::parse_http_date(reply.field("date")).is_ok(), "{}", reply.head);
        assert_eq!(web.get("/", "").body, b"<p>home</p>\n");
        assert_eq!(web.get("/dir/?query", "").field("content-type"), "text/html; charset=utf-8");
        assert_eq!(web.get("/nothing", "").status, 404);
        let moved = web.get("//dir", "");
        assert_eq!((moved.status, moved.field("location")), (301, "/dir/"));
    }
    web.get("/small.txt", "Connection: close\r\n");
    assert!(web.is_over());
    let log = stop(server);
    assert_eq!(log.lines().filter(|line| line.ends_with(" GET /small.txt 200 10")).count(), 4);
    assert!(log.contains(" GET //dir 301 0"), "{log}");
}

#[test]
fn an_old_client_is_told_that_the_connection_stays() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    web.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(web.reply(true).field("connection"), "keep-alive");
    web.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(web.reply(true).field("connection"), "close");
    assert!(web.is_over());
    stop(server);
}

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    for path in ["/small.txt", "/large.bin", "/nothing", "/dir"] {
        web.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = web.reply(false);
        let get = web.get(path, "");
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.field("content-length"), get.field("content-length"), "{path}");
    }
    stop(server);
}

#[test]
fn pipelined_requests_are_answered_in_order_also_behind_a_large_file() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let round = [&get("/small.txt"), post, &get("/large.bin"), &get("/nothing")].concat();
    web.send(round.repeat(20));
    for _ in 0..20 {
        assert_eq!(web.reply(true).body, b"0123456789");
        assert_eq!(web.reply(true).body, b"hello");
        assert!(web.reply(true).body == pattern(1_000_000));
        assert_eq!(web.reply(true).status, 404);
    }
    stop(server);
}

#[test]
fn a_body_comes_back_with_its_length_or_in_chunks() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    let sent = pattern(700_000);
    web.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", sent.len()));
    let mut writing = web.0.get_ref().try_clone().unwrap();
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || writing.write_all(&bytes).unwrap());
    assert!(web.reply(true).body == sent);
    writer.join().unwrap();

    web.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    web.send("5\r\nhello\r\n6;ext=\"a\"\r\n world\r\n0\r\nTrailer: x\r\n\r\n");
    let reply = web.reply(true);
    assert_eq!(
        (reply.field("transfer-encoding"), &reply.body[..]),
        ("chunked", &b"hello world"[..])
    );

    web.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(web.head().status, 100);
    web.send("ok");
    assert_eq!(web.reply(true).body, b"ok");

    web.send("GET /small.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(web.reply(true).body, b"0123456789", "a body of GET is read over");
    assert_eq!(web.get("/nothing", "").status, 404);
    stop(server);
}

#[test]
fn a_byte_at_a_time_is_the_same_as_all_at_once() {
    let folder = site();
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    let requests = "GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in requests.bytes() {
        web.send([byte]);
    }
    assert_eq!(web.reply(true).body, b"0123456789");
    assert_eq!(web.reply(true).body, b"hello");
    assert_eq!(web.reply(true).body, b"abc");
    stop(server);
}

#[test]
fn ranges_are_the_bytes_that_they_name() {
    let folder = site();
    folder.file("empty", "");
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    for (range, content, bytes) in [
        ("0-0", "bytes 0-0/10", &b"0"[..]),
        ("3-5", "bytes 3-5/10", b"345"),
        ("9-9", "bytes 9-9/10", b"9"),
        ("7-", "bytes 7-9/10", b"789"),
        ("-4", "bytes 6-9/10", b"6789"),
        ("-99", "bytes 0-9/10", b"0123456789"),
        ("5-99", "bytes 5-9/10", b"56789"),
    ] {
        let reply = web.get("/small.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!((reply.status, reply.field("content-range")), (206, content));
        assert_eq!(reply.body, bytes, "{range}");
    }
    let reply = web.get("/large.bin", "Range: bytes=1000-900999\r\n");
    assert!(reply.body == pattern(1_000_000)[1000..901_000], "also by a producer");
    for outside in ["10-", "10-12", "-0"] {
        let reply = web.get("/small.txt", &format!("Range: bytes={outside}\r\n"));
        assert_eq!((reply.status, reply.field("content-range")), (416, "bytes */10"), "{outside}");
    }
    assert_eq!(web.get("/empty", "Range: bytes=0-\r\n").status, 416);
    assert_eq!(web.get("/empty", "").body, b"");
    assert_eq!(web.get("/small.txt", "Range: bytes=0-1,4-5\r\n").status, 200, "ignored");
    stop(server);
}

#[test]
fn a_large_file_reaches_a_slow_reader_whole_and_needs_no_memory_of_its_size() {
    let folder = site();
    let large = pattern(64 << 20);
    folder.file("huge.bin", &large);
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    web.get("/large.bin", ""); // The buffers are there.
    let before = resident_kib(&server);
    web.send("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(web.head().field("content-length"), large.len().to_string());
    let (mut at, mut buffer, mut most) = (0, vec![0; 1 << 20], 0);
    while at < large.len() {
        let count = web.0.read(&mut buffer).unwrap();
        assert!(count > 0 && buffer[..count] == large[at..at + count], "at {at}");
        at += count;
        most = most.max(resident_kib(&server));
        std::thread::sleep(Duration::from_micros(300));
    }
    assert!(most < before + 4096, "grew from {before} to {most} KiB");
    stop(server);
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection_and_nothing_else() {
    let folder = site();
    folder.file("huge.bin", pattern(32 << 20));
    let server = folder.serve(&[]);
    let mut web = Web::connect(&server);
    web.send("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    web.head();
    std::fs::File::create(folder.path().join("huge.bin")).unwrap();
    let mut rest = Vec::new();
    let _ = web.0.read_to_end(&mut rest); // A reset, or an end before its time.
    assert!(rest.len() < 32 << 20);
    assert_eq!(Web::connect(&server).get("/small.txt", "").status, 200);
    stop(server);
}

#[test]
fn there_is_no_way_out_of_the_root() {
    let folder = site();
    let outside = Folder::new();
    outside.file("secret", "secret");
    let root = folder.path();
    symlink(outside.path().join("secret"), root.join("link")).unwrap();
    symlink(outside.path(), root.join("dirlink")).unwrap();
    symlink("../../../../../../../../etc/passwd", root.join("relative")).unwrap();
    symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("small.txt", root.join("inside")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).ok();
    let server = folder.serve(&[]);
    let secret = outside.path().file_name().unwrap().to_str().unwrap().to_owned() + "/secret";
    for path in [
        format!("/../{secret}"),
        format!("/%2e%2e/{secret}"),
        format!("/..%2f{secret}"),
        format!("/dir/../../{secret}"),
        "/../../../../../../../../../../etc/passwd".to_owned(),
    ] {
        let (reply, over) =
            ask(&server, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!((reply.status, over), (400, true), "{path}");
    }
    let mut web = Web::connect(&server);
    for path in [
        "/link",
        "/dirlink",
        "/dirlink/",
        "/dirlink/secret",
        "/relative",
        "/magic",
        "/loop",
        "/fifo",
        "/s",
        "//etc/passwd",
        "/etc/passwd",
        "/small.txt/",
        "/small.txt/x",
    ] {
        assert_eq!(web.get(path, "").status, 404, "{path}");
    }
    assert_eq!(web.get(&format!("/{}", "x".repeat(5000)), "").status, 404);
    assert_eq!(web.get("/inside", "").body, b"0123456789", "a link within the root is followed");
    stop(server);
}

/// Each request is refused with this status, the connection ends, and nothing behind it is
/// answered.
#[test]
fn what_is_wrong_is_refused_with_the_right_status() {
    let folder = site();
    let server = folder.serve(&["--longest-body", "1000", "--longest-head", "4096"]);
    let long = "x".repeat(5000);
    let next = "GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for (status, request) in [
        (400, "\0\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n".to_owned()),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
               Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (400, "GET / HTTP/1.1\nHost: a\n\nGET /small.txt HTTP/1.1\nHost: a\n\r\n\r\n".to_owned()),
        (405, "DELETE /small.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (405, "POST /small.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n".to_owned()),
        (413, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100))),
        (501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (501, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned()),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        let (reply, over) = ask(&server, (request.clone() + next).as_bytes());
        assert_eq!((reply.status, over), (status, true), "{request:?}");
        assert_eq!(reply.field("connection"), "close", "{request:?}");
        assert_eq!(reply.field("allow"), if status == 405 { "GET, HEAD" } else { "" });
    }
    stop(server);
}

/// An answer that has begun is never followed by another for the same request.
#[test]
fn a_body_that_breaks_the_rules_ends_the_connection_without_a_second_answer() {
    let folder = site();
    let server = folder.serve(&["--longest-body", "1000"]);
    let next = "GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in [
        "zz\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n\n",
        "-1\r\n",
        "3e9\r\n",
        "2\r\nab\r\n3e8\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "0\r\nX: a\nY: b\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        for path in ["POST /echo", "GET /small.txt"] {
            let mut web = Web::connect(&server);
            let head = format!("{path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            web.send(head + body + next);
            let mut all = Vec::new();
            web.0.read_to_end(&mut all).unwrap();
            let all = String::from_utf8_lossy(&all);
            assert_eq!(all.matches("HTTP/1.1").count(), 1, "{path} {body:?}: {all}");
            assert!(!all.ends_with("\r\n0\r\n\r\n"), "{path} {body:?}: must not look complete");
        }
    }
    stop(server);
}

/// A comparison with `hyper_http` is fair only if both serve the same.
#[test]
fn the_yardstick_serves_the_same_file() {
    let folder = site();
    let root = folder.path().to_str().unwrap();
    let yardstick = serve("hyper_http", &["--root", root]);
    let mut web = Web::connect(&yardstick);
    for _ in 0..2 {
        let reply = web.get("/small.txt", "");
        assert_eq!((reply.status, &reply.body[..]), (200, &b"0123456789"[..]));
    }
    assert_eq!(web.get("/nothing", "").status, 404);
}

#[test]
fn curl_understands_the_server() {
    let folder = site();
    let server = folder.serve(&[]);
    let url = |path: &str| format!("http://{}{path}", server.addr());
    let Some(large) = output_of("curl", &["-sSf", &url("/large.bin")]) else { return };
    assert!(large == pattern(1_000_000));
    let curl = |args: &[&str]| {
        String::from_utf8(output_of("curl", &[&["-sS"], args].concat()).unwrap()).unwrap()
    };
    assert_eq!(curl(&["--data", "hello", &url("/echo")]), "hello");
    assert_eq!(curl(&["-H", "Transfer-Encoding: chunked", "--data", "hi", &url("/echo")]), "hi");
    assert_eq!(curl(&["-L", &url("/dir")]), "<p>dir</p>\n");
    assert_eq!(curl(&["-r", "2-4", &url("/small.txt")]), "234");
    assert_eq!(curl(&["-0", &url("/small.txt")]), "0123456789");
    assert!(curl(&["-I", &url("/large.bin")]).contains("Content-Length: 1000000"));
    let code = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}"];
    let (home, climb, small) = (url("/"), url("/../x"), url("/small.txt"));
    assert_eq!(curl(&[&code[..], &["--path-as-is", &climb]].concat()), "400 1");
    let twice = [&code[..], &["-o", "/dev/null", &home, &small]].concat();
    assert!(curl(&twice).ends_with("200 0"), "the second request needs no connection of its own");
    let body = folder.path().join("large.bin");
    let upload = ["--data-binary", &format!("@{}", body.display()), &url("/echo")];
    assert!(output_of("curl", &upload).unwrap() == pattern(1_000_000), "with Expect: 100-continue");
    stop(server);
}
