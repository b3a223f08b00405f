//! The `websocket` example: with tungstenite's client, with frames by hand, and with a browser.

mod browser;
mod handshake;

use nix::sys::signal::Signal;
use tungstenite::protocol::WebSocket;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

use super::hostile::resident_kib;
use super::http::web::Web;
use super::*;

fn open(server: &Process, path: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{}{path}", server.addr());
    tungstenite::client(url, connect(server)).unwrap().0
}

/// The text of the next message.
#[track_caller]
fn text(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

#[track_caller]
fn closes_with(socket: &mut WebSocket<TcpStream>, code: CloseCode) {
    match socket.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, code),
        other => panic!("{other:?} instead of a close frame"),
    }
}

/// Reads to the end of the stream, or to a reset. Fails when the server leaves the connection open.
#[track_caller]
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let outcome = stream.read_to_end(&mut rest).map_err(|error| error.kind());
    assert_ne!(outcome, Err(std::io::ErrorKind::WouldBlock), "not ended within {LONG:?}");
    rest
}

/// A frame of a client: with a mask.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What comes back for these bytes after the handshake, until the server ends the connection.
fn answer_to(server: &Process, bytes: &[u8]) -> Vec<u8> {
    let mut socket = open(server, "/echo");
    let stream = socket.get_mut();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn close_frame(code: u16) -> Vec<u8> {
    [&[0x88, 2][..], &code.to_be_bytes()].concat()
}

#[test]
fn text_and_binary_of_every_length_come_back() {
    let server = serve("websocket", &[]);
    let mut socket = open(&server, "/echo");
    for length in [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        socket.send(Message::binary(bytes.clone())).unwrap();
        assert!(socket.read().unwrap() == Message::binary(bytes), "{length} bytes");
    }
    socket.send(Message::text("grüße")).unwrap();
    assert_eq!(text(&mut socket), "grüße");
    for count in 0..1000 {
        socket.write(Message::text(format!("{count}"))).unwrap();
    }
    socket.flush().unwrap();
    for count in 0..1000 {
        assert_eq!(text(&mut socket), format!("{count}"));
    }
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(None))));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    stop(server);
}

#[test]
fn fragments_become_one_message_and_pings_between_them_are_answered() {
    let server = serve("websocket", &[]);
    let sent = [
        frame(0x01, "gr\u{fc}".as_bytes().split_at(3).0), // Text, cut within a character.
        frame(0x89, b"ping"),
        frame(0x00, b"\xbc"),
        frame(0x80, b"n"),
        frame(0x88, &1000_u16.to_be_bytes()),
    ]
    .concat();
    let expected = [b"\x8a\x04ping", &b"\x81\x05gr\xc3\xbcn"[..], &close_frame(1000)].concat();
    assert_eq!(answer_to(&server, &sent), expected);

    // The same, a byte at a time.
    let mut socket = open(&server, "/echo");
    let stream = socket.get_mut();
    for byte in &sent {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, expected);
    stop(server);
}

#[test]
fn frames_right_behind_the_handshake_are_read() {
    let server = serve("websocket", &[]);
    let mut stream = connect(&server);
    let head = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream
        .write_all(&[head.as_bytes(), &frame(0x82, b"early"), &frame(0x88, b"")].concat())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x05early\x88\x00"));
    stop(server);
}

#[test]
fn what_breaks_the_rules_is_closed_with_its_code() {
    let server = serve("websocket", &["--longest", "1000"]);
    let unmasked = b"\x81\x02hi".to_vec();
    let (protocol, invalid, size) = (1002_u16, 1007, 1009);
    for (why, sent, code) in [
        ("no mask", unmasked, protocol),
        ("a reserved bit", frame(0xc1, b"hi"), protocol),
        ("an unknown opcode", frame(0x83, b"hi"), protocol),
        ("an unknown control opcode", frame(0x8b, b"hi"), protocol),
        ("a fragmented ping", frame(0x09, b"hi"), protocol),
        ("a long ping", frame(0x89, &[b'x'; 126]), protocol),
        ("a continuation of nothing", frame(0x80, b"hi"), protocol),
        ("a message within another", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), protocol),
        ("a close code that is none", frame(0x88, &999_u16.to_be_bytes()), protocol),
        ("half a close code", frame(0x88, b"\x03"), protocol),
        ("text that is not UTF-8", frame(0x81, b"a\xff"), invalid),
        ("text cut within a character", frame(0x81, b"\xc3"), invalid),
        ("a long message", frame(0x82, &[0; 1001]), size),
        ("long fragments", [frame(0x02, &[0; 600]), frame(0x80, &[0; 600])].concat(), size),
        ("a length beyond all", b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), size),
    ] {
        // What follows a break of the rules is not read.
        let sent = [sent, frame(0x81, b"next")].concat();
        let answer = answer_to(&server, &sent);
        let (start, reason) = answer.split_at(4); // A reason may follow, and nothing else.
        assert_eq!((start[0], &start[2..]), (0x88, &code.to_be_bytes()[..]), "{why}");
        assert_eq!(usize::from(start[1]), 2 + reason.len(), "{why}");
    }
    assert_eq!(answer_to(&server, &frame(0x88, b"\x0b\xb8bye")), b"\x88\x05\x0b\xb8bye");
    stop(server);
}

