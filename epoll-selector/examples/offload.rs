//! The loop and the thread pool: computing goes to the pool, and the answers return to the loop.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example offload -- --work 50ms --heavy 4096
//! listening on 127.0.0.1:7000
//! ```
//!
//! An echo server whose handler computes. In the loop's own thread, 50 ms of computing stop every client
//! for 50 ms (`--on-the-loop` shows it). Here a heavy message becomes a job of the pool, and the job's
//! answer comes back through a [`Remote`].
//!
//! Three rules keep this correct. The answers of one client stay in order: while its job runs, nothing more
//! is read from it ([`Pause::Busy`]). A full pool stops the reading too: the job waits in its conversation,
//! until another answer frees a place. And a worker never touches a connection: it sends a closure to the
//! loop, which looks the client up.

mod common;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::Serving;
use echo::Scratch;
use epoll_selector::{
    Acceptor, Context, Conversation, End, Pause, Protocol, Remote, Talk, Token, mailbox,
};
use threadpool::{Job, ThreadPool};

/// Echoes what it receives, and computes for each heavy message
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serving: Serving,

    /// CPU time to burn for each heavy message before its echo, e.g. 50ms
    #[arg(long, value_name = "DURATION", default_value = "1ms", value_parser = echo::parse_duration)]
    work: Duration,

    /// Shortest heavy message in bytes, as one read returns it; 1: all are heavy
    #[arg(long, value_name = "BYTES", default_value_t = 1)]
    heavy: usize,

    /// Threads that compute
    #[arg(long, value_name = "COUNT", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,

    /// Jobs that may wait for a thread; then reading stops
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    queue: u16,

    /// Compute in the loop's own thread instead, to see what that does to the others
    #[arg(long)]
    on_the_loop: bool,
}

/// What all clients share.
struct Shared {
    pool: ThreadPool,
    remote: Remote<Shared>,
    /// Clients whose job found the pool full; the longest waiting is first.
    waiting: VecDeque<Token>,
    /// Answers for clients that the loop has woken.
    answers: HashMap<Token, Vec<u8>>,
}

fn main() -> ExitCode {
    common::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<()> {
    // Each job that runs or waits in the pool sends one answer.
    let (remote, mailbox) = mailbox(usize::from(args.workers) + usize::from(args.queue))?;
    let shared = Shared {
        pool: ThreadPool::new(args.workers.into(), args.queue.into())?,
        remote,
        waiting: VecDeque::new(),
        answers: HashMap::new(),
    };
    let (mut reactor, listener) = args.serving.start(shared)?;
    reactor.add(mailbox);
    let (work, heavy, on_the_loop) = (args.work, args.heavy, args.on_the_loop);
    reactor.add(Acceptor::new(listener, move |stream, _: &mut Context<'_, Shared>| {
        Some(Conversation::new(stream, Client { work, heavy, on_the_loop, job: None }))
    }));
    reactor.run()?;
    Ok(())
}

struct Client {
    work: Duration,
    heavy: usize,
    on_the_loop: bool,
    /// The pool had no place for it.
    job: Option<Job>,
}

impl Protocol<Shared> for Client {
    fn message(&mut self, bytes: &[u8], talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if bytes.len() < self.heavy {
            talk.push(bytes);
        } else if self.on_the_loop {
            Scratch::with(0, self.work).work();
            talk.push(bytes);
        } else {
            talk.pause(Pause::Busy); // Until the answer is there.
            let (token, work, bytes) = (talk.context.token(), self.work, bytes.to_vec());
            let remote = talk.context.shared.remote.clone();
            self.hand_over(
                Box::new(move || {
                    Scratch::with(0, work).work();
                    // Fails only if the loop has ended.
                    let _ = remote.call(move |context| answer(token, bytes, context));
                }),
                talk,
            );
        }
        Ok(())
    }

    /// The answer is there, or there may be a place in the pool.
    fn woken(&mut self, talk: &mut Talk<'_, Shared>) -> io::Result<()> {
        if let Some(job) = self.job.take() {
            self.hand_over(job, talk);
        } else if let Some(answer) = talk.context.shared.answers.remove(&talk.context.token()) {
            talk.push(answer);
            talk.resume(Pause::Busy);
        }
        Ok(())
    }

    fn ended(&mut self, _: End, context: &mut Context<'_, Shared>) {
        let token = context.token();
        context.shared.answers.remove(&token);
        if self.job.is_some() {
            wake_next(context); // It may have been woken for a place that it no longer needs.
        }
    }
}

impl Client {
    /// Hands the job to the pool. If the pool is full, the job waits here.
    fn hand_over(&mut self, job: Job, talk: &mut Talk<'_, Shared>) {
        if let Err(job) = talk.context.shared.pool.try_execute(job) {
            self.job = Some(job);
            let token = talk.context.token();
            talk.context.shared.waiting.push_back(token);
        }
    }
}

/// Runs in the loop when a job is done: passes the answer to its client, and the free place to another.
fn answer(token: Token, bytes: Vec<u8>, context: &mut Context<'_, Shared>) {
    if context.lives(token) {
        context.shared.answers.insert(token, bytes);
        context.wake(token);
    }
    wake_next(context);
}

/// Wakes the client that has waited longest for a place in the pool.
fn wake_next(context: &mut Context<'_, Shared>) {
    while let Some(next) = context.shared.waiting.pop_front() {
        if context.lives(next) {
            return context.wake(next);
        }
    }
}
