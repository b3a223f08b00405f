//! The open loop: it keeps the rate, and a stall shows in the response time.

use std::time::{Duration, Instant};

use loadgen::{Arrivals, Plan, Rate, Session, Slice};

use crate::server::{Flaw, Server};

#[test]
fn the_rate_is_kept() {
    let server = Server::echo();
    for (connections, arrivals) in [(1, Arrivals::Uniform), (8, Arrivals::Poisson)] {
        let plan = Plan { connections, ..Plan::new(server.addr) };
        let rate = Rate { arrivals, ..Rate::uniform(1000.0) };
        let slice = Slice::lasting(Duration::from_secs(1)).at_rate(rate);
        let sample = Session::open(&plan).unwrap().run(&slice).unwrap();
        assert_eq!(sample.faults.total(), 0, "{}", sample.faults);
        // Random arrivals in one second have a standard deviation of 32.
        let tolerance = if arrivals == Arrivals::Uniform { 100 } else { 300 };
        assert!(sample.messages.abs_diff(1000) < tolerance, "{arrivals:?}: {}", sample.messages);
    }
}

#[test]
fn random_arrivals_repeat_with_the_seed() {
    let server = Server::echo();
    let count = |seed| {
        let plan = Plan { connections: 4, seed, depth: 50, ..Plan::new(server.addr) };
        let rate = Rate { arrivals: Arrivals::Poisson, ..Rate::uniform(200.0) };
        let slice = Slice::lasting(Duration::from_millis(300)).at_rate(rate);
        let mut session = Session::open(&plan).unwrap();
        session.run(&slice).unwrap();
        session.latency().lateness.len()
    };
    assert!(count(1).abs_diff(count(1)) <= 1, "one may be due just when the slice ends");
    let counts: Vec<u64> = (1..6).map(count).collect();
    assert!(
        counts.iter().any(|count| *count != counts[0]),
        "other seeds gave the same: {counts:?}"
    );
}

#[test]
fn a_stall_shows_in_response_time_and_not_in_service_time() {
    const STALL: Duration = Duration::from_secs(1);
    let began = Instant::now();
    let stalled_until = began + Duration::from_millis(500) + STALL;
    let server = Server::with_flaw(move |_, _| {
        let now = Instant::now();
        if now > stalled_until - STALL && now < stalled_until {
            Flaw::Delay(stalled_until - now)
        } else {
            Flaw::None
        }
    });
    let plan = Plan { connections: 4, ..Plan::new(server.addr) };
    let slice = Slice::lasting(Duration::from_secs(3)).at_rate(Rate::uniform(2000.0));
    let mut session = Session::open(&plan).unwrap();
    let sample = session.run(&slice).unwrap();
    assert_eq!(sample.faults.total(), 0, "{}", sample.faults);
    let latency = session.latency();
    let millis = |nanos| nanos / 1_000_000;
    // A third of all messages were due during the stall. So one message in six waited for more than
    // half of the stall, and one in thirty for more than nine tenths.
    assert!(millis(latency.response.value_at_quantile(0.90)) > 400);
    assert!(millis(latency.response.value_at_quantile(0.98)) > 800);
    assert!(millis(latency.response.max()) > 900);
    // Only four messages were in flight.
    assert!(millis(latency.service.value_at_quantile(0.98)) < 80);
    assert!(latency.service.count_between(500_000_000, u64::MAX) <= 8);
    // The difference between response time and service time is lateness.
    assert!(millis(latency.lateness.value_at_quantile(0.90)) > 400);
    assert_eq!(latency.response.len(), latency.service.len());
}

#[test]
fn messages_that_a_slow_server_leaves_unsent_are_counted() {
    let server = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(20)));
    let plan = Plan { connections: 2, ..Plan::new(server.addr) };
    let slice = Slice::lasting(Duration::from_millis(500)).at_rate(Rate::uniform(1000.0));
    let sample = Session::open(&plan).unwrap().run(&slice).unwrap();
    // 500 messages were due, and two connections send at most 50 of them.
    assert!(sample.messages <= 60, "{}", sample.messages);
    assert!((400..=500).contains(&sample.unsent), "{}", sample.unsent);
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let server = Server::echo();
    let mut session = Session::open(&Plan::new(server.addr)).unwrap();
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let slice = Slice::of_messages(1).at_rate(Rate::uniform(rate));
        assert!(session.run(&slice).unwrap_err().to_string().contains("rate of 0"));
    }
}
