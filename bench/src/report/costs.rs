//! Charts of what a server cost: why it is as fast as it is.

use crate::cost::Reading;
use crate::results::Case;

use super::figures::{Artist, Drawing, Figure, Interval};
use super::format::Unit;
use super::stack_chart::{Bar, StackChart};

impl Artist<'_> {
    /// The server's CPU time for each message.
    pub(super) fn cpu(&self) -> Option<Figure> {
        let reading = |case: &Case| -> Option<Reading<f64>> {
            Some(case.cost.as_ref()?.server_cpu_ns_per_message.clone())
        };
        let name = "server CPU time per message";
        if let [point] = self.scenario.points.as_slice() {
            return self.dots("cpu", name, Unit::Nanoseconds, point, |case| row_of(reading(case)));
        }
        self.over_axis("cpu", name, Unit::Nanoseconds, |case| {
            let value = *reading(case)?.value()?;
            Some((value, None, Unit::Nanoseconds.format(value)))
        })
    }

    /// Memory that each connection added.
    pub(super) fn memory(&self) -> Option<Figure> {
        let reading = |case: &Case| -> Option<Reading<f64>> {
            Some(case.cost.as_ref()?.bytes_per_connection.clone())
        };
        let point = self
            .scenario
            .telling_point(|case| reading(case).is_some_and(|reading| reading.value().is_some()))?;
        let name = "memory per connection";
        let mut figure =
            self.dots("memory", name, Unit::Bytes, point, |case| row_of(reading(case)))?;
        let caption = "The server's own memory: the kernel's socket buffers are not in it.";
        figure.caption = format!("{caption} {}", figure.caption);
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
        let caption = "Counted in a run of its own, untimed. A message has to be received and \
                       sent; what is added to that is the model's own price.";
        Some(self.figure("syscalls", caption.to_owned(), Drawing::Stack(chart)))
    }
}

/// A row's value, or why it has none.
fn row_of(reading: Option<Reading<f64>>) -> Result<(f64, Interval), String> {
    match reading {
        Some(Reading::Measured(value)) => Ok((value, None)),
        Some(Reading::Unavailable { unavailable }) => Err(format!("unavailable: {unavailable}")),
        None => Err("not measured".to_owned()),
    }
}