#[test]
fn a_page_and_refusals_are_plain_http() {
    let server = serve("websocket", &[]);
    let ask = |request: String| {
        let mut web = Web::connect(&server);
        web.send(request);
        let reply = web.reply(true);
        assert!(web.is_over());
        reply
    };
    let page = ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.body.starts_with(b"<!DOCTYPE html>"));
    let upgrade = ask("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    assert_eq!((upgrade.status, upgrade.field("upgrade")), (426, "websocket"));
    assert_eq!(ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()).status, 404);
    assert_eq!(ask("nonsense\r\n\r\n".to_owned()).status, 400);
    assert_eq!(ask("x".repeat(20_000)).status, 431);
    stop(server);
}

#[test]
fn the_chat_tells_everybody_who_says_what_and_who_leaves() {
    let mut server = serve("websocket", &[]);
    let mut ada = open(&server, "/chat?name=ada");
    assert_eq!(text(&mut ada), "* ada has joined");
    let mut ben = open(&server, "/chat?name=ben");
    for member in [&mut ada, &mut ben] {
        assert_eq!(text(member), "* ben has joined");
    }
    ada.send(Message::text("hällo")).unwrap();
    for member in [&mut ada, &mut ben] {
        assert_eq!(text(member), "ada: hällo");
    }
    ben.close(None).unwrap();
    assert!(ben.read().unwrap().is_close());
    assert_eq!(text(&mut ada), "* ben has left");

    let mut cora = open(&server, "/chat?name=cora");
    assert_eq!(text(&mut ada), "* cora has joined");
    text(&mut cora);
    cora.send(Message::binary("x")).unwrap();
    closes_with(&mut cora, CloseCode::Unsupported);
    assert_eq!(text(&mut ada), "* cora has left");

    let dan = open(&server, "/chat?name=dan");
    assert_eq!(text(&mut ada), "* dan has joined");
    let stream = dan.get_ref().try_clone().unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop((stream, dan));
    assert_eq!(text(&mut ada), "* dan has left");

    server.signal(Signal::SIGTERM).unwrap();
    closes_with(&mut ada, CloseCode::Away);
    drop(ada);
    assert_eq!(server.wait(LONG).unwrap().unwrap().status.code(), Some(0));
}

#[test]
fn a_member_that_does_not_read_is_dropped_and_the_others_are_told() {
    let server = serve("websocket", &["--unread", "65536"]);
    let mut speaker = open(&server, "/chat?name=speaker");
    text(&mut speaker);
    let mut deaf = open(&server, "/chat?name=deaf");
    text(&mut speaker);
    let line = "x".repeat(10_000);
    let before = resident_kib(&server);
    // The kernel takes some megabytes for the deaf one before its outbox fills.
    let dropped = (0..20_000).any(|_| {
        speaker.send(Message::text(line.as_str())).unwrap();
        text(&mut speaker).contains("deaf does not read, and was dropped")
    });
    assert!(dropped);
    assert!(resident_kib(&server) < before + 8192);
    rest(deaf.get_mut());
    stop(server);
}

#[test]
fn a_silent_client_gets_a_ping_and_is_dropped_without_an_answer() {
    let server = serve("websocket", &["--timeout", "200ms"]);
    let mut answers = open(&server, "/echo");
    for _ in 0..5 {
        assert!(matches!(answers.read().unwrap(), Message::Ping(_))); // `read` answers it.
    }
    let mut silent = open(&server, "/echo");
    assert_eq!(rest(silent.get_mut()), b"\x89\x00", "one ping, then the end");
    assert_eq!(rest(&mut connect(&server)), b"", "never asks");
    stop(server);
}

#[test]
fn peers_that_mean_harm_cost_bounded_memory_and_harm_nobody() {
    let server = serve("websocket", &[]);
    let mut good = open(&server, "/echo");
    let mut is_served = |why: &str| {
        good.send(Message::text(why)).unwrap();
        assert_eq!(text(&mut good), why);
    };
    is_served("first");
    let before = resident_kib(&server);
    let mut kept = Vec::new();
    for (why, bytes) in [
        ("pings", frame(0x89, b"").repeat(10_000)),
        ("messages", frame(0x82, &[0; 1000]).repeat(60)),
        ("empty fragments", [frame(0x02, b""), frame(0x00, b"").repeat(10_000)].concat()),
        ("a frame that never ends", b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0".to_vec()),
    ] {
        let mut socket = open(&server, "/echo");
        let stream = socket.get_mut();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        for _ in 0..200 {
            if stream.write_all(&bytes).is_err() {
                break; // The server reads no more.
            }
        }
        is_served(why);
        kept.push(socket);
    }
    let whole = [frame(0x81, b"hello"), frame(0x88, b"")].concat();
    for cut in 0..whole.len() {
        for resets in [false, true] {
            let mut socket = open(&server, "/echo");
            let stream = socket.get_mut();
            stream.write_all(&whole[..cut]).unwrap();
            if resets {
                socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
                continue;
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    }
    is_served("after half-closes and resets");
    let growth = resident_kib(&server).saturating_sub(before);
    assert!(growth < 8 * 1024, "grew by {growth} KiB");
    drop(kept);
    stop(server);
}
