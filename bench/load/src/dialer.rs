//! Opening many connections.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::connecting::Connecting;
use crate::{Address, Error, Fault, Plan, Result};

/// Connects that are under way at the same time. The number hides the round trip to a distant
/// server, and fits into the backlog of any server.
const IN_FLIGHT: usize = 64;

/// Opens the connections of a plan.
pub(crate) struct Dialer<'plan> {
    plan: &'plan Plan,
    began: Instant,
    dialled: usize,
}

impl Dialer<'_> {
    pub(crate) fn new(plan: &Plan) -> Dialer<'_> {
        Dialer { plan, began: Instant::now(), dialled: 0 }
    }

    /// Opens `count` connections. Their sockets do not block.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: which connection failed, on which side the reason is likely to be, and
    /// what to do.
    pub(crate) fn dial(&mut self, count: usize) -> Result<Vec<Socket>> {
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let mut batch = Vec::with_capacity(IN_FLIGHT);
            for _ in 0..IN_FLIGHT.min(count - sockets.len()) {
                self.pace();
                let source = source(&self.plan.sources, self.dialled);
                self.dialled += 1;
                let connecting = Connecting::begin(&self.plan.address, source);
                batch.push(connecting.map_err(|e| self.explain(e))?);
            }
            let deadline = Instant::now() + self.plan.timeout;
            for connecting in batch {
                sockets.push(connecting.finish(deadline).map_err(|e| self.explain(e))?);
            }
        }
        Ok(sockets)
    }

    /// Sleeps until the next connect is due. The schedule is absolute: a late connect does not delay
    /// the following ones.
    fn pace(&self) {
        if let Some(rate) = self.plan.connect_rate {
            let due = self.began + Duration::from_secs_f64(self.dialled as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn explain(&self, source: io::Error) -> Error {
        let Plan { address, timeout, .. } = self.plan;
        let number = self.dialled;
        let hint = match Fault::of(&source) {
            Fault::Refused => match address {
                Address::Tcp(_) if number > 1 => "the server stopped listening".to_owned(),
                _ => "no server listens there: start the server first".to_owned(),
            },
            Fault::ConnectTimeout => format!(
                "no answer within {timeout:?}: the server side is full (backlog or descriptors), \
                 or a firewall drops the packets"
            ),
            Fault::NoPort => {
                "the client side has no free port: give more --source addresses".to_owned()
            }
            Fault::Reset | Fault::EarlyClose => {
                "the server side closed it: the server may be out of descriptors".to_owned()
            }
            _ => "check the address and the limits of both sides".to_owned(),
        };
        Error::Connect { number, address: address.clone(), source, hint }
    }
}

/// The local address of the next connection after `dialled` others.
pub(crate) fn source(sources: &[IpAddr], dialled: usize) -> Option<IpAddr> {
    if sources.is_empty() { None } else { Some(sources[dialled % sources.len()]) }
}
