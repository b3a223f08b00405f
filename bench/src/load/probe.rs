//! One look at the server before it is loaded, so that what is wrong altogether is said in words.

use std::io;
use std::time::Duration;

use super::dialer::Dialer;
use super::idle::IdleHerd;
use super::{Fault, Plan, Session, Slice};

/// How long a server may take to speak before it is spoken to.
const SILENCE: Duration = Duration::from_millis(50);

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
        faults = session.run(&Slice::of_messages(1))?.faults;
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
        other => format!("cannot be measured: {}", other.name()),
    };
    Err(io::Error::other(format!("the server at {} {what}", plan.address)))
}
