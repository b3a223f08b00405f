//! How a soak went.

use std::fmt;
use std::time::Duration;

use super::clients::ClientTotals;
use super::disturbances::Disturbances;
use crate::observe::Holds;
use crate::verdict::Failure;
use crate::words;

/// How a soak went: what the clients did, what the server held, and the failure if there was one.
#[derive(Clone, Debug)]
pub struct SoakReport {
    /// The planned duration without the warm-up, in seconds.
    pub planned_seconds: f64,
    /// The real duration with the warm-up, in seconds.
    pub seconds: f64,
    /// Clients at the same time.
    pub clients: usize,
    /// What the clients did.
    pub totals: ClientTotals,
    /// What disturbed the server. `None` when the suite has not started it.
    pub disturbances: Option<Disturbances>,
    /// What the server held after the warm-up, without clients. `None` when this is not known.
    pub start: Option<Holds>,
    /// The most that the server held of each.
    pub most: Option<Holds>,
    /// What the server held after all clients had left.
    pub end: Option<Holds>,
    /// The failure that ended the soak.
    pub failure: Option<Failure>,
}

impl SoakReport {
    pub(super) fn new(duration: Duration) -> SoakReport {
        SoakReport {
            planned_seconds: duration.as_secs_f64(),
            seconds: 0.0,
            clients: 0,
            totals: ClientTotals::default(),
            disturbances: None,
            start: None,
            most: None,
            end: None,
            failure: None,
        }
    }

    pub(super) fn add(
        &mut self,
        totals: ClientTotals,
        disturbances: Option<Disturbances>,
        took: Duration,
    ) {
        self.totals += totals;
        self.seconds += took.as_secs_f64();
        if let Some(disturbances) = disturbances {
            *self.disturbances.get_or_insert_default() += disturbances;
        }
    }

    pub(super) fn sample(&mut self, holds: Holds) {
        let most = self.most.get_or_insert_default();
        most.descriptors = most.descriptors.max(holds.descriptors);
        most.threads = most.threads.max(holds.threads);
        most.processes = most.processes.max(holds.processes);
        most.memory = most.memory.max(holds.memory);
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientTotals { connections, half_closed, reset, closed, sent, received } = self.totals;
        let took = words::duration(Duration::from_secs_f64(self.seconds));
        writeln!(
            f,
            "connections  {connections}, {} at a time: {half_closed} half-closed, {reset} reset, \
             {closed} closed, in {took}",
            self.clients
        )?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "bytes        {received} received of {sent} sent ({:.0} MiB), each compared",
            mib(received)
        )?;
        match self.disturbances {
            Some(Disturbances { signals, stops, shortages }) => writeln!(
                f,
                "disturbed    {signals} signals, {stops} stops, {shortages} times without descriptors"
            )?,
            None => writeln!(f, "disturbed    no: the suite has not started the server")?,
        }
        let (Some(start), Some(most)) = (self.start, self.most) else {
            return writeln!(f, "server       unknown");
        };
        writeln!(
            f,
            "server       {:>12} {:>12} {:>12}",
            "at the start", "at the most", "at the end"
        )?;
        let mut row = |name: &str, of: fn(&Holds) -> String| {
            let end = self.end.as_ref().map_or("-".to_owned(), of);
            writeln!(f, "{name:12} {:>12} {:>12} {end:>12}", of(&start), of(&most))
        };
        row("descriptors", |holds| holds.descriptors.to_string())?;
        row("threads", |holds| holds.threads.to_string())?;
        row("processes", |holds| holds.processes.to_string())?;
        row("memory (KiB)", |holds| (holds.memory >> 10).to_string())
    }
}
