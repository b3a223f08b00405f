//! The pure functions of the `http` example.

#[path = "../../../examples/http/body.rs"]
pub(crate) mod body;
#[path = "../../../examples/http/request.rs"]
#[allow(dead_code)] // Some of it is for the server alone.
mod under_test;

// `request.rs` finds `body.rs` at the root of its own program.
use body::{Body, Part};
use epoll_selector::Found;
use proptest::prelude::*;
use under_test::{ByteRange, Connection, Request};

fn parse(head: &str) -> Result<Request<'_>, u16> {
    Request::parse(head.as_bytes()).map_err(|refused| refused.0)
}

/// A request for `/` with these fields.
fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn a_target_becomes_a_path_below_the_root() {
    let path = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        parse(&head).map(|request| (request.path, request.raw_path.to_owned()))
    };
    let good = |path: &str, raw: &str| Ok((path.to_owned(), raw.to_owned()));
    assert_eq!(path("/"), good("/", "/"));
    assert_eq!(path("/a%20b?x=/../y"), good("/a b", "/a%20b"));
    assert_eq!(path("http://host:80/a?b"), good("/a", "/a"));
    assert_eq!(path("HTTP://host"), good("/", "/"));
    assert_eq!(path("http://host?q"), good("/", "/"));
    assert_eq!(path("/%c3%bc"), good("/ü", "/%c3%bc"));
    for bad in [
        "a",
        "*",
        "/..",
        "/a/../b",
        "/%2e%2e/a",
        "/%2E./a",
        "/..%2fa",
        "/.",
        "/%00",
        "/%",
        "/%4",
        "/%zz",
        "/%+4",
        "/%ff",
        "https://host/",
        "http:/a",
        "ftp://a/b",
    ] {
        assert_eq!(path(bad), Err(400), "{bad}");
    }
}

#[test]
fn the_version_and_its_fields_say_what_becomes_of_the_connection() {
    let connection = |version: &str, fields: &str| {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        parse(&head).map(|request| request.connection)
    };
    assert_eq!(connection("1.1", ""), Ok(Connection::Stays));
    assert_eq!(connection("1.1", "Connection: keep-alive\r\n"), Ok(Connection::Stays));
    assert_eq!(connection("1.1", "Connection: x, CLOSE\r\n"), Ok(Connection::Closes));
    assert_eq!(connection("1.0", ""), Ok(Connection::Closes));
    assert_eq!(connection("1.0", "Connection: Keep-Alive\r\n"), Ok(Connection::StaysIfSaid));
    assert_eq!(connection("1.0", "Connection: close, keep-alive\r\n"), Ok(Connection::Closes));
    assert_eq!(connection("2.0", ""), Err(505));
    assert_eq!(connection("1.2", ""), Err(505));
    assert_eq!(parse("GET / FOO\r\nHost: a\r\n\r\n"), Err(400));
    assert_eq!(parse("GET /\r\nHost: a\r\n\r\n"), Err(400));
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok(), "HTTP/1.0 has no Host");
}

