//! Who may open a WebSocket.

#[path = "../../../examples/websocket/handshake.rs"]
mod under_test;

use proptest::prelude::*;
use under_test::{Asked, Place, Refused};

const FIELDS: &str = "Host: a:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The place, 0 for the page, or the status of a refusal and its field.
fn ask(path: &str, fields: &str) -> Result<Option<Place>, (u16, &'static str)> {
    match Asked::parse(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes()) {
        Ok(Asked::Page) => Ok(None),
        Ok(Asked::Socket { place, .. }) => Ok(Some(place)),
        Err(Refused(status, _, field)) => Err((status, field)),
    }
}

#[test]
fn a_request_by_the_book_opens_a_socket_with_the_key_of_the_book() {
    // The example of RFC 6455, section 1.3.
    let head = format!("GET /echo HTTP/1.1\r\n{FIELDS}\r\n");
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
    let asked = Asked::Socket { place: Place::Echo, accept };
    assert_eq!(Asked::parse(head.as_bytes()), Ok(asked));
    let loose = FIELDS.replace("Upgrade: websocket", "UPGRADE: h2c, WebSocket");
    let loose = loose.replace("Connection: Upgrade", "Connection: keep-alive, upgrade");
    assert_eq!(ask("/echo?x", &loose), Ok(Some(Place::Echo)));
    let name = Some(Place::Chat("ada_1".to_owned()));
    assert_eq!(ask("/chat?name=ada_1", &format!("{FIELDS}Origin: http://a:1\r\n")), Ok(name));
    assert_eq!(ask("/", "Host: a\r\n"), Ok(None));
}

#[test]
fn anything_else_is_refused_with_the_right_status() {
    let without = |field: &str| {
        let kept = FIELDS.split_inclusive("\r\n").filter(|line| !line.starts_with(field));
        kept.collect::<String>()
    };
    let with = |old: &str, new: &str| FIELDS.replace(old, new);
    let upgrade = Err((426, "Upgrade: websocket\r\n"));
    assert_eq!(ask("/echo", "Host: a\r\n"), upgrade);
    assert_eq!(ask("/echo", &without("Upgrade")), upgrade);
    assert_eq!(ask("/echo", &with("websocket", "h2c")), upgrade);
    let version = Err((426, "Sec-WebSocket-Version: 13\r\n"));
    assert_eq!(ask("/echo", &without("Sec-WebSocket-Version")), version);
    assert_eq!(ask("/echo", &with("13", "8")), version);
    for bad in [
        without("Host"),
        without("Connection"),
        without("Sec-WebSocket-Key"),
        with("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        format!("{FIELDS}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        format!("{FIELDS}Host: b\r\n"),
        with("Connection: Upgrade", "Connection: close"),
    ] {
        assert_eq!(ask("/echo", &bad), Err((400, "")), "{bad}");
    }
    for path in ["/chat", "/chat?name=", "/chat?name=a%20b", "/chat?name=<b>", "/chat?nick=a"] {
        assert_eq!(ask(path, FIELDS), Err((400, "")), "{path}");
    }
    assert_eq!(ask("/other", FIELDS), Err((404, "")));
    assert_eq!(ask("/echo", &format!("{FIELDS}Origin: http://evil\r\n")), Err((403, "")));
    assert_eq!(ask("/echo", &format!("{FIELDS}Origin: null\r\n")), Err((403, "")));
    assert_eq!(ask("/", &"X: y\r\n".repeat(100)), Err((431, "")));
    let status = |head: &str| Asked::parse(head.as_bytes()).map_err(|refused| refused.0);
    assert_eq!(status(&format!("POST /echo HTTP/1.1\r\n{FIELDS}\r\n")), Err(405));
    assert_eq!(status(&format!("GET /echo HTTP/1.0\r\n{FIELDS}\r\n")), Err(400));
    assert_eq!(status("GET / HTTP/1.1\nHost: a\n\nx\r\n\r\n"), Err(400));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_panic_the_handshake(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Asked::parse(&bytes);
        let end = b" HTTP/1.1\r\nHost: a\r\n\r\n";
        let _ = Asked::parse(&[b"GET /chat?", &bytes[..], end].concat());
    }
}
