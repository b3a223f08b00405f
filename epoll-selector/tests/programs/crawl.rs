//! The `crawl` example, against the `http` example and against servers that mean harm.

mod links;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use server_process::process::Ended;

use super::http::web::Folder;
use super::*;

/// Runs the crawler to its end.
fn crawl(addr: SocketAddr, path: &str, args: &[&str]) -> Ended {
    let mut command = example("crawl");
    command.arg(format!("http://{addr}{path}"));
    let quick = [["--rate", "1000000"], ["--back-off", "10ms"], ["--timeout", "500ms"]];
    command.args(quick.iter().filter(|option| !args.contains(&option[0])).flatten()).args(args);
    Process::run_to_end(&mut command, LONG).unwrap()
}

#[track_caller]
fn ends(ended: &Ended, code: i32, lines: &[&str]) {
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    for line in lines {
        assert!(ended.stdout.contains(line), "{line:?} is missing in {ended:?}");
    }
}

/// A site of 500 pages: each links to its two children, to its parent, and to others on the way.
fn five_hundred_pages() -> Folder {
    let folder = Folder::new();
    for page in 0..500 {
        let (left, right) = (2 * page + 1, 2 * page + 2);
        let child = |child: usize| match child {
            0..500 => format!("<a href=\"{child}.html#top\">a child</a>"),
            _ => "<img src='/missing.png'>".to_owned(),
        };
        let others = format!("<a href=./{}.html><a href=http://elsewhere.invalid/>", page / 2);
        folder.file(&format!("{page}.html"), child(left) + &child(right) + &others);
    }
    let first: String = (0..40).map(|page| format!("<a href={page}.html>")).collect();
    folder.file("index.html", first + "<a href=gone.html>");
    folder
}

#[test]
fn five_hundred_pages_are_each_fetched_once_by_sixteen_connections() {
    let folder = five_hundred_pages();
    let server = folder.serve(&["--log"]);
    let ended = crawl(server.addr().socket_addr().unwrap(), "", &["--connections", "16"]);
    ends(&ended, 1, &["503 pages, ", "status 200: 501", "status 404: 2"]);
    ends(&ended, 1, &["broken: /gone.html on /: status 404", "broken: /missing.png on /"]);
    assert_eq!(ended.stdout.matches("broken: ").count(), 2);
    assert!(ended.stdout.contains(" 16 connections, 0 retries"), "{}", ended.stdout);

    let log = stop(server);
    let mut requests: BTreeMap<&str, u32> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(" GET ")) {
        *requests.entry(line.split(' ').rev().nth(2).unwrap()).or_default() += 1;
    }
    assert_eq!(requests.len(), 503);
    assert!(requests.values().all(|count| *count == 1), "{requests:?}");
}

#[test]
fn a_bound_on_pages_and_a_rate_are_kept() {
    let folder = five_hundred_pages();
    let server = folder.serve(&[]);
    let start = Instant::now();
    let ended =
        crawl(server.addr().socket_addr().unwrap(), "/0.html", &["--pages", "20", "--rate", "50"]);
    ends(&ended, 0, &["20 pages, ", "not followed, because of --pages: "]);
    assert!(start.elapsed() >= Duration::from_millis(360), "19 times 20 ms, less one CATCH_UP");
    stop(server);
}

/// A server in a thread: `answer` has the number of the connection.
fn server(answer: impl Fn(u32, TcpStream) -> std::io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            let _ = answer(number, stream.unwrap()); // The crawler may have had enough.
        }
    });
    addr
}

/// Reads a request's head, and returns its path.
fn request(stream: &TcpStream) -> std::io::Result<String> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

const HTML: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";

#[test]
fn a_server_that_hangs_is_given_up_after_the_retries() {
    let (kept, held) = std::sync::mpsc::channel();
    let addr = server(move |_, stream| {
        let _ = kept.send(stream); // Open, and silent.
        Ok(())
    });
    let ended = crawl(addr, "/", &["--timeout", "100ms"]);
    ends(&ended, 1, &["0 pages", "3 connections, 2 retries", "broken: /", "timed out"]);
    drop(held);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ends(&crawl(closed, "/", &[]), 1, &["2 retries", "refused"]);
}

