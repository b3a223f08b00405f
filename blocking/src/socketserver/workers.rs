//! Who serves a request: the server's own thread, a thread for it, or a process for it.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level;

use crate::handler::serve;
use crate::wake::Wake;
use crate::{Handler, Request};

/// Most threads that serve at the same time, unless [`Concurrency::at_most`] says otherwise.
pub const THREADS_MAX: usize = 1024;

/// Most processes that serve at the same time, unless [`Concurrency::at_most`] says otherwise. The
/// bound of Python's `ForkingMixIn`.
pub const CHILDREN_MAX: usize = 40;

/// Who serves a request, and how many are served at the same time.
///
/// When all are busy, the next requests wait in the kernel: a client in the backlog, a datagram in
/// the buffer of the socket.
///
/// ```
/// use socketserver::Concurrency;
///
/// let few = Concurrency::threads().at_most(8);
/// # let _ = few;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    way: Way,
    max: usize,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    OneAtATime,
    Threads,
    Processes,
}

impl Concurrency {
    /// The server's own thread serves one request after the other.
    pub const fn one_at_a_time() -> Concurrency {
        Concurrency { way: Way::OneAtATime, max: 1 }
    }

    /// A thread for each request, at most [`THREADS_MAX`].
    pub const fn threads() -> Concurrency {
        Concurrency { way: Way::Threads, max: THREADS_MAX }
    }

    /// A process for each request, at most [`CHILDREN_MAX`]. What a handler changes in memory is
    /// lost with its process.
    ///
    /// # Safety
    ///
    /// Whenever the server takes a request, this process must have one thread. fork(2) copies the
    /// calling thread alone: a lock that another thread holds, as the allocator's, stays locked in
    /// the child for ever. To stop such a server, use [`crate::Stopper::request_on_signals`].
    ///
    /// ```standalone_crate
    /// use socketserver::{Concurrency, Server, Socket};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hello = |mut stream: &Socket| std::io::Write::write_all(&mut stream, b"hello");
    /// // SAFETY: this program starts no thread.
    /// let processes = unsafe { Concurrency::processes() };
    /// let mut server = Server::bind(&"127.0.0.1:0".parse()?, processes, hello)?;
    ///
    /// let client = std::net::TcpStream::connect(server.address()?.to_string())?;
    /// assert!(server.handle_request(None)?); // Forks, and does not wait for the child.
    /// assert_eq!(std::io::read_to_string(client)?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[allow(unsafe_code)]
    pub const unsafe fn processes() -> Concurrency {
        Concurrency { way: Way::Processes, max: CHILDREN_MAX }
    }

    /// Serves at most `max` requests at the same time, and at least one. Changes nothing for a
    /// server that serves one at a time.
    pub const fn at_most(self, max: usize) -> Concurrency {
        let max = if max == 0 { 1 } else { max };
        match self.way {
            Way::OneAtATime => self,
            way => Concurrency { way, max },
        }
    }
}

/// What serves requests at present.
pub(crate) struct Workers<R> {
    max: usize,
    kind: Kind<R>,
}

enum Kind<R> {
    OwnThread,
    Threads(Threads<R>),
    Children(Children),
}

struct Threads<R> {
    /// The threads, by number. Only a thread itself keeps its request open.
    live: HashMap<u64, (Weak<R>, JoinHandle<()>)>,
    started: u64,
    /// A thread sends its number here at its end, and then rings.
    end: Sender<u64>,
    ended: Receiver<u64>,
    wake: Arc<Wake>,
}

struct Children {
    live: Vec<Pid>,
    /// SIGCHLD rings.
    signal: SigId,
}

impl<R: Request> Workers<R> {
    /// None yet. Each rings `wake` at its end.
    pub(crate) fn new(concurrency: Concurrency, wake: &Arc<Wake>) -> io::Result<Workers<R>> {
        let kind = match concurrency.way {
            Way::OneAtATime => Kind::OwnThread,
            Way::Threads => {
                let (end, ended) = mpsc::channel();
                let (live, wake) = (HashMap::new(), Arc::clone(wake));
                Kind::Threads(Threads { live, started: 0, end, ended, wake })
            }
            Way::Processes => {
                let signal = low_level::pipe::register(SIGCHLD, wake.writer()?)?;
                Kind::Children(Children { live: Vec::new(), signal })
            }
        };
        Ok(Workers { max: concurrency.max, kind })
    }

