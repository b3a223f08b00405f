//! The open loop: it keeps the rate, and a stall shows in the response time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadgen::{Arrivals, Latency, Plan, Rate, Session, Slice};

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
fn the_seed_alone_decides_when_random_messages_are_due() {
    let fast = Server::echo();
    // Leaves most messages unsent.
    let slow = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(30)));
    let due = |server: &Server, seed, threads| {
        let plan = Plan { connections: 4, threads, seed, ..Plan::new(server.addr) };
        let slice = Slice::lasting(Duration::from_millis(300)).at_rate(Rate::poisson(1000.0));
        Session::open(&plan).unwrap().run(&slice).unwrap().due
    };
    let counts: Vec<u64> = (1..6).map(|seed| due(&fast, seed, 1)).collect();
    assert!(counts.iter().all(|count| (200..400).contains(count)), "{counts:?}");
    assert!(counts.iter().any(|count| *count != counts[0]), "the seed has no effect: {counts:?}");
    assert_eq!(due(&fast, 1, 1), counts[0]);
    assert_eq!(due(&fast, 1, 2), counts[0], "threads change the schedule");
    assert_eq!(due(&slow, 1, 1), counts[0], "the server changes the schedule");
}

#[test]
fn times_between_random_messages_have_an_exponential_distribution() {
    // One connection sends each message when it is due. The server notes the times.
    let seen: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = Arc::clone(&seen);
    let server = Server::with_flaw(move |_, _| {
        times.lock().unwrap().push(Instant::now());
        Flaw::None
    });
    let plan = Plan { depth: 100, ..Plan::new(server.addr) };
    let slice = Slice::lasting(Duration::from_secs(2)).at_rate(Rate::poisson(100.0));
    Session::open(&plan).unwrap().run(&slice).unwrap();
    let times = seen.lock().unwrap();
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // The standard deviation of this distribution is its mean; that of equal times is 0.
    let ratio = variance.sqrt() / mean;
    assert!((0.6..1.7).contains(&ratio), "{ratio} of {} gaps", gaps.len());
}

#[test]
fn unsent_messages_count_with_the_time_until_the_end() {
    // The server stops answering in the middle of the run, and until after its end.
    let began = Instant::now();
    let (stall, end) = (Duration::from_millis(500), Duration::from_millis(1300));
    let server = Server::with_flaw(move |_, _| match began.elapsed() {
        now if now > stall && now < end => Flaw::Delay(end - now),
        _ => Flaw::None,
    });
    let plan = Plan { connections: 4, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    let slice = Slice::lasting(Duration::from_secs(1)).at_rate(Rate::uniform(2000.0));
    let sample = session.run(&slice).unwrap();
    let latency = session.latency();
    assert_eq!(sample.due, 2000);
    assert_eq!(latency.response.len(), sample.due, "each due message counts once");
    assert_eq!(latency.service.len() + sample.unsent, sample.due);
    assert_eq!(latency.lateness.len(), sample.due);
    assert!((800..1100).contains(&sample.unsent), "{}", sample.unsent);
    // Half of the messages were due in the stall, and would have waited for up to 500 ms.
    let p90 = latency.response.value_at_quantile(0.9);
    assert!((300_000_000..500_000_000).contains(&p90), "{p90} ns");
}

#[test]
fn very_many_unsent_messages_are_counted_in_little_time() {
    let server = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(20)));
    let mut session = Session::open(&Plan { connections: 2, ..Plan::new(server.addr) }).unwrap();
    let slice = Slice::lasting(Duration::from_millis(500)).at_rate(Rate::poisson(1e9));
    let began = Instant::now();
    let sample = session.run(&slice).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!((4.9e8..5.1e8).contains(&(sample.due as f64)), "{}", sample.due);
    assert_eq!(session.latency().response.len(), sample.due);
}

#[test]
fn a_late_generator_is_reported() {
    let mut latency = Latency::new().unwrap();
    assert_eq!(latency.is_late(), None, "a closed loop");
    latency.response.record_n(1000, 100).unwrap();
    latency.own_lateness.record_n(90, 100).unwrap();
    assert_eq!(latency.is_late(), Some(false));
    latency.own_lateness.record_n(110, 101).unwrap();
    assert_eq!(latency.is_late(), Some(true));
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
    // The server caused this lateness, and not the generator.
    assert!(millis(latency.own_lateness.value_at_quantile(0.90)) < 40);
    assert_eq!(latency.response.len(), latency.service.len() + sample.unsent);
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
        let error = session.run(&slice).unwrap_err().to_string();
        assert!(error.contains("rate of 0") || error.contains("at most"), "{error}");
    }
}
