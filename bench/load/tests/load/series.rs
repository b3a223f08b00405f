//! The time series and the files: no message is lost or counted twice.

use std::time::{Duration, SystemTime};

use loadgen::report::{csv, hgrm, log, read_log};
use loadgen::{Plan, Rate, Session, Slice};

use crate::server::Server;

#[test]
fn intervals_add_up_to_the_run() {
    let server = Server::echo();
    let interval = Some(Duration::from_millis(50));
    for (connections, threads, rate) in [(1, 1, None), (4, 2, None), (4, 1, Some(500.0))] {
        let plan = Plan { connections, threads, interval, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        let slice = Slice {
            rate: rate.map(Rate::uniform),
            ..Slice::lasting(Duration::from_millis(200)).after(Duration::from_millis(50))
        };
        let sample = session.run(&slice).unwrap();
        let total = session.latency().response.len();
        let intervals: Vec<_> = session.intervals().map(Result::unwrap).collect();
        assert_eq!(intervals.len(), 4);
        assert_eq!(intervals.iter().map(|i| i.messages).sum::<u64>(), sample.messages);
        assert_eq!(intervals.iter().map(|i| i.latency.response.len()).sum::<u64>(), total);
        assert_eq!(intervals[3].start, Duration::from_millis(150));
        let length: Duration = intervals.iter().map(|interval| interval.length).sum();
        assert_eq!(length, Duration::from_millis(200));
    }
}

#[test]
fn a_run_without_an_interval_has_no_series() {
    let server = Server::echo();
    let mut session = Session::open(&Plan::new(server.addr)).unwrap();
    session.run(&Slice::of_messages(10)).unwrap();
    assert_eq!(session.intervals().count(), 0);
}

#[test]
fn files_hold_what_was_measured() {
    let server = Server::echo();
    let interval = Some(Duration::from_millis(50));
    let plan = Plan { connections: 2, interval, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    let slice = Slice::lasting(Duration::from_millis(200)).at_rate(Rate::uniform(1000.0));
    session.run(&slice).unwrap();
    let latency = session.latency().clone();

    let table = csv(session.intervals(), plan.size, &[50.0, 99.0]).unwrap();
    let table = String::from_utf8(table).unwrap();
    let columns: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [5 + 4 * 3; 5], "{table}");
    assert!(table.starts_with("start_seconds,seconds,messages,"), "{table}");
    let first: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    let interval = session.intervals().next().unwrap().unwrap();
    assert_eq!(first[2].parse(), Ok(interval.messages));
    assert_eq!(first[5].parse(), Ok(interval.latency.response.value_at_quantile(0.5)));
    assert_eq!(first[7].parse(), Ok(interval.latency.response.max()));

    let text = hgrm(&latency.response);
    let total = format!("Total count    = {:>12}]", latency.response.len());
    assert!(text.contains(&total), "{text}");
    assert!(text.contains(" 1.000000000000 "), "{text}");

    let bytes = log(session.intervals(), SystemTime::now()).unwrap();
    let (read, length) = read_log(&bytes).unwrap();
    assert_eq!(read.response, latency.response);
    assert_eq!(read.service, latency.service);
    assert_eq!(read.lateness, latency.lateness);
    assert_eq!(read.own_lateness, latency.own_lateness);
    assert_eq!(length, Duration::from_millis(200));
}

#[test]
fn bytes_that_are_not_a_log_are_refused() {
    for nonsense in
        ["", "hello", "Tag=response,0.0,1.0,1.0,notbase64\n", "Tag=response,0,1,1,AAAA\n"]
    {
        assert!(read_log(nonsense.as_bytes()).is_err(), "{nonsense}");
    }
}
