//! The pool's second form (`--hand-off readiness`): workers take *ready connections*, not clients.
//!
//! All connections are registered with one selector, in oneshot mode, which is polling's default: an
//! event goes to one worker, and the connection is not reported again until that worker has re-armed it.
//! So a silent client holds no worker, and two workers never serve the same client.
//!
//! Workers take turns at waiting (the Leader/Followers pattern, D. C. Schmidt and others, 2000). The
//! leader **sleeps in the selector while it holds the lock of the queue**. The followers sleep on that
//! lock. When the leader wakes, it puts what is ready into the queue, takes the first, and unlocks: a
//! follower gets the lock, takes the next, and so on. The follower that finds the queue empty is the new
//! leader. So the lock is the whole hand-off: no condition variable, no channel, no extra thread.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use echo::{
    ACCEPTS_PER_TURN, Accepted, Connection, Lifecycle, Listener, Options, Scratch, Tally, Totals,
    Wants,
};
use polling::{Event, Events, Poller};
use slab::Slab;
use socket2::Socket;
use threadpool::ThreadPool;

/// Key of the stop's descriptor in the selector.
const STOP: usize = 0;
/// Key of the listener.
const LISTENER: usize = 1;
/// Key of the first client; the others follow.
const FIRST_CLIENT: usize = 2;

/// Serves with `workers` threads until a stop is requested.
pub(crate) fn serve(options: &Options, workers: usize) -> echo::Result<Totals> {
    let life = Lifecycle::new(options)?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let server = Arc::new(Server {
        poller: Poller::new()?,
        queue: Mutex::new(Queue { events: Events::new(), ready: VecDeque::new(), life }),
        listener: Mutex::new(listener),
        listener_waits: AtomicBool::new(false),
        clients: Mutex::new(Slab::new()),
        draining: AtomicBool::new(false),
        over: AtomicBool::new(false),
        served: Mutex::new(Ok(Totals::default())),
    });
    server.watch()?;
    let pool = ThreadPool::new(workers, workers)?; // One job for each: to work until the end.
    for _ in 0..workers {
        let (server, options) = (Arc::clone(&server), options.clone());
        pool.execute(move || server.work(&options));
    }
    drop(pool); // Waits for the workers.
    let mut totals = std::mem::replace(&mut *lock(&server.served), Ok(Totals::default()))?;
    totals += lock(&server.queue).life.totals();
    Ok(totals)
}

/// What the workers share.
struct Server {
    poller: Poller,
    queue: Mutex<Queue>,
    listener: Mutex<Listener>,
    /// The listener is not armed: the server is full, or accepting pauses.
    listener_waits: AtomicBool,
    clients: Mutex<Slab<Arc<Mutex<Connection<Socket>>>>>,
    draining: AtomicBool,
    /// The workers leave: the drain has ended, or one of them has failed.
    over: AtomicBool,
    served: Mutex<io::Result<Totals>>,
}

/// Locked by the leader while it sleeps in the selector, and by the followers while they take.
struct Queue {
    events: Events,
    ready: VecDeque<usize>,
    life: Lifecycle,
}