#[test]
fn a_body_has_one_length_or_chunks() {
    let body = |fields: &str| parse(&with(fields)).map(|request| request.body);
    assert_eq!(body(""), Ok(Body::Length(0)));
    assert_eq!(body("Content-Length: 12\r\n"), Ok(Body::Length(12)));
    assert_eq!(body("Transfer-Encoding: CHUNKED\r\n"), Ok(Body::Chunked));
    for length in ["", "+1", "-1", "1, 1", "0x1", "1 1", "18446744073709551616"] {
        assert_eq!(body(&format!("Content-Length: {length}\r\n")), Err(400), "{length:?}");
    }
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "Host: b\r\n",
        "X: \0\r\n",
    ] {
        assert_eq!(body(fields), Err(400), "{fields:?}");
    }
    for encoding in ["gzip", "gzip, chunked", "xchunked", "chunked, chunked", "identity", ""] {
        assert_eq!(body(&format!("Transfer-Encoding: {encoding}\r\n")), Err(501), "{encoding:?}");
    }
    assert_eq!(body("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(501));
    assert_eq!(parse("GET / HTTP/1.1\r\n\r\n"), Err(400), "HTTP/1.1 needs a Host");
    assert_eq!(body(&"X: y\r\n".repeat(100)), Err(431));
}

#[test]
fn nothing_is_hidden_behind_a_lone_line_feed() {
    assert_eq!(parse("GET / HTTP/1.1\nHost: a\n\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"), Err(400));
    assert_eq!(parse("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(400));
}

#[test]
fn a_range_has_bounds_within_the_file() {
    let range = |value: &str| parse(&with(&format!("Range: {value}\r\n"))).unwrap().range;
    let bounds = |value: &str, size| range(value).and_then(|range| range.bounds(size));
    assert_eq!(bounds("bytes=0-0", 10), Some((0, 1)));
    assert_eq!(bounds("Bytes=2-4", 10), Some((2, 5)));
    assert_eq!(bounds("bytes=8-99", 10), Some((8, 10)));
    assert_eq!(bounds("bytes=9-", 10), Some((9, 10)));
    assert_eq!(bounds("bytes=-3", 10), Some((7, 10)));
    assert_eq!(bounds("bytes=-30", 10), Some((0, 10)));
    assert_eq!(range("bytes=0-18446744073709551615").unwrap().bounds(10), Some((0, 10)));
    for outside in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        assert_eq!(range(outside).map(|range| range.bounds(10)), Some(None), "{outside}");
    }
    for ignored in ["bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"] {
        assert_eq!(range(ignored), None, "{ignored}");
    }
    let later = with("Range: bytes=0-1\r\nIf-Range: \"tag\"\r\n");
    assert_eq!(parse(&later).unwrap().range, None, "no validator can hold");
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n";
    assert_eq!(parse(head).unwrap().range, None, "a range is for GET");
    assert_eq!(ByteRange::From(0).bounds(0), None);
}

#[test]
fn a_method_that_is_known_is_told_from_one_that_is_not() {
    assert_eq!(parse("PUT / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(405));
    assert_eq!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), Err(405));
    assert_eq!(parse("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(501));
    assert_eq!(parse("get / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(501), "methods have a case");
}

#[test]
fn a_chunk_size_is_hexadecimal_and_nothing_else() {
    assert_eq!(Part::ChunkSize.after(b"1a"), Some(Part::Chunk(26)));
    assert_eq!(Part::ChunkSize.after(b"0001A ;name=value"), Some(Part::Chunk(26)));
    assert_eq!(Part::ChunkSize.after(b"000"), Some(Part::Trailer(0)));
    let long = [b'0'; 300];
    for bad in [
        &b""[..],
        b"0x1",
        b"+1",
        b"-1",
        b" 1",
        b"1 2",
        b"g",
        b";a",
        b"1;\n",
        b"1\r",
        b"1\n2",
        b"10000000000000000",
        &long,
    ] {
        assert_eq!(Part::ChunkSize.after(bad), None, "{bad:?}");
    }
    assert_eq!(Part::ChunkEnd.after(b"xx"), None);
    assert_eq!(Part::Trailer(0).after(b""), Some(Part::Head));
    assert_eq!(Part::Trailer(8000).after(&[b'x'; 1000]), None, "trailers have a bound");
}

/// The content of a message's body that arrives in pieces of `step` bytes, and what is behind the
/// body.
fn read_body(body: Body, mut bytes: &[u8], step: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut part, mut content, mut arrived) = (Part::of(body), Vec::new(), 0);
    while part != Part::Head {
        match part.until().find(&bytes[..arrived.min(bytes.len())], 0, 1000) {
            Found::Message { body, end } => {
                let message = &bytes[body];
                if part.is_content() {
                    content.extend_from_slice(message);
                }
                part = part.after(message)?;
                bytes = &bytes[end..];
                arrived -= end;
            }
            Found::Partial { .. } if arrived < bytes.len() => arrived += step,
            Found::Partial { .. } | Found::TooLong => return None,
        }
    }
    Some((content, bytes.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&bytes);
    }

    /// Pieces of requests in any order: most are refused, and what is not has a path below the
    /// root.
    #[test]
    fn what_is_not_refused_is_safe(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "GET ", "HEAD ", "/", "a", "..", ".", "%2e", "%00", "?", "#", "http://", " HTTP/1.1",
            " HTTP/1.0", "\r\n", "\n", "\r", "Host: a", "Range: bytes=", "1-", "-", "9",
            "Content-Length: ", "Transfer-Encoding: chunked", "Connection: close", ",", ":", " ",
        ]),
        0..20,
    )) {
        let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", pieces.concat());
        for head in [head, pieces.concat() + "\r\n\r\n"] {
            if let Ok(request) = Request::parse(head.as_bytes()) {
                prop_assert!(request.path.starts_with('/'));
                prop_assert!(!request.path.split('/').any(|part| part == ".." || part == "."));
                prop_assert!(!request.path.contains('\0'));
                prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
                prop_assert!(head.ends_with("\r\n\r\n"));
            }
        }
    }

    /// However a chunked body is cut into reads, its content is the same.
    #[test]
    fn chunks_come_through_every_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
        step in 1_usize..50,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:X};x\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nTrailer: yes\r\n\r\nnext");
        let expected = (chunks.concat(), b"next".to_vec());
        prop_assert_eq!(read_body(Body::Chunked, &wire, step), Some(expected));
    }

    #[test]
    fn no_bytes_panic_the_body(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1_usize..50,
    ) {
        let _ = read_body(Body::Chunked, &bytes, step);
        let _ = read_body(Body::Length(100), &bytes, step);
    }
}
