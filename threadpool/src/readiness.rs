//! The pool's second form (`--hand-off readiness`): workers take *ready connections*, not clients.
//!
//! All connections sit in one selector, in oneshot mode: an event goes to one worker, and the
//! connection is not reported again before that worker has registered it anew. So a silent client holds
//! no worker, and no two workers ever serve the same one.
//!
//! Workers take turns at waiting: one, the leader, sleeps in the selector; the others sleep behind it,
//! and are woken for what it brings (the Leader/Followers pattern, D. C. Schmidt and others, 2000).

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use echo::{
    ACCEPTS_PER_TURN, Connection, IdleClock, Listener, Options, Scratch, Stop, Tally, Totals, Wants,
};
use polling::{Event, Events, Poller};
use slab::Slab;
use socket2::Socket;
use threadpool::ThreadPool;

/// Key of the stop pipe in the selector.
const STOP: usize = 0;
/// Key of the listener.
const LISTENER: usize = 1;
/// Key of the first client; the others follow.
const FIRST_CLIENT: usize = 2;

/// Serves with `workers` threads until asked to stop.
pub(crate) fn serve(options: &Options, workers: usize) -> io::Result<Totals> {
    let stop = Stop::new()?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let server = Arc::new(Server {
        poller: Poller::new()?,
        queue: Mutex::new(Queue {
            events: Events::new(),
            ready: VecDeque::new(),
            idle: IdleClock::new(options),
        }),
        listener: Mutex::new(listener),
        accepting_waits: AtomicBool::new(false),
        clients: Mutex::new(Slab::new()),
        drain: options.drain,
        deadline: OnceLock::new(),
        served: Mutex::new(Ok(Totals::default())),
        stop,
    });
    server.watch()?;
    let pool = ThreadPool::new(workers, workers)?;
    for _ in 0..workers {
        let (server, options) = (Arc::clone(&server), options.clone());
        pool.execute(move || server.work(&options));
    }
    drop(pool); // Waits for the workers.
    let mut served = lock(&server.served);
    std::mem::replace(&mut *served, Ok(Totals::default()))
}

/// What the workers share.
struct Server {
    poller: Poller,
    queue: Mutex<Queue>,
    listener: Mutex<Listener>,
    /// The listener is not registered: there is no place, or nothing to make one of.
    accepting_waits: AtomicBool,
    clients: Mutex<Slab<Arc<Mutex<Connection<Socket>>>>>,
    drain: Duration,
    /// When the drain that has begun must end.
    deadline: OnceLock<Instant>,
    served: Mutex<io::Result<Totals>>,
    stop: Stop,
}

/// Held by the leader while it sleeps in the selector, and by the others while they take.
struct Queue {
    events: Events,
    ready: VecDeque<usize>,
    idle: IdleClock,
}

impl Server {
    /// A worker: takes what is ready, until nothing is left to do.
    fn work(&self, options: &Options) {
        let mut scratch = Scratch::new(options);
        let mut tally = Tally::new(options);
        let result = loop {
            let done = match self.next_ready() {
                Ok(None) => break Ok(()),
                Ok(Some(STOP)) => self.begin_drain(),
                Ok(Some(LISTENER)) => self.accept(&mut tally),
                Ok(Some(client)) => self.serve_client(client, &mut scratch, &mut tally),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                break Err(error);
            }
        };
        let mut served = lock(&self.served);
        match (&mut *served, result) {
            (Ok(totals), Ok(())) => *totals += tally.totals(),
            (Ok(_), Err(error)) => *served = Err(error),
            (Err(_), _) => {}
        }
        let _ = self.poller.notify(); // The leader looks whether it is time to leave, too.
    }

