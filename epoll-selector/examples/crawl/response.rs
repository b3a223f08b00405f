//! The head of an HTTP/1.1 response (RFC 9112): from bytes to what the client must do.

use super::body::{Body, parse_number};

/// Most header fields of a response.
const FIELDS_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// None: until the server ends the stream.
    pub(crate) body: Option<Body>,
    /// The server takes another request on this connection.
    pub(crate) keeps: bool,
    pub(crate) location: Option<String>,
    pub(crate) is_html: bool,
}

impl Response {
    /// Parses the head of the answer to a GET, with its final empty line. `None` for what is no
    /// HTTP, or leaves a doubt about its end.
    pub(crate) fn parse(head: &[u8]) -> Option<Response> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        if parsed.parse(head).ok()? != httparse::Status::Complete(head.len()) {
            return None;
        }
        let status = parsed.code?;
        let mut keeps = parsed.version? == 1;
        let (mut length, mut chunked, mut location, mut is_html) = (None, false, None, false);
        for field in parsed.headers {
            let value = field.value.trim_ascii();
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let number = parse_number(value)?;
                if length.replace(number).is_some_and(|before| before != number) {
                    return None;
                }
            } else if is("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return None;
                }
                chunked = true;
            } else if is("connection") {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                keeps &= !options.any(|option| option.eq_ignore_ascii_case(b"close"));
            } else if is("location") {
                location = std::str::from_utf8(value).ok().map(str::to_owned);
            } else if is("content-type") {
                is_html = value.to_ascii_lowercase().starts_with(b"text/html");
            }
        }
        let body = match length {
            _ if (100..200).contains(&status) || status == 204 || status == 304 => {
                Some(Body::Length(0))
            }
            Some(_) if chunked => return None,
            None if chunked => Some(Body::Chunked),
            Some(length) => Some(Body::Length(length)),
            None => None,
        };
        Some(Response { status, body, keeps, location, is_html })
    }
}
