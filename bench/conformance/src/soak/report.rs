//! How a soak went.

use std::fmt;
use std::time::Duration;

use crate::observe::Holds;
use crate::verdict::Trouble;

use super::life::Deeds;
use super::weather::WeatherDeeds;

/// How a soak went: what was done, what the server held, and what went wrong if anything did.
#[derive(Clone, Debug)]
pub struct SoakReport {
    /// How long it was to take, in seconds, without the warm-up.
    pub planned_seconds: f64,
    /// How long it took, in seconds, with the warm-up.
    pub seconds: f64,
    /// Clients at a time.
    pub clients: usize,
    /// What the clients did.
    pub deeds: Deeds,
    /// What befell the server; `None` when its process is not ours.
    pub weather: Option<WeatherDeeds>,
    /// What the server held at the start, when it was warm and alone; `None` when that is not known.
    pub start: Option<Holds>,
    /// The most it held of each.
    pub most: Option<Holds>,
    /// What it held when the clients had left.
    pub end: Option<Holds>,
    /// What went wrong, if anything did: what was expected, what was seen, what became of the server.
    pub failure: Option<String>,
}

impl SoakReport {
    pub(super) fn new(duration: Duration) -> SoakReport {
        SoakReport {
            planned_seconds: duration.as_secs_f64(),
            seconds: 0.0,
            clients: 0,
            deeds: Deeds::default(),
            weather: None,
            start: None,
            most: None,
            end: None,
            failure: None,
        }
    }

    /// Whether nothing was lost, changed, surplus or leaked.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    pub(super) fn add(&mut self, deeds: Deeds, weather: Option<WeatherDeeds>, took: Duration) {
        self.deeds += deeds;
        self.seconds += took.as_secs_f64();
        if let Some(weather) = weather {
            *self.weather.get_or_insert_default() += weather;
        }
    }

    pub(super) fn sample(&mut self, holds: Holds) {
        let most = self.most.get_or_insert_default();
        most.descriptors = most.descriptors.max(holds.descriptors);
        most.threads = most.threads.max(holds.threads);
        most.processes = most.processes.max(holds.processes);
        most.memory = most.memory.max(holds.memory);
    }

    pub(super) fn fail(&mut self, trouble: Trouble, notes: Vec<String>) {
        let mut text = match trouble {
            Trouble::Fails { expected, seen } => format!("expected: {expected}\nseen:     {seen}"),
            Trouble::NotApplicable(why) => why,
        };
        for note in notes {
            text += &format!("\nserver:   {note}");
        }
        self.failure = Some(text);
    }
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deeds { connections, half_closed, reset, closed, sent, received } = self.deeds;
        writeln!(
            f,
            "connections  {connections}, {} at a time: {half_closed} half-closed, {reset} reset, \
             {closed} closed, in {:.1} s",
            self.clients, self.seconds
        )?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "bytes        {received} received of {sent} sent ({:.0} MiB), each compared",
            mib(received)
        )?;
        match self.weather {
            Some(WeatherDeeds { signals, stops, famines }) => writeln!(
                f,
                "weather      {signals} signals, {stops} times stopped, {famines} times without \
                 descriptors"
            )?,
            None => writeln!(f, "weather      unavailable: its process is not ours")?,
        }
        let (Some(start), Some(most)) = (self.start, self.most) else {
            return writeln!(f, "server       unavailable");
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
