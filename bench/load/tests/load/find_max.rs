//! The search for the highest rate that keeps a promise.

use std::sync::Mutex;
use std::time::Duration;

use loadgen::{Objective, Plan, Rate, Session, Slice, find_max};

use crate::server::{Flaw, Server};

/// A server that works on one message at a time, 2 ms each: 500 messages per second at most.
fn server_of_500_per_second() -> Server {
    let at_work = Mutex::new(());
    Server::with_flaw(move |_, _| {
        let _turn = at_work.lock().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        Flaw::None
    })
}

#[test]
fn it_is_found_below_the_capacity() {
    let server = server_of_500_per_second();
    let plan = Plan { connections: 8, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    let slice = Slice::lasting(Duration::from_millis(300));
    let objective: Objective = "p50<200ms".parse().unwrap();
    let mut steps = Vec::new();
    let watch = |step: &_| steps.push(*step);
    let best = find_max(&mut session, &slice, &Rate::uniform(1.0), &objective, watch).unwrap();
    let best = best.unwrap();
    assert!(best.kept && best.response < Duration::from_millis(200));
    assert!(best.rate <= 550.0, "{} messages/s", best.rate);
    assert!(steps.iter().all(|step| !step.kept || step.rate <= best.rate));
}

#[test]
fn a_promise_nobody_can_keep_is_not_kept() {
    let server = server_of_500_per_second();
    let mut session = Session::open(&Plan { connections: 2, ..Plan::new(server.addr) }).unwrap();
    let slice = Slice::lasting(Duration::from_millis(100));
    let objective: Objective = "p50<1us".parse().unwrap();
    let best = find_max(&mut session, &slice, &Rate::uniform(1.0), &objective, |_| {}).unwrap();
    assert!(best.is_none());
}