    /// Number of requests that are being served, not counting one in the server's own thread.
    pub(crate) fn active(&self) -> usize {
        match &self.kind {
            Kind::OwnThread => 0,
            Kind::Threads(threads) => threads.live.len(),
            Kind::Children(children) => children.live.len(),
        }
    }

    /// Whether one more request can be served.
    pub(crate) fn has_place(&self) -> bool {
        self.active() < self.max
    }

    /// Serves `request`, or starts what serves it. A child closes `source` first: a restarted
    /// server must be able to bind the address while an old child is still busy.
    ///
    /// # Errors
    ///
    /// When no thread or process can be started. Gives the request back.
    pub(crate) fn start<H: Handler<R>>(
        &mut self,
        request: R,
        handler: &Arc<H>,
        source: &mut Option<R::Source>,
    ) -> Result<(), (R, io::Error)> {
        match &mut self.kind {
            Kind::OwnThread => {
                serve(&**handler, &request);
                Ok(())
            }
            Kind::Threads(threads) => threads.start(request, handler),
            Kind::Children(children) => match children.fork() {
                Ok(ForkResult::Parent { .. }) => Ok(()), // Closes the parent's copy.
                Ok(ForkResult::Child) => {
                    drop(source.take());
                    let complete = serve(&**handler, &request);
                    drop(request);
                    // The exit handlers are the parent's and do not run (_exit(2)).
                    low_level::exit(i32::from(!complete))
                }
                Err(error) => Err((request, error.into())),
            },
        }
    }

    /// Joins or reaps all that have ended. Returns their number.
    pub(crate) fn reap(&mut self) -> usize {
        let before = self.active();
        match &mut self.kind {
            Kind::OwnThread => {}
            Kind::Threads(threads) => threads.join(),
            Kind::Children(children) => children.live.retain(|child| is_alive(*child)),
        }
        before - self.active()
    }

    /// Tells the requests that nothing more shall arrive for them. A child's is out of reach.
    pub(crate) fn end_reading(&self) {
        self.each_request(R::end_reading);
    }

    /// Ends the waits of the threads, and the children altogether.
    pub(crate) fn cut_off(&self) {
        self.each_request(R::cut_off);
        if let Kind::Children(children) = &self.kind {
            for child in &children.live {
                let _ = kill(*child, Signal::SIGKILL);
            }
        }
    }

    fn each_request(&self, call: impl Fn(&R)) {
        if let Kind::Threads(threads) = &self.kind {
            for request in threads.live.values().filter_map(|(request, _)| request.upgrade()) {
                call(&request);
            }
        }
    }
}

impl<R: Request> Threads<R> {
    fn start<H: Handler<R>>(&mut self, request: R, handler: &Arc<H>) -> Result<(), (R, io::Error)> {
        let (handler, end, wake) = (Arc::clone(handler), self.end.clone(), Arc::clone(&self.wake));
        let number = self.started;
        // The request follows when there is a thread: a closure that could not be run is dropped.
        let (give, take) = mpsc::sync_channel::<Arc<R>>(1);
        let thread = thread::Builder::new().spawn(move || {
            if let Ok(request) = take.recv() {
                serve(&*handler, &*request);
            }
            let _ = end.send(number);
            wake.ring();
        });
        match thread {
            Ok(thread) => {
                let request = Arc::new(request);
                self.live.insert(number, (Arc::downgrade(&request), thread));
                self.started += 1;
                let _ = give.send(request);
                Ok(())
            }
            Err(error) => Err((request, error)),
        }
    }

    fn join(&mut self) {
        for number in self.ended.try_iter() {
            if let Some((_, thread)) = self.live.remove(&number) {
                let _ = thread.join();
            }
        }
    }
}

impl Children {
    #[allow(unsafe_code)]
    fn fork(&mut self) -> nix::Result<ForkResult> {
        // SAFETY: this process has one thread, as the caller of `Concurrency::processes` has
        // promised. So the child may do all that the parent may.
        let forked = unsafe { fork() }?;
        if let ForkResult::Parent { child } = forked {
            self.live.push(child);
        }
        Ok(forked)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        low_level::unregister(self.signal);
    }
}

/// Whether a child is still running. Reaps the child if it is not. Other children of this process,
/// which the server has not started, are not touched.
fn is_alive(child: Pid) -> bool {
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Signaled(child, signal, _)) => {
            echo::report(format_args!("child {child} was ended by {signal}"));
            false
        }
        // ECHILD: somebody else has reaped it.
        Ok(WaitStatus::Exited(..)) | Err(Errno::ECHILD) => false,
        _ => true,
    }
}
