//! One look at the server before the load, so that a basic fault is reported in words.

use std::time::Duration;

use crate::dialer::Dialer;
use crate::idle::IdleHerd;
use crate::{Error, Fault, Plan, Result, Session, Slice, limits};

/// Time in which a server that speaks first has to speak.
const SILENCE: Duration = Duration::from_millis(50);

/// Datagrams of a probe. One of them must come back, because UDP may lose the others.
const DATAGRAMS: u64 = 3;

/// Checks the plan, the limits of this machine, and the server. The probe connects once and is
/// silent for 50 ms; then it connects again and sends one message.
///
/// # Errors
///
/// [`Error::BadPlan`], [`Error::TooMany`] and [`Error::Connect`], as [`Session::open`] has them;
/// [`Error::Unfit`] for an address that does not echo.
pub fn probe(plan: &Plan) -> Result<()> {
    plan.check()?;
    limits::prepare(plan)?;
    let one = Plan {
        connections: 1,
        threads: 1,
        depth: 1,
        idle: 0,
        slow_readers: 0,
        churn: false,
        fragment: None,
        connect_rate: None,
        pin: Vec::new(),
        control: Default::default(),
        ..plan.clone()
    };
    let mut silent = IdleHerd::new(Dialer::new(&one).dial(1)?)?;
    silent.wait(SILENCE)?;
    let mut faults = silent.check();
    drop(silent); // A server of one client at a time can now serve the next connection.
    if faults.total() == 0 {
        let mut session = Session::open(&one)?;
        let sample = session.run(&Slice::of_messages(if plan.is_udp() { DATAGRAMS } else { 1 }))?;
        if plan.is_udp() && sample.messages > 0 {
            return Ok(());
        }
        faults = sample.faults;
        faults += session.close()?;
    }
    let Some((fault, _)) = faults.iter().next() else { return Ok(()) };
    let finding = match fault {
        Fault::SpokeFirst => "speaks before the client does: it is not an echo server".to_owned(),
        Fault::EarlyClose | Fault::Reset => {
            "accepts a connection and closes it again: it is full, or not an echo server".to_owned()
        }
        Fault::Mismatch | Fault::Surplus => {
            "sends back other bytes than it was sent: it is broken, or not an echo server \
             (--no-verify skips this check)"
                .to_owned()
        }
        Fault::Timeout => format!(
            "accepts a connection and sends nothing back within {:?}: it is busy with other \
             clients, or not an echo server (--timeout waits longer)",
            plan.timeout
        ),
        Fault::Lost => format!(
            "sends nothing back within {:?}: it is not an echo server, or a firewall drops the \
             datagrams",
            plan.timeout
        ),
        Fault::Refused => "does not exist: start the server first, with --udp".to_owned(),
        other => format!("cannot be measured: {}", other.name()),
    };
    Err(Error::Unfit { address: plan.address.clone(), finding })
}
