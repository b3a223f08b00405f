//! One look at the server before it is loaded, so that what is wrong altogether is said in words.

use std::io;
use std::time::Duration;

use crate::dialer::Dialer;
use crate::idle::IdleHerd;
use crate::{Fault, Plan, Session, Slice};

/// How long a server may take to speak before it is spoken to.
const SILENCE: Duration = Duration::from_millis(50);

/// Datagrams that are tried, of which one has to come back: UDP may lose some.
const DATAGRAMS: u64 = 3;

/// Connects once and is silent for 50 ms; connects again and sends one message.
///
/// # Errors
///
/// Why the address is not that of an echo server that serves one more client.
pub fn probe(plan: &Plan) -> io::Result<()> {
    let one = Plan {
        connections: 1,
        threads: 1,
        depth: 1,
        idle: 0,
        slow_readers: 0,
        churn: false,
        fragment: None,
        pin: Vec::new(),
        control: Default::default(),
        ..plan.clone()
    };
    one.check()?;
    let mut silent = IdleHerd::new(Dialer::new(&one).dial(1)?)?;
    silent.wait(SILENCE)?;
    let mut faults = silent.check();
    drop(silent); // A server of one client at a time goes on to the next.
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
    let what = match fault {
        Fault::SpokeFirst => "speaks before it is spoken to: that is no echo server".to_owned(),
        Fault::EarlyClose | Fault::Reset => {
            "accepts a connection and closes it again: it is full, or no echo server".to_owned()
        }
        Fault::Mismatch | Fault::Surplus => {
            "sends back something else than it was sent: that is no echo server, or a broken one \
             (--no-verify looks away)"
                .to_owned()
        }
        Fault::Timeout => format!(
            "accepts a connection and sends nothing back within {:?}: it is busy with other \
             clients, or no echo server (--timeout waits longer)",
            plan.timeout
        ),
        Fault::Lost => format!(
            "sends nothing back within {:?}: no echo server, or a firewall drops the datagrams",
            plan.timeout
        ),
        Fault::Refused => "is not there: start the server first, with --udp".to_owned(),
        other => format!("cannot be measured: {}", other.name()),
    };
    Err(io::Error::other(format!("the server at {} {what}", plan.address)))
}
