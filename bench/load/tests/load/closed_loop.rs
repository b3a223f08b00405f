//! The closed loop: exact counts, right times, and many runs on the same connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use loadgen::{Plan, Session, Slice};

use crate::server::{Flaw, Server};

#[test]
fn every_way_to_drive_connections_counts_every_message_once() {
    let server = Server::echo();
    let base = Plan::new(server.addr);
    let plans = [
        base.clone(),
        Plan { connections: 2, threads: 2, ..base.clone() },
        Plan { connections: 5, ..base.clone() },
        Plan { connections: 5, threads: 3, depth: 7, ..base.clone() },
        Plan { connections: 3, depth: 4, size: 1, ..base.clone() },
        Plan { connections: 2, size: 300_000, ..base.clone() },
        Plan { connections: 1, size: 1_000_000, depth: 3, ..base.clone() },
        Plan { connections: 3, fragment: Some(7), ..base.clone() },
        Plan { connections: 3, idle: 20, ..base.clone() },
        Plan { connections: 3, churn: true, ..base.clone() },
        Plan { connections: 3, churn: true, half_close: true, size: 100_000, ..base.clone() },
        Plan { connections: 3, half_close: true, size: 100_000, ..base.clone() },
        Plan { half_close: true, ..base },
    ];
    for plan in plans {
        let mut session = Session::open(&plan).unwrap();
        for run in 1..=3 {
            let sample = session.run(&Slice::of_messages(50)).unwrap();
            assert_eq!(sample.faults.total(), 0, "{}, {plan:?}", sample.faults);
            assert_eq!(sample.messages, 50, "{plan:?}");
            assert_eq!(sample.bytes, 50 * plan.size as u64);
            assert_eq!(session.latency().response.len(), 50 * run, "{plan:?}");
        }
        let faults = session.close().unwrap();
        assert_eq!(faults.total(), 0, "{faults}, {plan:?}");
    }
}

#[test]
fn without_verification_messages_are_counted_all_the_same() {
    let server = Server::echo();
    let plan = Plan { connections: 2, verify: false, ..Plan::new(server.addr) };
    let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(50)).unwrap();
    assert_eq!((sample.messages, sample.faults.total()), (50, 0));
}

#[test]
fn a_known_delay_is_the_latency() {
    const DELAY: Duration = Duration::from_millis(20);
    let server = Server::with_flaw(|_, _| Flaw::Delay(DELAY));
    for connections in [1, 4] {
        let plan = Plan { connections, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        session.run(&Slice::of_messages(10 * connections as u64)).unwrap();
        let response = &session.latency().response;
        let delay = DELAY.as_nanos() as u64;
        assert!(response.min() >= delay - delay / 1000, "{} ns", response.min());
        let median = response.value_at_quantile(0.5);
        assert!(median < 10 * delay, "{median} ns");
    }
}

#[test]
fn one_slow_message_in_ten_shows_in_the_percentiles_above_ninety_and_not_below() {
    const DELAY: Duration = Duration::from_millis(50);
    let count = Arc::new(AtomicUsize::new(0));
    let server = Server::with_flaw(move |_, _| {
        let every_tenth = count.fetch_add(1, Ordering::Relaxed) % 10 == 9;
        if every_tenth { Flaw::Delay(DELAY) } else { Flaw::None }
    });
    let mut session = Session::open(&Plan::new(server.addr)).unwrap();
    session.run(&Slice::of_messages(200)).unwrap();
    let response = &session.latency().response;
    let delay = DELAY.as_nanos() as u64;
    assert!(response.value_at_quantile(0.5) < delay / 10);
    assert!(response.value_at_quantile(0.95) >= delay - delay / 1000);
    // A busy machine can delay a few others.
    let slow = response.count_between(delay - delay / 1000, u64::MAX);
    assert!((20..40).contains(&slow), "{slow} slow messages");
}

#[test]
fn a_slice_counts_the_window_only_and_ends_drained() {
    const DELAY: Duration = Duration::from_millis(5);
    let server = Server::with_flaw(|_, _| Flaw::Delay(DELAY));
    let plan = Plan { connections: 2, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    let slice = Slice::lasting(Duration::from_millis(400)).after(Duration::from_millis(400));
    let began = Instant::now();
    let sample = session.run(&slice).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert_eq!(sample.elapsed, Duration::from_millis(400));
    // At most 80 messages of a connection fit into the measured time, and one more at its edge.
    assert!((1..=2 * 81).contains(&sample.messages), "{}", sample.messages);
    assert!(plan.control.answered() > sample.messages, "the warm-up was counted");
    // No message is left in flight: the next run starts with its own message.
    let sample = session.run(&Slice::of_messages(2)).unwrap();
    assert_eq!((sample.messages, sample.faults.total()), (2, 0));
}

#[test]
fn a_server_that_sends_byte_by_byte_is_no_fault() {
    let server = Server::with_flaw(|_, _| Flaw::Trickle);
    for connections in [1, 3] {
        let plan = Plan { connections, ..Plan::new(server.addr) };
        let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(30)).unwrap();
        assert_eq!((sample.messages, sample.faults.total()), (30, 0));
    }
}

#[test]
fn slow_readers_hold_up_nobody() {
    let server = Server::echo();
    let plan = Plan { connections: 2, slow_readers: 3, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    let sample = session.run(&Slice::lasting(Duration::from_secs(1))).unwrap();
    assert_eq!(sample.faults.total(), 0, "{}", sample.faults);
    assert!(sample.messages > 10);
}

#[test]
fn the_stop_flag_ends_a_run_early() {
    let server = Server::echo();
    for connections in [1, 3] {
        let plan = Plan { connections, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        plan.control.stop_flag().store(true, Ordering::Relaxed);
        let began = Instant::now();
        session.run(&Slice::lasting(Duration::from_secs(60))).unwrap();
        assert!(began.elapsed() < Duration::from_secs(6));
    }
}
