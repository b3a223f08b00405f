//! The head of an HTTP/1.1 request (RFC 9112): from bytes to what the server must do.
//!
//! Everything here is a pure function of the peer's bytes, so a fuzzer can call it. In doubt a
//! request is refused: a proxy in front of the server that reads the same bytes in another way sees
//! other requests (request smuggling).

use super::body::{Body, parse_number};

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Why a request is refused: the status code and its reason phrase (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16, pub(crate) &'static str);

pub(crate) const BAD_REQUEST: Refused = Refused(400, "Bad Request");
pub(crate) const NOT_FOUND: Refused = Refused(404, "Not Found");
pub(crate) const NOT_ALLOWED: Refused = Refused(405, "Method Not Allowed");
pub(crate) const TIMEOUT: Refused = Refused(408, "Request Timeout");
pub(crate) const TOO_LARGE: Refused = Refused(413, "Content Too Large");
pub(crate) const HEAD_TOO_LARGE: Refused = Refused(431, "Request Header Fields Too Large");
const NOT_IMPLEMENTED: Refused = Refused(501, "Not Implemented");
pub(crate) const UNAVAILABLE: Refused = Refused(503, "Service Unavailable");
const VERSION_NOT_SUPPORTED: Refused = Refused(505, "HTTP Version Not Supported");

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'h> {
    pub(crate) method: Method,
    /// As the client wrote it, for the log.
    pub(crate) target: &'h str,
    /// The path as the client wrote it, without the query. It begins with `/`.
    pub(crate) raw_path: &'h str,
    /// The path decoded. It has no `.` or `..` part.
    pub(crate) path: String,
    pub(crate) body: Body,
    /// The client waits for "100 Continue" before it sends the body.
    pub(crate) expects_continue: bool,
    pub(crate) connection: Connection,
    pub(crate) range: Option<ByteRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The next request may come: HTTP/1.1.
    #[default]
    Stays,
    /// The next request may come if the answer says so: HTTP/1.0 with "keep-alive".
    StaysIfSaid,
    Closes,
}

/// A range of bytes that the client wants (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From an offset to the end.
    From(u64),
    /// From an offset to another, which belongs to the range.
    FromTo(u64, u64),
    /// The last bytes.
    Last(u64),
}

impl<'h> Request<'h> {
    /// Parses a head with its final empty line.
    pub(crate) fn parse(head: &'h [u8]) -> Result<Request<'h>, Refused> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            // httparse takes a lone LF for the end of a line, so its head could end earlier.
            Ok(httparse::Status::Complete(end)) if end == head.len() && has_whole_lines(head) => {}
            Ok(_) => return Err(BAD_REQUEST),
            Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LARGE),
            Err(httparse::Error::Version) if names_http(head) => return Err(VERSION_NOT_SUPPORTED),
            Err(_) => return Err(BAD_REQUEST),
        }
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(BAD_REQUEST);
        };
        let method = Method::parse(method)?;
        let raw_path = path_of(target).ok_or(BAD_REQUEST)?;
        let mut request = Request {
            method,
            target,
            raw_path,
            path: decode(raw_path).ok_or(BAD_REQUEST)?,
            body: Body::Length(0),
            expects_continue: false,
            connection: if minor == 0 { Connection::Closes } else { Connection::Stays },
            range: None,
        };
        request.read_fields(parsed.headers, minor)?;
        Ok(request)
    }

    fn read_fields(&mut self, fields: &[httparse::Header<'_>], minor: u8) -> Result<(), Refused> {
        let (mut hosts, mut length, mut chunked) = (0, None, false);
        let (mut closes, mut keeps) = (false, false);
        for field in fields {
            let value = field.value.trim_ascii();
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let number = parse_number(value).ok_or(BAD_REQUEST)?;
                if length.replace(number).is_some() {
                    return Err(BAD_REQUEST); // A proxy and the server could take different ones.
                }
            } else if is("transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") || chunked || minor == 0 {
                    return Err(NOT_IMPLEMENTED);
                }
                chunked = true;
            } else if is("connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    closes |= option.eq_ignore_ascii_case(b"close");
                    keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("expect") {
                self.expects_continue = minor == 1 && value.eq_ignore_ascii_case(b"100-continue");
            } else if is("range") && self.method == Method::Get {
                self.range = parse_range(value);
            }
        }
        if hosts > 1 || hosts == 0 && minor == 1 || chunked && length.is_some() {
            return Err(BAD_REQUEST);
        }
        // The answers have no validator that If-Range could name, so it never holds.
        if fields.iter().any(|field| field.name.eq_ignore_ascii_case("if-range")) {
            self.range = None;
        }
        self.body = if chunked { Body::Chunked } else { Body::Length(length.unwrap_or(0)) };
        if closes {
            self.connection = Connection::Closes;
        } else if keeps && minor == 0 {
            self.connection = Connection::StaysIfSaid;
        }
        Ok(())
    }
}

