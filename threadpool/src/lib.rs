//! A fixed number of threads that take jobs from one bounded queue.
//!
//! A thread for each client lets the clients decide how many threads there are. A pool decides
//! itself: so many jobs run, so many wait, and whoever brings the next one waits too. That wait is
//! the back-pressure that keeps the queue, and the latency in it, bounded.
//!
//! Not here: work stealing, priorities, results of jobs. Jobs that compute belong in a
//! work-stealing pool; these wait for I/O.
#![forbid(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, SendError, Sender, TrySendError};

/// A job: it runs once, on the worker that is free first.
pub type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of workers, and a queue in front of them.
#[derive(Debug)]
pub struct ThreadPool {
    /// `None` once the pool is being dropped: that closes the queue.
    queue: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
}

impl ThreadPool {
    /// Starts `workers` threads behind a queue of at most `queue` jobs. With a queue of 0 a job is
    /// handed over only when a worker is free to take it.
    ///
    /// # Errors
    ///
    /// When the system has not that many threads to give. Those already started end.
    pub fn new(workers: usize, queue: usize) -> io::Result<ThreadPool> {
        let (sender, jobs) = crossbeam_channel::bounded(queue);
        let mut pool = ThreadPool { queue: Some(sender), workers: Vec::with_capacity(workers) };
        for number in 0..workers {
            let jobs = jobs.clone();
            let worker = thread::Builder::new().name(format!("worker-{number}"));
            let worker = worker.spawn(move || work(&jobs)).map_err(|error| {
                let advice = "ask for fewer workers";
                let text = format!("cannot start worker {number} of {workers}: {error}; {advice}");
                io::Error::new(error.kind(), text)
            })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Hands over a job. Sleeps while the queue is full.
    pub fn execute(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(queue) = &self.queue
            && let Err(SendError(job)) = queue.send(Box::new(job))
        {
            // A pool without workers: the caller is one.
            run(job);
        }
    }

    /// Hands over a job if the queue has room for it. Never sleeps, so an event loop may call this.
    ///
    /// ```
    /// use threadpool::ThreadPool;
    ///
    /// let pool = ThreadPool::new(1, 1)?;
    /// if let Err(job) = pool.try_execute(|| println!("worker")) {
    ///     job(); // The queue is full. An event loop would stop reading instead, and retry later.
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the queue is full, or the pool has no workers. The job comes back, to be handed over
    /// later.
    pub fn try_execute(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Job> {
        let job: Job = Box::new(job);
        match &self.queue {
            Some(queue) => queue.try_send(job).map_err(TrySendError::into_inner),
            None => Err(job),
        }
    }
}

impl Drop for ThreadPool {
    /// Waits until every job has run, those in the queue too, and joins the workers.
    fn drop(&mut self) {
        self.queue = None;
        for worker in self.workers.drain(..) {
            // A worker survives its jobs' panics, so it has none of its own to report.
            let _ = worker.join();
        }
    }
}

/// A worker: takes jobs until the queue is closed and empty.
fn work(jobs: &Receiver<Job>) {
    for job in jobs {
        run(job);
    }
}

/// Runs a job. A panic ends the job and not the worker: else each would leave the pool smaller. The
/// panic hook has reported it by then.
fn run(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier, mpsc};
    use std::time::Duration;

    use super::*;

    /// Far longer than anything here takes: a wait this long is a failure, and not a slow machine.
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn as_many_jobs_run_at_once_as_there_are_workers() {
        let pool = ThreadPool::new(4, 4).unwrap();
        // Passes only when all four jobs are inside it at the same time.
        let (barrier, (met, all_met)) = (Arc::new(Barrier::new(4)), mpsc::channel());
        for _ in 0..4 {
            let (barrier, met) = (Arc::clone(&barrier), met.clone());
            pool.execute(move || {
                barrier.wait();
                met.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            all_met.recv_timeout(LONG).unwrap();
        }
    }

    #[test]
    fn a_full_queue_makes_the_caller_wait() {
        let pool = ThreadPool::new(1, 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        pool.execute(move || {
            started.send(()).unwrap();
            let _ = released.recv_timeout(LONG);
        });
        has_started.recv_timeout(LONG).unwrap();
        pool.execute(|| {}); // Fills the queue behind the one that runs.
        let (accepted, was_accepted) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                pool.execute(|| {});
                accepted.send(()).unwrap();
            });
            assert!(was_accepted.recv_timeout(Duration::from_millis(100)).is_err());
            release.send(()).unwrap();
            was_accepted.recv_timeout(LONG).unwrap();
        });
    }

    #[test]
    fn a_full_queue_gives_the_job_back_and_takes_it_later() {
        let pool = ThreadPool::new(1, 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        pool.execute(move || {
            started.send(()).unwrap();
            let _ = released.recv_timeout(LONG);
        });
        has_started.recv_timeout(LONG).unwrap();
        assert!(pool.try_execute(|| {}).is_ok()); // Fills the queue behind the one that runs.
        let (ran, has_run) = mpsc::channel();
        let job = pool.try_execute(move || ran.send(()).unwrap()).unwrap_err();
        assert!(has_run.recv_timeout(Duration::from_millis(50)).is_err(), "it ran all the same");
        release.send(()).unwrap();
        pool.execute(job);
        has_run.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn a_pool_without_workers_gives_every_job_back() {
        let pool = ThreadPool::new(0, 1).unwrap();
        assert!(pool.try_execute(|| {}).is_err());
    }

    #[test]
    fn a_panicking_job_takes_no_worker_with_it() {
        let pool = ThreadPool::new(2, 8).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..8 {
            pool.execute(|| std::panic::resume_unwind(Box::new("the job's own fault")));
            let done = Arc::clone(&done);
            pool.execute(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn dropping_the_pool_runs_what_is_queued() {
        let pool = ThreadPool::new(1, 100).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = Arc::clone(&done);
            pool.execute(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}
