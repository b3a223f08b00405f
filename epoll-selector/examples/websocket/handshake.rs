//! The request that opens a WebSocket (RFC 6455, section 4.2), and the plain ones.
//!
//! Everything here is a pure function of the peer's bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tungstenite::handshake::derive_accept_key;

/// Most header fields of a request.
const FIELDS_MAX: usize = 64;

/// Longest name of a member, in bytes.
const NAME_MAX: usize = 32;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Page,
    Socket {
        place: Place,
        /// The value of Sec-WebSocket-Accept.
        accept: String,
    },
}

/// What a WebSocket is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Echo,
    /// The chat, under this name.
    Chat(String),
}

/// Status code, reason phrase, and a header field with its line end, or nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static str);

const BAD_REQUEST: Refused = Refused(400, "Bad Request", "");
const UPGRADE_REQUIRED: &str = "Upgrade Required";

impl Asked {
    /// Parses a head with its final empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Asked, Refused> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(end)) if end == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refused(431, "Request Header Fields Too Large", ""));
            }
            _ => return Err(BAD_REQUEST),
        }
        let (Some(method), Some(target), Some(1)) = (parsed.method, parsed.path, parsed.version)
        else {
            return Err(BAD_REQUEST);
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let place = match path {
            "/" => None,
            "/echo" => Some(Place::Echo),
            "/chat" => Some(Place::Chat(name_of(query).ok_or(BAD_REQUEST)?)),
            _ => return Err(Refused(404, "Not Found", "")),
        };
        if method != "GET" {
            return Err(Refused(405, "Method Not Allowed", "Allow: GET\r\n"));
        }
        let fields = Fields(parsed.headers);
        let host = fields.only("host").ok_or(BAD_REQUEST)?;
        let Some(place) = place else { return Ok(Asked::Page) };
        if !fields.lists("upgrade", "websocket") {
            return Err(Refused(426, UPGRADE_REQUIRED, "Upgrade: websocket\r\n"));
        }
        if fields.only("sec-websocket-version") != Some("13") {
            return Err(Refused(426, UPGRADE_REQUIRED, "Sec-WebSocket-Version: 13\r\n"));
        }
        // A page of another site may ask too, with the cookies of this one. Only browsers send
        // Origin.
        if fields.find("origin").any(|origin| origin_host(origin) != Some(host)) {
            return Err(Refused(403, "Forbidden", ""));
        }
        let key = fields.only("sec-websocket-key").ok_or(BAD_REQUEST)?;
        let is_key = BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
        if !is_key || !fields.lists("connection", "upgrade") {
            return Err(BAD_REQUEST);
        }
        Ok(Asked::Socket { place, accept: derive_accept_key(key.as_bytes()) })
    }
}

struct Fields<'h>(&'h [httparse::Header<'h>]);

impl<'h> Fields<'h> {
    fn find(&self, name: &str) -> impl Iterator<Item = &'h str> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
    }

    /// The value of a field that must be there once.
    fn only(&self, name: &str) -> Option<&'h str> {
        let mut values = self.find(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether the comma-separated values of a field have this one.
    fn lists(&self, name: &str, value: &str) -> bool {
        let mut values = self.find(name).flat_map(|values| values.split(','));
        values.any(|one| one.trim().eq_ignore_ascii_case(value))
    }
}

fn origin_host(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

/// The name in `name=ada`.
fn name_of(query: &str) -> Option<String> {
    let name = query.strip_prefix("name=")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed)).then(|| name.to_owned())
}
