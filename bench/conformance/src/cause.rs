//! The cause of a failure, where the suite can find it. Failures with one cause are reported together.

/// Why a server fails a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server ended, and nobody had asked it to end.
    Ended {
        /// The exit status, or the signal that ended the server.
        status: String,
        /// What the server wrote to stderr.
        stderr: String,
    },
    /// The server runs, and has reported an uncaught error on stderr.
    Raised {
        /// What the server wrote to stderr.
        stderr: String,
    },
    /// The server serves this number of clients at the same time. The next client got an answer when the
    /// others had left.
    Concurrency(usize),
    /// A client could not connect: the backlog was full with this number of connections.
    Backlog(usize),
    /// The client had all bytes back and had half-closed. The server did not close its side.
    NotClosed,
}

/// Texts that runtimes write before or with an error that nothing has caught.
const SIGNS: &[&str] = &[
    TRACEBACK,
    "panicked at",         // Rust
    "panic:",              // Go
    "Exception in thread", // Java
    "Uncaught ",           // JavaScript
    "terminate called",    // C++
    "AddressSanitizer",    // C and C++
    "Unhandled exception", // .NET
    "Error)",              // Ruby
];

/// Python's sign. The error follows it, in the last line.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// The most lines that are shown of a server's stderr: the last ones.
const LINES_SHOWN: usize = 12;

/// The most characters that are shown of one of these lines.
const LINE_SHOWN: usize = 200;

impl Cause {
    /// An uncaught error in what a running server has written to stderr, if there is one.
    pub(crate) fn of_stderr(stderr: String) -> Option<Cause> {
        SIGNS.iter().any(|sign| stderr.contains(sign)).then_some(Cause::Raised { stderr })
    }

    /// Whether this is the same cause as `other`. Errors are the same when their kinds are: their texts
    /// often hold a number or an address.
    pub fn is_same(&self, other: &Cause) -> bool {
        use Cause::{Backlog, Concurrency, Ended, NotClosed, Raised};
        match (self, other) {
            (Ended { status: one, stderr: a }, Ended { status: two, stderr: b }) => {
                one == two && kind_of_error(a) == kind_of_error(b)
            }
            (Raised { stderr: a }, Raised { stderr: b }) => kind_of_error(a) == kind_of_error(b),
            (Concurrency(a), Concurrency(b)) => a == b,
            (Backlog(_), Backlog(_)) | (NotClosed, NotClosed) => true,
            _ => false,
        }
    }

    /// The cause in one sentence.
    pub fn headline(&self) -> String {
        match self {
            Cause::Ended { status, stderr } if stderr.trim().is_empty() => {
                format!("The server ended ({status}). It wrote nothing to stderr.")
            }
            Cause::Ended { status, .. } => {
                format!("The server ended ({status}). Its last words:")
            }
            Cause::Raised { .. } => "The server reported an uncaught error:".to_owned(),
            Cause::Concurrency(1) => {
                "The server serves 1 client at a time. A second client had no answer until the \
                 first left."
                    .to_owned()
            }
            Cause::Concurrency(count) => format!(
                "The server serves {count} clients at a time. The next client had no answer until \
                 they left."
            ),
            Cause::Backlog(count) => format!(
                "The backlog of the listener was full: {count} connections waited to be accepted, \
                 and the kernel had no room for another."
            ),
            Cause::NotClosed => {
                "The server does not close its side of a connection that the client has \
                 half-closed."
                    .to_owned()
            }
        }
    }

    /// The last lines that the server wrote to stderr, if they are the cause.
    pub fn last_words(&self) -> Option<String> {
        match self {
            Cause::Ended { stderr, .. } | Cause::Raised { stderr } => Some(last_lines(stderr)),
            Cause::Concurrency(_) | Cause::Backlog(_) | Cause::NotClosed => None,
        }
    }

    /// What the author of the server can do, if the cause alone tells.
    pub fn advice(&self) -> Option<String> {
        match self {
            Cause::Ended { .. } => None,
            Cause::Raised { .. } => Some(
                "handle this error where it occurs: it may end one connection, but nothing else"
                    .to_owned(),
            ),
            Cause::Concurrency(count) => Some(format!(
                "if this is meant, declare it: check --concurrency {count}. Else give each client a \
                 thread, or wait for all sockets at once (select, poll, epoll)"
            )),
            Cause::Backlog(count) => Some(format!(
                "pass a larger backlog to listen(), such as 128; {count} connections suggest {}. Or \
                 accept sooner: a loop that does something else meanwhile lets the backlog fill",
                count.saturating_sub(1)
            )),
            Cause::NotClosed => Some(
                "when read() returns 0 and all bytes are written, close the connection".to_owned(),
            ),
        }
    }
}

/// The kind of an error: the name of the exception behind a traceback, or the line with another sign up to
/// its first number. Without a sign, the last line.
fn kind_of_error(stderr: &str) -> &str {
    let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    if !stderr.contains(TRACEBACK)
        && let Some(line) = lines.clone().find(|line| SIGNS.iter().any(|sign| line.contains(sign)))
    {
        return line.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or(line);
    }
    lines.next_back().unwrap_or_default().split(':').next().unwrap_or_default()
}

/// The last lines of a text, without control characters: a terminal would act on them.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].iter().map(|line| {
        let visible = line.chars().map(|letter| match letter {
            '\t' => ' ',
            letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
            letter => letter,
        });
        visible.take(LINE_SHOWN).collect::<String>()
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(stderr: &str) -> Cause {
        Cause::of_stderr(stderr.to_owned()).unwrap()
    }

    #[test]
    fn errors_of_one_kind_are_one_cause() {
        let decode = |place: u32| {
            raised(&format!(
                "Exception in thread Thread-{place} (serve):\nTraceback (most recent call last):\n  \
                 File \"server.py\", line 7\nUnicodeDecodeError: can't decode byte {place}\n"
            ))
        };
        assert!(decode(1).is_same(&decode(7)));
        let reset = raised(
            "Traceback (most recent call last):\n  File \"server.py\", line 9\n\
             ConnectionResetError: [Errno 104] Connection reset by peer\n",
        );
        assert!(!reset.is_same(&decode(1)));
        let panic = |line: u32| {
            raised(&format!(
                "thread 'main' panicked at src/main.rs:{line}:5:\nno more\nnote: run\n"
            ))
        };
        assert!(panic(10).is_same(&panic(20)));
        assert!(!panic(10).is_same(&reset));
        assert_eq!(Cause::of_stderr("127.0.0.1 - GET /\n".to_owned()), None);
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        let many: String = (0..100).map(|line| format!("line {line}\x1b[31m\n")).collect();
        let shown = last_lines(&many);
        assert_eq!(shown.lines().count(), LINES_SHOWN);
        assert!(shown.starts_with("line 88\u{fffd}[31m") && shown.contains("line 99"), "{shown}");
    }
}