#[test]
fn a_page_is_tried_again_after_a_reset_or_an_early_end() {
    let addr = server(|number, mut stream| {
        request(&stream)?;
        match number {
            1 => return socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)),
            2 => stream.write_all(format!("{HTML}Content-Length: 100\r\n\r\nearly").as_bytes())?,
            _ => stream.write_all(format!("{HTML}Content-Length: 4\r\n\r\nhtml").as_bytes())?,
        }
        Ok(())
    });
    ends(&crawl(addr, "/", &[]), 0, &["1 pages, 4 bytes, 3 connections, 2 retries"]);
}

#[test]
fn redirects_are_followed_within_the_site_and_have_a_bound() {
    let addr = server(|_, mut stream| {
        loop {
            let to = match request(&stream)?.as_str() {
                "/" => "a".to_owned(),
                "/a" => "/loop".to_owned(),
                "/loop" => "/loop".to_owned(),
                "/away" => "http://elsewhere.invalid/".to_owned(),
                "/none" => String::new(),
                path => format!("{path}x"),
            };
            let location = if to.is_empty() { to } else { format!("Location: {to}\r\n") };
            let head = format!("HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes())?;
        }
    });
    ends(&crawl(addr, "/", &[]), 0, &["3 pages", "status 302: 3", " 1 connections"]);
    ends(&crawl(addr, "/away", &[]), 0, &["1 pages"]);
    ends(&crawl(addr, "/none", &[]), 1, &["broken: /none", "without Location"]);
    ends(&crawl(addr, "/x", &[]), 1, &["6 pages", "broken: /xxxxxx on ", "more than 5 redirects"]);
}

#[test]
fn every_form_of_a_body_is_read() {
    let addr = server(|_, mut stream| {
        let body = match request(&stream)?.as_str() {
            "/" => "Content-Length: 32\r\n\r\n<a href=chunked><a href=until-end>".to_owned(),
            "/chunked" => {
                let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
                stream.write_all(interim.as_bytes())?;
                "Transfer-Encoding: chunked\r\n\r\n8;x=y\r\n<a href=\r\n6\r\nlinked\r\n1\r\n>\r\n\
                 0\r\nX: y\r\n\r\n"
                    .to_owned()
            }
            _ => "\r\n<p>until the end".to_owned(),
        };
        for byte in format!("{HTML}{body}").bytes() {
            stream.write_all(&[byte])?;
        }
        Ok(())
    });
    let ended = crawl(addr, "/", &["--connections", "1"]);
    ends(&ended, 0, &["4 pages", "status 200: 4"]);
}

#[test]
fn garbage_and_what_has_no_end_are_broken_and_not_tried_again() {
    let endless = |head: &'static str, piece: &'static str| {
        server(move |_, mut stream| {
            request(&stream)?;
            stream.write_all(head.as_bytes())?;
            let pieces = piece.repeat(1000);
            loop {
                stream.write_all(pieces.as_bytes())?;
            }
        })
    };
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, piece, why) in [
        (html, "X: y\r\n", "longer than 32768"),
        ("HTTP/1.1 200 OK\r\n\r\n", "body", "--longest-body"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "body", "--longest-body"),
        (chunked, "4\r\nbody\r\n", "--longest-body"),
        (chunked, "x\r\n", "chunks"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "x", "not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "x", "not HTTP"),
        ("HTTP/1.1 200 OK\nContent-Length: 1\n\n\r\n\r\n", "x", "not HTTP"),
    ] {
        let ended = crawl(endless(head, piece), "/", &["--longest-body", "100000"]);
        ends(&ended, 1, &["0 pages", " 0 retries", "broken: /", why]);
    }
    // A body within the limit that never ends: the time is over.
    let slow = server(|_, mut stream| {
        request(&stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            thread::sleep(Duration::from_millis(20));
        }
    });
    let ended = crawl(slow, "/", &["--timeout", "200ms", "--retries", "0"]);
    ends(&ended, 1, &["broken: /", "timed out"]);
}

#[test]
fn a_server_that_ends_idle_connections_costs_no_page() {
    let folder = five_hundred_pages();
    let server = folder.serve(&["--timeout", "50ms"]);
    let ended = crawl(
        server.addr().socket_addr().unwrap(),
        "/0.html",
        &["--pages", "30", "--rate", "30", "--retries", "5"],
    );
    ends(&ended, 0, &["30 pages", "status 200: 30"]);
    stop(server);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (args, why) in [
        (&["https://host/"][..], "http://"),
        (&["http://"], "host"),
        (&["http://127.0.0.1:1/", "--connections", "0"], "at least 1"),
    ] {
        let ended = Process::run_to_end(example("crawl").args(args), LONG).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}
