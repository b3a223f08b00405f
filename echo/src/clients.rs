//! The live streams of a server whose threads block in them.

use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::Socket;

use crate::{Totals, report};

/// The clients that a server with blocking threads is serving.
///
/// A thread that blocks in read(2) or write(2) cannot look at a flag: it must be woken by someone who
/// holds its stream. This is that someone. It also counts, so that accepting can wait for a place.
#[derive(Debug, Default)]
pub struct Clients {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    live: Slab<Arc<Socket>>,
    totals: Totals,
    stopping: bool,
}

/// One client's stream for as long as it is served; dropping it closes the stream and frees the place.
#[derive(Debug)]
pub struct Client {
    clients: Arc<Clients>,
    stream: Arc<Socket>,
    key: usize,
}

impl Clients {
    /// No clients yet.
    pub fn new() -> Arc<Clients> {
        Arc::default()
    }

    /// Enters a client. If a [`drain`](Clients::drain) has begun, its stream is drained like the others.
    pub fn enter(self: &Arc<Clients>, stream: Socket) -> Client {
        let stream = Arc::new(stream);
        let mut inner = self.lock();
        inner.totals.connections += 1;
        let key = inner.live.insert(Arc::clone(&stream));
        if inner.stopping {
            let _ = stream.shutdown(Shutdown::Read);
        }
        Client { clients: Arc::clone(self), stream, key }
    }

    /// Number of clients being served.
    pub fn active(&self) -> usize {
        self.lock().live.len()
    }

    /// Sleeps until a client leaves or a drain begins, or for `limit`.
    pub fn wait_for_change(&self, limit: Option<Duration>) {
        let inner = self.lock();
        let before = (inner.live.len(), inner.stopping);
        let unchanged = |inner: &mut Inner| (inner.live.len(), inner.stopping) == before;
        drop(self.wait_while(inner, limit, unchanged));
    }

    /// Whether a drain has begun.
    pub fn stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Lets every client finish: shuts down the reading half of its stream, so that its thread finds end
    /// of stream behind what has arrived, echoes that, and leaves. Those that have not left after `limit`
    /// are shut down altogether, which ends a write(2) to a peer that does not read.
    pub fn drain(&self, limit: Duration) {
        let mut inner = self.lock();
        inner.stopping = true;
        self.changed.notify_all();
        for (_, stream) in &inner.live {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let inner = self.wait_while(inner, Some(limit), |inner| !inner.live.is_empty());
        for (_, stream) in &inner.live {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Their threads are on their way out now.
        drop(self.wait_while(inner, Some(Duration::from_secs(1)), |inner| !inner.live.is_empty()));
    }

    /// What has been done so far.
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    fn wait_while<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        limit: Option<Duration>,
        mut condition: impl FnMut(&mut Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        while condition(&mut inner) {
            inner = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
        inner
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every update is complete at once: a thread that panicked has left nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Counts what was done for this client, and reports its end when `verbose`.
    pub fn finish(self, bytes: u64, result: &io::Result<()>, verbose: bool) {
        let mut inner = self.clients.lock();
        inner.totals.bytes += bytes;
        inner.totals.errors += u64::from(result.is_err());
        drop(inner);
        match result {
            Ok(()) if verbose => report(format_args!("closed after {bytes} bytes")),
            Err(error) if verbose => report(format_args!("failed after {bytes} bytes: {error}")),
            _ => {}
        }
    }
}

impl Deref for Client {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.stream
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.lock().live.try_remove(self.key);
        self.clients.changed.notify_all();
    }
}
