//! How other threads reach the loop, on every selector.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

#[macro_use]
mod common;

use std::io;
use std::sync::mpsc::TrySendError;
use std::thread;
use std::time::Duration;

use common::{LONG, a_while, reactor, run};
use epoll_selector::{Context, Handler, Next, Selector, Trigger, mailbox};

fn jobs_of_many_threads_run_once_each_and_in_the_order_of_each_thread<S: Selector>(
    trigger: Trigger,
) {
    const THREADS: usize = 4;
    const JOBS: usize = 2000;
    let (remote, mailbox) = mailbox::<Vec<usize>>(8).unwrap(); // Full most of the time.
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let remote = remote.clone();
            thread::spawn(move || {
                for job in 0..JOBS {
                    let run = move |context: &mut Context<'_, Vec<usize>>| {
                        assert_eq!(context.shared[number], job, "thread {number}");
                        context.shared[number] += 1;
                    };
                    remote.call(run).unwrap();
                }
            })
        })
        .collect();
    drop(remote);
    let mut reactor = reactor::<S, _>(trigger, vec![0; THREADS]);
    reactor.add(mailbox);
    assert_eq!(run(reactor), [JOBS; THREADS]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_job_wakes_a_loop_that_sleeps<S: Selector>(trigger: Trigger) {
    let (remote, mailbox) = mailbox::<u32>(1).unwrap();
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(mailbox);
    let caller = thread::spawn(move || {
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(10));
            remote.call(|context| *context.shared += 1).unwrap();
        }
        thread::sleep(Duration::from_millis(10)); // And so does the end.
    });
    while reactor.turn(Some(LONG)).unwrap() {}
    assert_eq!(*reactor.shared(), 3);
    caller.join().unwrap();
}

fn a_job_that_panics_ends_itself_and_nothing_else<S: Selector>(trigger: Trigger) {
    let (remote, mailbox) = mailbox::<u32>(3).unwrap();
    remote.call(|_| std::panic::resume_unwind(Box::new("the job's own fault"))).unwrap();
    remote.call(|context| *context.shared += 1).unwrap();
    drop(remote);
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(mailbox);
    assert_eq!(run(reactor), 1);
}

fn a_full_mailbox_and_one_that_has_gone_give_the_job_back<S: Selector>(trigger: Trigger) {
    let (remote, mailbox) = mailbox::<u32>(1).unwrap();
    remote.try_call(|context| *context.shared += 1).unwrap();
    let Err(TrySendError::Full(job)) = remote.try_call(|context| *context.shared += 10) else {
        panic!("there was room for one job");
    };
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(mailbox);
    a_while(&mut reactor);
    remote.try_call(job).unwrap();
    a_while(&mut reactor);
    assert_eq!(*reactor.shared(), 11);
    drop(reactor);
    assert!(matches!(remote.try_call(|_| {}), Err(TrySendError::Disconnected(_))));
    assert!(remote.call(|_| {}).is_err());
}

/// Stops the loop when it starts, and ends when it is woken.
struct WaitsForAnAnswer;

impl Handler<u32> for WaitsForAnAnswer {
    fn added(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
        context.stop(LONG);
        Ok(Next::Keep)
    }

    fn stop(&mut self, _: &mut Context<'_, u32>) -> io::Result<Next> {
        Ok(Next::Keep)
    }

    fn woken(&mut self, context: &mut Context<'_, u32>) -> io::Result<Next> {
        *context.shared += 1;
        Ok(Next::Close)
    }
}

fn during_a_stop_answers_arrive_and_the_mailbox_does_not_delay_the_end<S: Selector>(
    trigger: Trigger,
) {
    let (remote, mailbox) = mailbox::<u32>(1).unwrap();
    let mut reactor = reactor::<S, _>(trigger, 0);
    reactor.add(mailbox);
    let waits = reactor.add(WaitsForAnAnswer);
    let kept = remote.clone(); // Whoever keeps one, such as the shared state.
    let answers = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        remote.call(move |context| context.wake(waits)).unwrap();
    });
    assert_eq!(run(reactor), 1);
    answers.join().unwrap();
    drop(kept);
}

on_every_selector!(
    jobs_of_many_threads_run_once_each_and_in_the_order_of_each_thread,
    a_job_wakes_a_loop_that_sleeps,
    a_job_that_panics_ends_itself_and_nothing_else,
    a_full_mailbox_and_one_that_has_gone_give_the_job_back,
    during_a_stop_answers_arrive_and_the_mailbox_does_not_delay_the_end,
);
