//! The head of an HTTP/1.1 request (RFC 9112): from bytes to what the server must do.
//!
//! Everything here is a pure function of the peer's bytes, so a fuzzer can call it.

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Why a request is refused: the status code and its reason phrase (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16, pub(crate) &'static str);

pub(crate) const BAD_REQUEST: Refused = Refused(400, "Bad Request");
pub(crate) const TOO_MANY_FIELDS: Refused = Refused(431, "Request Header Fields Too Large");
const NOT_IMPLEMENTED: Refused = Refused(501, "Not Implemented");
const VERSION_NOT_SUPPORTED: Refused = Refused(505, "HTTP Version Not Supported");

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// As the client wrote it, for the log.
    pub(crate) target: String,
    /// Decoded, without the query. It begins with `/` and has no `.` or `..` part.
    pub(crate) path: String,
    pub(crate) body: Body,
    /// The client waits for "100 Continue" before it sends the body.
    pub(crate) expects_continue: bool,
    /// The connection ends after the answer.
    pub(crate) close: bool,
    pub(crate) range: Option<ByteRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Content-Length; 0 without a body.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
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

impl Request {
    /// Parses a head with its final empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Request, Refused> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(BAD_REQUEST),
            Err(httparse::Error::TooManyHeaders) => return Err(TOO_MANY_FIELDS),
            Err(httparse::Error::Version) => return Err(VERSION_NOT_SUPPORTED),
            Err(_) => return Err(BAD_REQUEST),
        }
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(BAD_REQUEST);
        };
        let mut request = Request {
            method: Method::from(method),
            target: target.to_owned(),
            path: decode_path(target).ok_or(BAD_REQUEST)?,
            body: Body::Length(0),
            expects_continue: false,
            close: minor == 0,
            range: None,
        };
        request.read_fields(parsed.headers, minor)?;
        Ok(request)
    }

    fn read_fields(&mut self, fields: &[httparse::Header<'_>], minor: u8) -> Result<(), Refused> {
        let (mut hosts, mut length, mut chunked) = (0, None, false);
        for field in fields {
            let value = field.value.trim_ascii();
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let number = parse_number(value).ok_or(BAD_REQUEST)?;
                // Two lengths: the server and a proxy in front of it could take different ones.
                if length.replace(number).is_some_and(|before| before != number) {
                    return Err(BAD_REQUEST);
                }
            } else if is("transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") || chunked || minor == 0 {
                    return Err(NOT_IMPLEMENTED);
                }
                chunked = true;
            } else if is("connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && minor == 0 {
                        self.close = false;
                    }
                }
            } else if is("expect") {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            } else if is("range") {
                self.range = parse_range(value);
            }
        }
        if minor == 1 && hosts != 1 || chunked && length.is_some() {
            return Err(BAD_REQUEST);
        }
        self.body = if chunked { Body::Chunked } else { Body::Length(length.unwrap_or(0)) };
        Ok(())
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => Method::Other,
        }
    }
}

/// The length of a chunk (RFC 9112, section 7.1): hexadecimal digits, and extensions that are ignored.
pub(crate) fn parse_chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Only digits: `str::parse` would take a sign, too.
fn parse_number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// One range of bytes. Anything else is ignored, as RFC 9110 allows: the answer is the whole file.
fn parse_range(value: &[u8]) -> Option<ByteRange> {
    let range = value.strip_prefix(b"bytes=")?;
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

/// The path of a request target: without the query, with `%41` decoded. `None` for a path that tries to
/// leave the root, and for one that no file can have.
fn decode_path(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next()?;
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
