//! What a task waits for: a socket, or a time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use polling::{Event, PollMode, Poller};
use socket2::Socket;

use crate::executor::Executor;

/// A non-blocking socket. One task at a time can wait for it.
pub struct Source {
    socket: Arc<Socket>,
    executor: Arc<Executor>,
    /// Its key among the executor's interests, and in the selector.
    key: usize,
    /// No read was tried yet.
    fresh: AtomicBool,
}

/// What a task can wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A read that does not block.
    Read,
    /// A write that does not block.
    Write,
}

/// A [`Source`] as the executor sees it.
pub(crate) struct Interest {
    socket: Arc<Socket>,
    waker: Option<Waker>,
    /// What the selector watches.
    armed: Option<Direction>,
}

impl Interest {
    /// Tells the selector what to watch, unless the selector knows.
    ///
    /// The selector is level-triggered. So what a read leaves in the socket is reported by the next wait,
    /// and no read is made just to see `WouldBlock`. The socket stays armed after an event: a task that
    /// reads in a loop tells the selector once.
    fn arm(&mut self, key: usize, wanted: Option<Direction>, poller: &Poller) -> io::Result<()> {
        let (read, write) = (Some(Direction::Read), Some(Direction::Write));
        let event = Event::new(key, wanted == read, wanted == write);
        match (self.armed, wanted) {
            (armed, wanted) if armed == wanted => return Ok(()),
            #[allow(unsafe_code)]
            // SAFETY: `Source::drop` deletes the socket, which this interest keeps open until then.
            (None, _) => unsafe {
                poller.add_with_mode(self.socket.as_raw_fd(), event, PollMode::Level)?;
            },
            (_, None) => poller.delete(&self.socket)?,
            // `modify` alone would change the mode.
            _ => poller.modify_with_mode(&self.socket, event, PollMode::Level)?,
        }
        self.armed = wanted;
        Ok(())
    }

    /// The socket is ready. Returns the waker to call. An event that no task waits for would be repeated
    /// by every wait, so it disarms the socket.
    pub(crate) fn report(&mut self, key: usize, poller: &Poller) -> Option<Waker> {
        if self.waker.is_none() {
            let _ = self.arm(key, None, poller); // Fails only for a socket that is not registered.
        }
        self.waker.take()
    }
}

impl Source {
    /// A source of `executor`. `socket` must be non-blocking.
    pub fn new(executor: &Arc<Executor>, socket: Socket) -> Source {
        let (socket, executor) = (Arc::new(socket), Arc::clone(executor));
        let interest = Interest { socket: Arc::clone(&socket), waker: None, armed: None };
        let key = executor.lock().interests.insert(interest);
        Source { socket, executor, key, fresh: true.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until the socket is ready.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2): the kernel has no memory for one more socket.
    pub fn ready(&self, direction: Direction) -> Ready<'_> {
        Ready { source: self, direction, waiting: false }
    }

    /// Reads what has arrived, or waits for it. Returns 0 at end of stream.
    ///
    /// # Errors
    ///
    /// Those of recv(2) except EAGAIN and EINTR, and those of [`ready`](Source::ready).
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // The first read is tried at once. Before a later one, the other tasks have their turn: the
            // read before it has most often emptied the socket.
            if !self.fresh.swap(false, Relaxed) {
                self.ready(Direction::Read).await?;
            }
            match (&*self.socket).read(buffer) {
                Err(error) if is_temporary(&error) => {}
                read => return read,
            }
        }
    }

    /// Writes what the peer takes now, or waits until the peer takes something. Returns how many bytes.
    ///
    /// # Errors
    ///
    /// Those of send(2) except EAGAIN and EINTR, and those of [`ready`](Source::ready).
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&*self.socket).write(bytes) {
                Err(error) if is_temporary(&error) => self.ready(Direction::Write).await?,
                written => return written,
            }
        }
    }
}

/// Whether to wait and try again. After a signal, the wait is short: the socket may be ready.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut interest = self.executor.lock().interests.remove(self.key);
        let _ = interest.arm(self.key, None, &self.executor.poller);
    }
}

/// Waits until a socket is ready. If it is dropped before, it leaves nothing registered.
pub struct Ready<'a> {
    source: &'a Source,
    direction: Direction,
    waiting: bool,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Source { executor, key, .. } = self.source;
        let mut core = executor.lock();
        let interest = &mut core.interests[*key];
        if self.waiting && interest.waker.is_none() {
            self.waiting = false;
            return Poll::Ready(Ok(())); // The event has taken the waker.
        }
        interest.arm(*key, Some(self.direction), &executor.poller)?;
        let replaced = interest.waker.replace(context.waker().clone());
        self.waiting = true;
        drop(core);
        drop(replaced); // There is one if this poll was not due.
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if self.waiting {
            let Source { executor, key, .. } = self.source;
            let mut core = executor.lock();
            let interest = &mut core.interests[*key];
            let _ = interest.arm(*key, None, &executor.poller);
            let waker = interest.waker.take();
            drop(core);
            drop(waker);
        }
    }
}

/// Waits until a time, or a little longer. If it is dropped before, it leaves no timer.
pub struct Sleep {
    executor: Arc<Executor>,
    until: Instant,
    /// Its number among the timers; 0 before it is one of them.
    number: u64,
}

impl Sleep {
    /// Waits until `until`.
    pub fn until(executor: &Arc<Executor>, until: Instant) -> Sleep {
        Sleep { executor: Arc::clone(executor), until, number: 0 }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.until <= Instant::now() {
            return Poll::Ready(());
        }
        let Sleep { executor, until, number } = &mut *self;
        let mut core = executor.lock();
        if *number == 0 {
            core.timers_made += 1;
            *number = core.timers_made;
        }
        let replaced = core.timers.insert((*until, *number), context.waker().clone());
        executor.rouse(core); // The sleeping thread may mean to sleep longer.
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _waker = self.executor.lock().timers.remove(&(self.until, self.number));
    }
}
