//! The time series and the files: no message is lost or counted twice.

use std::time::{Duration, UNIX_EPOCH};

use loadgen::report::{Report, Run, csv, hgrm, log, read_log};
use loadgen::{MachineMeter, Plan, Rate, ServerSide, Session, Slice};

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
    let sample = session.run(&slice).unwrap();
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

    let started = UNIX_EPOCH + Duration::from_millis(1_795_280_400_500);
    let run = Run {
        plan: &plan,
        slice: &slice,
        sample: &sample,
        latency: &latency,
        first_fault: None,
        started,
        side: &ServerSide::Elsewhere,
        machine: &MachineMeter::start(&ServerSide::Elsewhere, &plan.control).stop(),
        search: None,
        interrupted: true,
    };
    let report = Report::new(run, &[50.0]);
    let bytes = log(&report, session.intervals(), started).unwrap();
    let (header, read) = read_log(&bytes).unwrap();
    assert_eq!(header.started_unix_seconds, 1_795_280_400.5);
    assert_eq!(header.seconds, 0.2);
    assert_eq!(header.messages, sample.messages);
    assert_eq!((header.open_loop, header.interrupted), (true, true));
    assert_eq!(header.arrivals_seed, None, "equal times need no seed");
    assert_eq!((header.warnings, header.invalid), (report.warnings, report.invalid));
    assert_eq!(read.response, latency.response);
    assert_eq!(read.service, latency.service);
    assert_eq!(read.lateness, latency.lateness);
    assert_eq!(read.own_lateness, latency.own_lateness);

    // Every line counts.
    let text = String::from_utf8(bytes).unwrap();
    for line in text.lines().filter(|line| line.starts_with("Tag=response")) {
        let shorter = text.replace(&format!("{line}\n"), "");
        let reason = read_log(shorter.as_bytes()).unwrap_err();
        assert!(reason.contains("response times of"), "{reason}");
    }
}

#[test]
fn bytes_that_are_not_a_log_are_refused() {
    for nonsense in
        ["", "hello", "Tag=response,0.0,1.0,1.0,notbase64\n", "Tag=response,0,1,1,AAAA\n"]
    {
        let header = read_log(nonsense.as_bytes()).unwrap_err();
        assert!(header.contains("no header"), "{nonsense}");
        let headed = format!("#[loadgen {{}}]\n{nonsense}");
        assert!(read_log(headed.as_bytes()).unwrap_err().contains("header is damaged"));
    }
}