impl Method {
    fn parse(name: &str) -> Result<Method, Refused> {
        match name {
            "GET" => Ok(Method::Get),
            "HEAD" => Ok(Method::Head),
            "POST" => Ok(Method::Post),
            "CONNECT" | "DELETE" | "OPTIONS" | "PATCH" | "PUT" | "TRACE" => Err(NOT_ALLOWED),
            _ => Err(NOT_IMPLEMENTED),
        }
    }
}

impl Connection {
    /// The header field that tells the client.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Connection::Stays => "",
            Connection::StaysIfSaid => "Connection: keep-alive\r\n",
            Connection::Closes => "Connection: close\r\n",
        }
    }
}

impl ByteRange {
    /// Where the range begins, and where it ends (exclusive). `None` if it has no byte of `size`.
    pub(crate) fn bounds(self, size: u64) -> Option<(u64, u64)> {
        let (from, to) = match self {
            ByteRange::From(from) => (from, size),
            ByteRange::FromTo(from, to) => (from, to.saturating_add(1).min(size)),
            ByteRange::Last(count) => (size.saturating_sub(count), size),
        };
        (from < to).then_some((from, to))
    }
}

/// Whether each line ends with CR LF.
fn has_whole_lines(head: &[u8]) -> bool {
    head.iter().enumerate().all(|(at, byte)| *byte != b'\n' || at > 0 && head[at - 1] == b'\r')
}

/// Whether the first line is a request of some version of HTTP.
fn names_http(head: &[u8]) -> bool {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\r').next();
    line.is_some_and(|line| line.windows(6).any(|part| part == b" HTTP/"))
}

/// One range of bytes. Anything else is ignored, as RFC 9110 allows: the answer is the whole file.
fn parse_range(value: &[u8]) -> Option<ByteRange> {
    let (unit, range) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let dash = range.iter().position(|byte| *byte == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", last) => Some(ByteRange::Last(parse_number(last)?)),
        (from, b"") => Some(ByteRange::From(parse_number(from)?)),
        (from, to) => {
            let (from, to) = (parse_number(from)?, parse_number(to)?);
            (from <= to).then_some(ByteRange::FromTo(from, to))
        }
    }
}

/// The path of `/path?query`, or of `http://host/path?query`, which a server must understand too.
fn path_of(target: &str) -> Option<&str> {
    let path = match target.split_at_checked(7) {
        _ if target.starts_with('/') => target,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => {
            &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
        }
        _ => return None,
    };
    let path = path.split(['?', '#']).next()?;
    Some(if path.is_empty() { "/" } else { path })
}

/// The path with `%41` decoded. `None` for a path that tries to leave the root, and for one that no
/// file can have.
fn decode(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
    }
    let path = String::from_utf8(decoded).ok()?;
    let climbs = path.split('/').any(|part| part == "." || part == "..");
    (path.starts_with('/') && !path.contains('\0') && !climbs).then_some(path)
}
