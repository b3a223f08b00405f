//! The charts of what a server cost. A cost shows why a server is fast or slow.

use crate::results::{Case, CaseCost, Reading};

use super::figures::{Artist, Drawing, Figure, Interval};
use super::format::Unit;
use super::stack_chart::{Bar, StackChart};

impl Artist<'_> {
    /// The server's CPU time per message.
    pub(super) fn cpu(&self) -> Vec<Figure> {
        let found = |case: &Case| row_of(case, |cost| &cost.server_cpu_ns_per_message);
        self.quantity("cpu", "server CPU time per message", Unit::Nanoseconds, found)
    }

    /// The memory that each connection added.
    pub(super) fn memory(&self) -> Option<Figure> {
        let found = |case: &Case| row_of(case, |cost| &cost.bytes_per_connection);
        let point = self.scenario.telling_point(|case| found(case).is_ok())?;
        let (name, points) = ("memory per connection", std::slice::from_ref(point));
        let mut figure = self.dots("memory", name, Unit::Bytes, (point, points), found)?;
        let caption = "Memory of the server's processes only. The kernel's memory for sockets and \
                       threads is not in it.";
        figure.caption = format!("{caption} {}", figure.caption).trim_end().to_owned();
        Some(figure)
    }

    /// System calls per message by name.
    pub(super) fn system_calls(&self) -> Option<Figure> {
        let calls = |case: &Case| Some(case.cost.as_ref()?.syscalls_per_message.clone());
        let point = self.scenario.telling_point(|case| {
            calls(case).is_some_and(|calls| calls.value().is_some_and(|calls| !calls.is_empty()))
        })?;
        let bars = self.results.without_control().filter_map(|server| {
            let calls = match calls(point.case(&server.name)?)? {
                Reading::Measured(calls) => Ok(calls),
                unavailable => Err(unavailable.map(|_| "").to_string()),
            };
            Some(Bar { name: server.name.clone(), style: self.style(server), calls })
        });
        let chart = StackChart {
            title: format!("System calls per message, {}", point.label),
            bars: bars.collect(),
        };
        let caption = "Counted in a run of its own, which is not timed. Counting slows a server: \
                       one wait then returns more messages, and the counts can be smaller than at \
                       full speed. A server that reads and writes needs two calls per message; the \
                       other calls are what the model adds.";
        Some(self.figure("syscalls", caption.to_owned(), Drawing::Stack(chart)))
    }
}

/// The value of a row, or the reason why there is none.
fn row_of(
    case: &Case,
    reading: impl Fn(&CaseCost) -> &Reading<f64>,
) -> Result<(f64, Interval), String> {
    match case.cost.as_ref().map(reading) {
        Some(Reading::Measured(value)) => Ok((*value, None)),
        Some(Reading::Unavailable { unavailable }) => Err(format!("unavailable: {unavailable}")),
        None => Err("not measured".to_owned()),
    }
}
