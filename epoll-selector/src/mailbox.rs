//! How other threads reach the loop.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::{Context, Event, Handler, Interest, Next};

/// Jobs that the mailbox runs before the other handlers get their turn.
const JOBS_PER_TURN: usize = 64;

/// A closure that runs in the loop's thread. Shown at [`Remote`].
pub type Job<T> = Box<dyn FnOnce(&mut Context<'_, T>) + Send>;

/// Makes a mailbox for at most `capacity` jobs that have not run, and the first handle on it. Add
/// the mailbox to the reactor. Shown at [`Remote`].
///
/// # Errors
///
/// When no descriptor is left.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Remote<T>, Mailbox<T>)> {
    let (sender, jobs) = sync_channel(capacity.max(1));
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let rung = Arc::new(AtomicBool::new(false));
    let bell = Arc::new(Bell { pipe: theirs, rung: Arc::clone(&rung) });
    Ok((Remote { jobs: sender, bell }, Mailbox { jobs, pipe: ours, rung }))
}

/// A handle that any thread may hold: it runs closures in the loop's thread.
///
/// ```
/// use std::thread;
/// use epoll_selector::{Context, Mio, Reactor, Selector, Trigger, mailbox};
///
/// let (remote, mailbox) = mailbox(16)?;
/// let mut reactor = Reactor::new(Mio::new(Trigger::Edge)?, 0);
/// reactor.add(mailbox);
/// let worker = thread::spawn(move || {
///     let answer = 6 * 7; // This takes long, and not in the loop's thread.
///     remote.call(move |context: &mut Context<'_, i32>| *context.shared = answer).is_ok()
/// });
/// // The mailbox ends when the last `Remote` is gone, and then nothing is left to wait for.
/// assert_eq!(reactor.run()?, 42);
/// assert!(worker.join().is_ok_and(|delivered| delivered));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Remote<T> {
    // Dropped first: when the pipe closes, the queue has no sender left.
    jobs: SyncSender<Job<T>>,
    bell: Arc<Bell>,
}

/// The sending end of the pipe. It closes with the last `Remote`, which wakes the mailbox too.
struct Bell {
    pipe: UnixStream,
    rung: Arc<AtomicBool>,
}

impl<T> Remote<T> {
    /// Runs `job` in the loop's thread, soon. Sleeps while the mailbox is full, so never call this
    /// in the loop's own thread. A job that panics ends itself and nothing else.
    ///
    /// # Errors
    ///
    /// When the mailbox has gone. The job comes back.
    pub fn call(
        &self,
        job: impl FnOnce(&mut Context<'_, T>) + Send + 'static,
    ) -> Result<(), SendError<Job<T>>> {
        self.jobs.send(Box::new(job))?;
        self.ring();
        Ok(())
    }

    /// As [`call`](Remote::call), and never sleeps.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or has gone. The job comes back.
    pub fn try_call(
        &self,
        job: impl FnOnce(&mut Context<'_, T>) + Send + 'static,
    ) -> Result<(), TrySendError<Job<T>>> {
        self.jobs.try_send(Box::new(job))?;
        self.ring();
        Ok(())
    }

    /// Wakes the mailbox with one byte, unless an earlier byte has not been answered yet.
    fn ring(&self) {
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            // Fails only if the mailbox has gone.
            let _ = (&self.bell.pipe).write(&[1]);
        }
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Remote<T> {
        Remote { jobs: self.jobs.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The handler that runs the jobs of all [`Remote`]s, in the order in which each sent them. It ends
/// when the last `Remote` is gone and all jobs have run. During a stop it runs jobs until no other
/// handler is left.
pub struct Mailbox<T> {
    jobs: Receiver<Job<T>>,
    pipe: UnixStream,
    rung: Arc<AtomicBool>,
}

impl<T> Handler<T> for Mailbox<T> {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pipe.as_fd())
    }

    fn ready(&mut self, _: Event, context: &mut Context<'_, T>) -> io::Result<Next> {
        // Room for more than the one byte, so that a short read says that the pipe is empty.
        match self.pipe.read(&mut [0; 8]) {
            Ok(_) => {} // 0: the last `Remote` has gone, and the queue will say so too.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Next::Again),
            Err(error) => return Err(error),
        }
        // Before the queue is looked at: a job sent later rings again.
        self.rung.swap(false, Ordering::AcqRel);
        for _ in 0..JOBS_PER_TURN {
            match self.jobs.try_recv() {
                Ok(job) => {
                    let _ = catch_unwind(AssertUnwindSafe(|| job(context)));
                }
                Err(TryRecvError::Empty) => return Ok(Next::Wait(Interest::READ)),
                Err(TryRecvError::Disconnected) => return Ok(Next::Close),
            }
        }
        Ok(Next::Again)
    }

    fn stop(&mut self, context: &mut Context<'_, T>) -> io::Result<Next> {
        // Others may still wait for an answer that comes through here.
        context.background();
        Ok(Next::Keep)
    }
}
