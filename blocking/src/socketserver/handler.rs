//! What happens to one request, and in which order.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Request;

/// What a server does with each request of the type `R`.
///
/// One value serves all requests, possibly on several threads. What one request needs for itself is
/// its [`Session`](Handler::Session).
///
/// A closure from `&R` to `io::Result<()>` is a handler too, which does nothing but `handle`.
///
/// ```
/// use std::io::{self, Write};
/// use std::time::{Duration, Instant};
/// use socketserver::{Handler, Socket};
///
/// /// Tells each client how long it was served.
/// struct Timer;
///
/// impl Handler<Socket> for Timer {
///     type Session = Instant;
///
///     fn verify(&self, stream: &Socket) -> bool {
///         let peer = stream.peer_addr().ok().and_then(|peer| peer.as_socket_ipv4());
///         peer.is_some_and(|peer| peer.ip().is_loopback())
///     }
///
///     fn setup(&self, stream: &Socket) -> io::Result<Instant> {
///         stream.set_read_timeout(Some(Duration::from_secs(10)))?; // A silent client ends.
///         Ok(Instant::now())
///     }
///
///     fn handle(&self, _: &mut Instant, mut stream: &Socket) -> io::Result<()> {
///         stream.write_all(b"hello\n")
///     }
///
///     fn finish(&self, start: Instant, mut stream: &Socket) -> io::Result<()> {
///         writeln!(stream, "{} us", start.elapsed().as_micros())
///     }
/// }
/// # use std::io::{BufRead, BufReader};
/// # use socketserver::{Concurrency, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::one_at_a_time(), Timer)?;
/// # let client = std::net::TcpStream::connect(server.address()?.to_string())?;
/// # assert!(server.handle_request(None)?);
/// # let lines: Vec<String> = BufReader::new(client).lines().collect::<Result<_, _>>()?;
/// # assert!(lines[0] == "hello" && lines[1].ends_with(" us"), "{lines:?}");
/// # Ok(())
/// # }
/// ```
pub trait Handler<R>: Send + Sync + 'static {
    /// What one request needs while it is handled: made by `setup`, given up in `finish`.
    type Session;

    /// Whether to serve this request. Runs on the server's own thread, and the next request waits
    /// until it returns: be quick. The default serves every request.
    fn verify(&self, _request: &R) -> bool {
        true
    }

    /// Prepares for one request.
    ///
    /// # Errors
    ///
    /// What makes it impossible to handle the request. Then neither `handle` nor `finish` runs.
    fn setup(&self, request: &R) -> io::Result<Self::Session>;

    /// Serves the request.
    ///
    /// # Errors
    ///
    /// What concerns this request. It ends here; the server goes on.
    fn handle(&self, session: &mut Self::Session, request: &R) -> io::Result<()>;

    /// Cleans up. Runs after each `setup` that has succeeded, even when `handle` has failed or
    /// panicked.
    ///
    /// # Errors
    ///
    /// What concerns this request.
    fn finish(&self, _session: Self::Session, _request: &R) -> io::Result<()> {
        Ok(())
    }

    /// A step of this request has failed. Runs before the request is closed. The default writes one
    /// line to stderr.
    fn failed(&self, _request: &R, failure: Failure) {
        echo::report(failure);
    }
}

impl<R, F: Fn(&R) -> io::Result<()> + Send + Sync + 'static> Handler<R> for F {
    type Session = ();

    fn setup(&self, _: &R) -> io::Result<()> {
        Ok(())
    }

    fn handle(&self, (): &mut (), request: &R) -> io::Result<()> {
        self(request)
    }
}

/// A step in the life of a request.
///
/// ```
/// assert_eq!(socketserver::Step::Verify.to_string(), "verify");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Handler::verify`].
    Verify,
    /// [`Handler::setup`].
    Setup,
    /// [`Handler::handle`].
    Handle,
    /// [`Handler::finish`].
    Finish,
}

/// Why a request was not served to its end. It concerns this request alone.
///
/// ```
/// use socketserver::{Failure, Step};
///
/// let failure = Failure::Failed(Step::Handle, std::io::Error::other("no such word"));
/// assert_eq!(failure.to_string(), "request failed in handle: no such word");
/// assert_eq!(Failure::Panicked(Step::Setup).to_string(), "request failed in setup: it panicked");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// This step has returned an error.
    #[error("request failed in {0}: {1}")]
    Failed(Step, #[source] io::Error),
    /// This step has panicked. The panic hook has printed why.
    #[error("request failed in {0}: it panicked")]
    Panicked(Step),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Verify => "verify",
            Step::Setup => "setup",
            Step::Handle => "handle",
            Step::Finish => "finish",
        })
    }
}

/// Whether to serve `request`. Closes it if not.
pub(crate) fn is_verified<R: Request>(handler: &impl Handler<R>, request: &R) -> bool {
    let verified = run(Step::Verify, || Ok(handler.verify(request)));
    let serve = verified.unwrap_or_else(|failure| {
        report(handler, request, failure);
        false
    });
    if !serve {
        request.close();
    }
    serve
}

/// The life of a request that was verified. Returns whether no step has failed.
pub(crate) fn serve<R: Request>(handler: &impl Handler<R>, request: &R) -> bool {
    let mut failures = 0;
    let mut failed = |failure| {
        failures += 1;
        report(handler, request, failure);
    };
    match run(Step::Setup, || handler.setup(request)) {
        Ok(mut session) => {
            let handled = run(Step::Handle, || handler.handle(&mut session, request));
            handled.unwrap_or_else(&mut failed);
            let finished = run(Step::Finish, || handler.finish(session, request));
            finished.unwrap_or_else(&mut failed);
        }
        Err(failure) => failed(failure),
    }
    request.close();
    failures == 0
}

/// Runs one step. A panic in it ends this request, and no other.
fn run<T>(step: Step, call: impl FnOnce() -> io::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| Failure::Failed(step, error)),
        Err(_) => Err(Failure::Panicked(step)),
    }
}

fn report<R>(handler: &impl Handler<R>, request: &R, failure: Failure) {
    // The panic hook has printed a panic of this call. Nobody else is there to be told.
    let _ = catch_unwind(AssertUnwindSafe(|| handler.failed(request, failure)));
}