    /// Takes one that is ready. Whoever finds the queue empty becomes the leader, and fills it.
    fn next_ready(&self) -> io::Result<Option<usize>> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(key) = queue.ready.pop_front() {
                return Ok(Some(key));
            }
            if lock(&self.served).is_err() || self.is_drained() {
                return Ok(None);
            }
            let drain_left =
                self.deadline.get().map(|at| at.saturating_duration_since(Instant::now()));
            let pause = lock(&self.listener).patience();
            let limits = [drain_left, queue.idle.patience(), pause];
            let timeout = limits.into_iter().flatten().min();
            let Queue { events, ready, idle } = &mut *queue;
            events.clear(); // `wait` appends.
            self.poller.wait(events, timeout)?;
            ready.extend(events.iter().map(|event| event.key));
            if idle.ticked() {
                self.shut_down(Shutdown::Both, Connection::tick);
            }
            if pause == Some(Duration::ZERO) {
                self.watch_listener()?;
            }
        }
    }

    /// One step for a client that is ready, and no more: there may be others.
    fn serve_client(&self, key: usize, scratch: &mut Scratch, tally: &mut Tally) -> io::Result<()> {
        let Some(client) = lock(&self.clients).get(key - FIRST_CLIENT).cloned() else {
            return Ok(());
        };
        let mut client = lock(&client);
        let step = tally.step(client.step(scratch), client.stream());
        let next = match step.wants {
            Wants::Read => Event::readable(key),
            Wants::Write => Event::writable(key),
            Wants::Close => {
                self.poller.delete(client.stream())?;
                lock(&self.clients).remove(key - FIRST_CLIENT);
                if self.accepting_waits.load(Ordering::Relaxed) {
                    lock(&self.listener).resume();
                    self.watch_listener()?;
                }
                if self.is_drained() {
                    self.poller.notify()?; // The leader sleeps, and nobody else would wake it.
                }
                return Ok(());
            }
        };
        // From here on another worker may have it.
        self.poller.modify(client.stream(), next)
    }

    /// Accepts who waits, up to a bound.
    fn accept(&self, tally: &mut Tally) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.deadline.get().is_some() {
                return Ok(());
            }
            let active = lock(&self.clients).len();
            let Some(stream) = lock(&self.listener).accept(active)? else { break };
            tally.opened(&stream);
            let mut clients = lock(&self.clients);
            if self.deadline.get().is_some() {
                let _ = stream.shutdown(Shutdown::Read); // The drain has begun without it.
            }
            let entry = clients.vacant_entry();
            let key = entry.key() + FIRST_CLIENT;
            // SAFETY: it is deleted before it is dropped, in `serve_client`, or the process ends.
            #[allow(unsafe_code)]
            let added = unsafe { self.poller.add(stream.as_raw_fd(), Event::readable(key)) };
            // The kernel may have no memory for this one: it is closed, and the others go on.
            if added.is_ok() {
                entry.insert(Arc::new(Mutex::new(Connection::new(stream))));
            }
        }
        self.watch_listener()
    }

    /// Registers the listener again, if there is a place for one more client.
    fn watch_listener(&self) -> io::Result<()> {
        let mut listener = lock(&self.listener);
        // First the flag, then the look: whoever makes a place meanwhile sees the one, or we the other.
        self.accepting_waits.store(true, Ordering::Relaxed);
        let active = lock(&self.clients).len();
        if listener.is_open(active) && self.deadline.get().is_none() {
            self.accepting_waits.store(false, Ordering::Relaxed);
            self.poller.modify(listener.as_fd(), Event::readable(LISTENER))?;
        }
        Ok(())
    }

    /// Each client has sent all it will: what has arrived is echoed, then end of stream is found.
    fn begin_drain(&self) -> io::Result<()> {
        self.deadline.get_or_init(|| Instant::now() + self.drain);
        self.shut_down(Shutdown::Read, |_| true);
        self.poller.notify() // The leader may have gone to sleep without the deadline.
    }

    /// Whether a drain has begun, and has come to its end.
    fn is_drained(&self) -> bool {
        let now = Instant::now();
        self.deadline.get().is_some_and(|at| *at <= now || lock(&self.clients).is_empty())
    }

    /// Shuts down those clients that `which` is true of.
    fn shut_down(&self, how: Shutdown, which: impl Fn(&mut Connection<Socket>) -> bool) {
        // Workers lock a client first and the table second, so the table is not held here.
        let clients: Vec<_> =
            lock(&self.clients).iter().map(|(_, client)| client.clone()).collect();
        for client in clients {
            let mut client = lock(&client);
            if which(&mut client) {
                let _ = client.stream().shutdown(how);
            }
        }
    }

    /// Registers what is there from the start.
    fn watch(&self) -> io::Result<()> {
        let listener = lock(&self.listener);
        // SAFETY: both live for as long as the selector: they are fields of the same struct.
        #[allow(unsafe_code)]
        unsafe {
            self.poller.add(self.stop.as_fd().as_raw_fd(), Event::readable(STOP))?;
            self.poller.add(listener.as_fd().as_raw_fd(), Event::readable(LISTENER))
        }
    }
}

/// A worker that panicked has left nothing half done that another could not go on with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