impl Server {
    /// A worker: takes what is ready, until the end.
    fn work(&self, options: &Options) {
        let mut scratch = Scratch::new(options);
        let mut tally = Tally::new(options);
        let result = loop {
            let done = match self.next_ready() {
                Ok(None) => break Ok(()),
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
        self.over.store(true, Ordering::Relaxed);
        let _ = self.poller.notify(); // The leader must leave too.
    }

    /// Takes one that is ready. A worker that finds the queue empty becomes the leader, and fills it.
    fn next_ready(&self) -> io::Result<Option<usize>> {
        let mut queue = lock(&self.queue);
        let Queue { events, ready, life } = &mut *queue;
        loop {
            if (ready.is_empty() || life.must_hurry()) && self.is_over(life) {
                return Ok(None);
            }
            if let Some(key) = ready.pop_front() {
                return Ok(Some(key));
            }
            self.arm_listener_if_it_waits()?; // A pause may be over.
            let timeout = life.longest_wait(&lock(&self.listener));
            events.clear(); // `wait` appends.
            self.poller.wait(events, timeout)?;
            // `is_over` looks at the stop.
            ready.extend(events.iter().map(|event| event.key).filter(|key| *key != STOP));
        }
    }

    /// One step for a client that is ready, and no more: other clients wait.
    fn serve_client(&self, key: usize, scratch: &mut Scratch, tally: &mut Tally) -> io::Result<()> {
        let entry = lock(&self.clients).get(key - FIRST_CLIENT).cloned();
        let Some(entry) = entry else { return Ok(()) };
        let mut client = lock(&entry);
        let step = tally.step(client.step(scratch), client.stream());
        let next = match step.wants {
            Wants::Read => Event::readable(key),
            Wants::Write => Event::writable(key),
            Wants::Close => {
                self.poller.delete(client.stream())?;
                drop(client);
                drop(entry);
                // The last handle: the descriptor is free before a worker accepts again.
                drop(lock(&self.clients).remove(key - FIRST_CLIENT));
                self.arm_listener_if_it_waits()?;
                if self.draining.load(Ordering::Relaxed) {
                    self.poller.notify()?; // It may have been the last: the leader must look.
                }
                return Ok(());
            }
        };
        // Re-arm. From here on, another worker may take this client.
        self.poller.modify(client.stream(), next)
    }

    /// Accepts clients that wait, up to a bound.
    fn accept(&self, tally: &mut Tally) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.draining.load(Ordering::Relaxed) {
                return Ok(());
            }
            let active = lock(&self.clients).len();
            let Accepted::Client(stream) = lock(&self.listener).accept(active)? else { break };
            tally.opened(&stream);
            let mut clients = lock(&self.clients);
            if self.draining.load(Ordering::Relaxed) {
                let _ = stream.shutdown(Shutdown::Read); // The others were told before it came.
            }
            let entry = clients.vacant_entry();
            let key = entry.key() + FIRST_CLIENT;
            // SAFETY: `serve_client` deletes it before it is dropped, or the process ends.
            #[allow(unsafe_code)]
            let added = unsafe { self.poller.add(stream.as_raw_fd(), Event::readable(key)) };
            match added {
                Ok(()) => _ = entry.insert(Arc::new(Mutex::new(Connection::new(stream)))),
                // The kernel has no memory for this client: it is closed, and the others go on.
                Err(error) => tally.closed(&stream, &Err(error)),
            }
        }
        self.listener_waits.store(true, Ordering::SeqCst);
        self.arm_listener_if_it_waits()?;
        match lock(&self.listener).pause_left() {
            Some(_) => self.poller.notify(), // The leader may sleep longer than the pause lasts.
            None => Ok(()),
        }
    }

    /// Arms the listener again, if it is not armed and there is a place for one more client.
    fn arm_listener_if_it_waits(&self) -> io::Result<()> {
        // The acceptor sets the flag before it looks for a place here, and a worker frees a place before
        // it looks at the flag. So one of the two sees both.
        if !self.listener_waits.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut listener = lock(&self.listener);
        let active = lock(&self.clients).len();
        let accepts = !self.draining.load(Ordering::Relaxed) && listener.is_open(active);
        // Only one of several workers that come here arms it.
        if accepts && self.listener_waits.swap(false, Ordering::SeqCst) {
            self.poller.modify(listener.as_fd(), Event::readable(LISTENER))?;
        }
        Ok(())
    }

    /// Whether the workers must leave. Begins the drain, and shuts down the idle.
    fn is_over(&self, life: &mut Lifecycle) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return true;
        }
        let active = lock(&self.clients).len();
        let over = life.is_over_for::<Connection<Socket>>(active, |draining, tell| {
            self.draining.store(draining, Ordering::Relaxed);
            // Workers lock a client first and the table second, so the table is not held here.
            let clients: Vec<_> =
                lock(&self.clients).iter().map(|(_, client)| Arc::clone(client)).collect();
            for client in clients {
                match client.try_lock() {
                    Ok(mut client) => tell(&mut client),
                    Err(_) if draining => tell(&mut lock(&client)),
                    Err(_) => {} // It is being served, so it is not idle.
                }
            }
        });
        self.over.store(over, Ordering::Relaxed);
        over
    }

    /// Registers what is there from the start.
    fn watch(&self) -> io::Result<()> {
        let (queue, listener) = (lock(&self.queue), lock(&self.listener));
        if let Some(stop) = queue.life.stop_fd() {
            // SAFETY: it lives as long as the selector: both are fields of the same struct.
            #[allow(unsafe_code)]
            unsafe {
                self.poller.add(stop.as_raw_fd(), Event::readable(STOP))?;
            }
        }
        // SAFETY: likewise.
        #[allow(unsafe_code)]
        unsafe {
            self.poller.add(listener.as_fd().as_raw_fd(), Event::readable(LISTENER))
        }
    }
}

/// A worker that panicked has left nothing half done: the others can go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
