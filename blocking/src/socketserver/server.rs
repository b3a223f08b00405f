//! The loop: wait, take, verify, start, again.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo::{ACCEPT_PAUSE, Address, Shortage};

use crate::handler::is_verified;
use crate::workers::Workers;
use crate::{Concurrency, Handler, Request, Stopper, Taken};

/// Clients that the kernel may queue for a server before they are accepted (listen(2)). The kernel
/// caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 1024;

/// How long a server that is dropped lets threads and processes finish. [`Server::close`] takes
/// another limit.
pub const DRAIN: Duration = Duration::from_secs(1);

/// How long threads and processes may take to notice that they were cut off.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// A bound socket, the handler of its requests, and those who serve them.
///
/// A server that is dropped is [closed](Server::close).
pub struct Server<R: Request, H> {
    /// Gone when the server is closed, and in a forked child.
    source: Option<R::Source>,
    handler: Arc<H>,
    workers: Workers<R>,
    /// A request that was taken when no thread or process could be started for it.
    waiting: Option<R>,
    /// After a shortage, nothing is taken before this time.
    pause: Option<Instant>,
    shortage: Shortage,
    stopper: Stopper,
}

impl<R: Request, H: Handler<R>> Server<R, H> {
    /// Binds `addr`. From here on, the kernel queues requests.
    ///
    /// The file of a Unix-domain socket is removed with the server. A file that a killed server has
    /// left is replaced.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or no descriptor is left. The message says what to do.
    ///
    /// ```
    /// use socketserver::{Concurrency, Datagram, Server, Socket};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let path = std::env::temp_dir().join(format!("socketserver-{}", std::process::id()));
    /// let unix = format!("unix:{}", path.display()).parse()?;
    ///
    /// let stream = |_: &Socket| Ok(());
    /// let tcp = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), stream)?;
    /// let unix_stream = Server::bind(&unix, Concurrency::threads(), stream)?;
    /// # assert!(Server::bind(&unix, Concurrency::threads(), stream).is_err());
    /// drop(unix_stream); // Another socket can have the path.
    ///
    /// let datagram = |_: &Datagram| Ok(());
    /// let udp = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), datagram)?;
    /// let unix_datagram = Server::bind(&unix, Concurrency::threads(), datagram)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(
        addr: &Address,
        concurrency: Concurrency,
        handler: H,
    ) -> echo::Result<Server<R, H>> {
        let source = R::bind(addr)?;
        let stopper = Stopper::new()?;
        Ok(Server {
            source: Some(source),
            handler: Arc::new(handler),
            workers: Workers::new(concurrency, stopper.wake())?,
            waiting: None,
            pause: None,
            shortage: Shortage::default(),
            stopper,
        })
    }

    /// The address that was really bound.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn address(&self) -> io::Result<Address> {
        self.source.as_ref().map_or_else(|| Err(closed()), R::address)
    }

    /// What ends the loop: give it to another thread, to a handler, or to signals.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The requests that threads or processes serve at present.
    ///
    /// ```
    /// # use socketserver::{Concurrency, Server, Socket};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nothing = |_: &Socket| Ok(());
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), nothing)?;
    /// assert_eq!(server.active(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn active(&mut self) -> usize {
        self.workers.reap();
        self.workers.active()
    }

    /// Serves requests until a stop is requested.
    ///
    /// # Errors
    ///
    /// What concerns the bound socket, never a single request.
    pub fn serve_forever(&mut self) -> io::Result<()> {
        let stopper = self.stopper();
        let _looping = stopper.enter();
        while self.take_and_start(None)? {}
        Ok(())
    }

    /// Waits for one request, at most for `limit`, and serves it or starts what serves it. Returns
    /// `true` after a request, even if [`Handler::verify`] has refused it. Returns `false` when the
    /// time is over or a stop was requested.
    ///
    /// # Errors
    ///
    /// As for [`serve_forever`](Server::serve_forever).
    ///
    /// ```
    /// # use socketserver::{Concurrency, Server, Socket};
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nothing = |_: &Socket| Ok(());
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), nothing)?;
    /// assert!(!server.handle_request(Some(Duration::from_millis(10)))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle_request(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let stopper = self.stopper();
        let _looping = stopper.enter();
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.take_and_start(deadline)
    }

    /// Returns whether a request was taken before `deadline` or a stop.
    fn take_and_start(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            self.wait(deadline)?;
            if self.workers.reap() > 0 {
                self.pause = None; // What was missing may be there now.
            }
            if self.stopper.requested() {
                return Ok(false);
            }
            if self.may_take() && self.take_one()? {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(false);
            }
        }
    }

    /// Whether a request may be taken: no pause after a shortage, and a place for the request.
    fn may_take(&self) -> bool {
        self.pause.is_none_or(|until| until <= Instant::now()) && self.workers.has_place()
    }

    /// Sleeps in poll(2) until there may be something to do.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        let may_take = self.may_take();
        if may_take && self.waiting.is_some() {
            return Ok(());
        }
        let source = self.source.as_ref().filter(|_| may_take);
        let pause = self.pause.filter(|until| *until > Instant::now());
        let until = [deadline, pause].into_iter().flatten().min();
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.stopper.wake().wait(source.map(AsFd::as_fd), limit)
    }

    /// Takes the next request, and serves it or starts what serves it. Returns `false` if there was
    /// none, or if it must wait.
    fn take_one(&mut self) -> io::Result<bool> {
        let request = match (self.waiting.take(), &mut self.source) {
            (Some(request), _) => request,
            (None, None) => return Err(closed()),
            (None, Some(source)) => match R::take(source, self.workers.active())? {
                Taken::Request(request) if is_verified(&*self.handler, &request) => request,
                Taken::Request(_) => return Ok(true),
                Taken::Nobody => return Ok(false),
                Taken::Shortage => {
                    self.pause = Some(Instant::now() + ACCEPT_PAUSE);
                    return Ok(false);
                }
            },
        };
        match self.workers.start(request, &self.handler, &mut self.source) {
            Ok(()) => Ok(true),
            Err((request, error)) => {
                // The request waits until another one has ended, or for the length of a pause.
                self.shortage.report(format_args!("a request waits to be served: {error}"));
                self.waiting = Some(request);
                self.pause = Some(Instant::now() + ACCEPT_PAUSE);
                Ok(false)
            }
        }
    }

    /// Closes the bound socket, and waits for the threads and processes.
    ///
    /// A handler on a thread finds end of stream behind the bytes that have arrived. After `drain`,
    /// the streams are shut down altogether, and the processes are killed. A thread may still run
    /// then, because its handler computes or sleeps: it is reported on stderr, and not waited for.
    ///
    /// ```
    /// # use socketserver::{Concurrency, Server, Socket};
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wait = |mut stream: &Socket| std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, Concurrency::threads(), wait)?;
    /// let _silent = std::net::TcpStream::connect(server.address()?.to_string())?;
    /// assert!(server.handle_request(None)?);
    /// server.close(Duration::from_secs(5)); // The handler finds end of stream, and ends at once.
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(mut self, drain: Duration) {
        self.end(drain);
    }
}

impl<R: Request, H> Server<R, H> {
    fn end(&mut self, drain: Duration) {
        let Some(source) = self.source.take() else { return };
        drop((source, self.waiting.take()));
        self.workers.end_reading();
        self.wait_for_workers(drain);
        self.workers.cut_off();
        self.wait_for_workers(LAST_MOMENT);
        if self.workers.active() > 0 {
            echo::report(format_args!("{} handlers still run", self.workers.active()));
        }
    }

    fn wait_for_workers(&mut self, limit: Duration) {
        let deadline = Instant::now().checked_add(limit);
        loop {
            self.workers.reap();
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let over = self.workers.active() == 0 || left == Some(Duration::ZERO);
            if over || self.stopper.wake().wait(None, left).is_err() {
                return;
            }
        }
    }
}

impl<R: Request, H> Drop for Server<R, H> {
    fn drop(&mut self) {
        self.end(DRAIN);
    }
}

/// The error of a server without its bound socket.
fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the server is closed")
}
