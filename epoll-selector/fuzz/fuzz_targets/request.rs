//! A stream of HTTP requests, as the `http` example reads it: heads and bodies, whatever the bytes
//! are.
#![no_main]

#[path = "../../examples/http/body.rs"]
mod body;
#[path = "../../examples/http/request.rs"]
#[allow(dead_code)] // Some of it is for the server alone.
mod request;

use body::Part;
use epoll_selector::Found;
use libfuzzer_sys::fuzz_target;
use request::Request;

/// The longest head, in bytes.
const LONGEST: usize = 4096;

// The first byte says how many bytes arrive at a time.
fuzz_target!(|bytes: &[u8]| {
    let Some((&step, sent)) = bytes.split_first() else { return };
    let at_once = read(sent, sent.len().max(1));
    assert_eq!(at_once, read(sent, usize::from(step) + 1), "the cut into reads must not matter");
});

/// What a connection does with these bytes: the paths that it opens, the content that it echoes,
/// and whether it refuses what follows.
fn read(mut bytes: &[u8], step: usize) -> (Vec<String>, Vec<u8>, bool) {
    let (mut part, mut paths, mut content) = (Part::Head, Vec::new(), Vec::new());
    let (mut arrived, mut searched) = (0, 0);
    loop {
        match part.until().find(&bytes[..arrived], searched, LONGEST) {
            Found::TooLong => return (paths, content, true),
            Found::Partial { .. } if arrived == bytes.len() => return (paths, content, false),
            Found::Partial { searched: done } => {
                searched = done;
                arrived = bytes.len().min(arrived + step);
            }
            Found::Message { body, end } => {
                let next = if part == Part::Head {
                    let head = [&bytes[body], b"\r\n\r\n"].concat();
                    Request::parse(&head).ok().map(|request| {
                        check(&request);
                        paths.push(request.path);
                        Part::of(request.body)
                    })
                } else {
                    let message = &bytes[body];
                    if part.is_content() {
                        content.extend_from_slice(message);
                    }
                    part.after(message)
                };
                let Some(next) = next else { return (paths, content, true) };
                (part, searched) = (next, 0);
                bytes = &bytes[end..];
                arrived -= end;
            }
        }
    }
}

fn check(request: &Request<'_>) {
    assert!(request.path.starts_with('/') && !request.path.contains('\0'));
    assert!(request.path.split('/').all(|part| part != "." && part != ".."));
    assert!(!request.raw_path.contains(['\r', '\n']), "it goes into Location");
    for size in [0, 1, 1000, u64::MAX] {
        if let Some((from, to)) = request.range.and_then(|range| range.bounds(size)) {
            assert!(from < to && to <= size);
        }
    }
}
