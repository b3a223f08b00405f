//! What leaves: heads, files, and refusals.

use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::SystemTime;

use epoll_selector::Talk;

use crate::file::{Found, Piece, media_type};
use crate::request::{Connection, Method, NOT_FOUND, Refused, Request, UNAVAILABLE};
use crate::{Client, Site};

/// Files up to this size leave with their head in one piece; larger ones have a producer.
const SMALL_FILE: u64 = 64 * 1024;

impl Client {
    pub(crate) fn answer_file(&self, request: &Request<'_>, talk: &mut Talk<'_, Site>) {
        let (file, size) = match talk.context.shared.root.find(&request.path) {
            Ok(Found::File(file, size)) => (file, size),
            Ok(Found::Nothing) => return self.answer_error(request, NOT_FOUND, talk),
            Ok(Found::Directory) => return self.answer_moved(request, talk),
            Err(_) => return self.answer_error(request, UNAVAILABLE, talk),
        };
        let (from, to) = match request.range.map(|range| range.bounds(size)) {
            None => (0, size),
            Some(Some(bounds)) => bounds,
            Some(None) => {
                let fields = format!("Content-Range: bytes */{size}\r\n");
                let head = self.head("416 Range Not Satisfiable", "text/plain", 0, &fields);
                log(request, 416, 0, talk);
                return talk.push(head);
            }
        };
        let left = to - from;
        let mut fields = "Accept-Ranges: bytes\r\n".to_owned();
        let (code, status) = match request.range {
            None => (200, "200 OK"),
            Some(_) => {
                fields += &format!("Content-Range: bytes {from}-{}/{size}\r\n", to - 1);
                (206, "206 Partial Content")
            }
        };
        let mut answer = self.head(status, media_type(&request.path), left, &fields).into_bytes();
        if request.method == Method::Head {
            talk.push(answer);
        } else if left <= SMALL_FILE {
            let body = answer.len();
            answer.resize(body + left as usize, 0);
            if file.read_exact_at(&mut answer[body..], from).is_err() {
                return self.answer_error(request, UNAVAILABLE, talk); // It has become shorter.
            }
            talk.push(answer);
        } else {
            talk.push(answer);
            talk.produce(Piece { file, offset: from, left, progress: Rc::clone(&self.progress) });
        }
        log(request, code, left, talk);
    }

    /// A directory's pages name each other relative to it, so its own address must end with `/`.
    fn answer_moved(&self, request: &Request<'_>, talk: &mut Talk<'_, Site>) {
        // One `/` in front: behind two a browser expects another host's name.
        let path = request.raw_path.trim_start_matches('/');
        let location = format!("Location: /{path}/\r\n");
        let head = self.head("301 Moved Permanently", "text/plain", 0, &location);
        talk.push(head);
        log(request, 301, 0, talk);
    }

    /// An answer that does not end the connection.
    fn answer_error(&self, request: &Request<'_>, refused: Refused, talk: &mut Talk<'_, Site>) {
        self.push_error(refused, talk);
        log(request, refused.0, 0, talk);
    }

    /// Answers what cannot be understood, or is too much, and ends the connection: nobody knows
    /// where the next request would begin.
    pub(crate) fn refuse(&mut self, refused: Refused, talk: &mut Talk<'_, Site>) {
        self.connection = Connection::Closes;
        // In the middle of a body the answer has begun. Its early end must say it.
        if !self.has_answered {
            self.push_error(refused, talk);
        }
        if talk.context.shared.log {
            let Refused(code, reason) = refused;
            echo::report(format_args!("{}: refused with {code} {reason}", peer(talk)));
        }
        talk.close();
    }

    fn push_error(&self, Refused(code, reason): Refused, talk: &mut Talk<'_, Site>) {
        let mut body = format!("{code} {reason}\n");
        let allow = if code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let head = self.head(body.trim_end(), "text/plain", body.len() as u64, allow);
        if self.is_head {
            body.clear();
        }
        talk.push(head + &body);
    }

    pub(crate) fn head(&self, status: &str, media: &str, length: u64, fields: &str) -> String {
        self.head_of(status, media, &format!("Content-Length: {length}\r\n{fields}"))
    }

    /// A head without Content-Length.
    pub(crate) fn head_of(&self, status: &str, media: &str, fields: &str) -> String {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let connection = self.connection.field();
        format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {media}\r\n{fields}{connection}\r\n"
        )
    }
}

/// A line of the access log: when, who, what, status, bytes of the answer's content.
pub(crate) fn log(request: &Request<'_>, code: u16, bytes: u64, talk: &Talk<'_, Site>) {
    if talk.context.shared.log {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let (method, target) = (format!("{:?}", request.method), request.target.escape_debug());
        let method = method.to_uppercase();
        echo::report(format_args!("{date} {} {method} {target} {code} {bytes}", peer(talk)));
    }
}

/// The client's address, for the log.
fn peer(talk: &Talk<'_, Site>) -> String {
    let addr = talk.stream().peer_addr().ok().and_then(|addr| addr.as_socket());
    addr.map_or_else(|| "unix".to_owned(), |addr| addr.to_string())
}
