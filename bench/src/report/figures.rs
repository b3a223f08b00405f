//! Which charts a scenario gets: those that it has the data for.

use crate::results::{Case, Point, Results, Scenario, ServerInfo};
use crate::statistics::Estimate;

use super::dot_plot::{DotPlot, Row};
use super::finding::capitalised;
use super::format::{Unit, list};
use super::line_chart::{self, LineChart, Mark, Series};
use super::markup::Markup;
use super::palette::{Palette, Style};
use super::picture::Picture;
use super::scale::Scale;
use super::stack_chart::StackChart;
use super::view;

/// A chart and what is said about it.
pub(super) struct Figure {
    /// Its name within the page, and the file's without the ending.
    pub slug: String,
    /// The scenario it is of; empty when it is of all.
    scenario: String,
    /// What to see in it.
    pub caption: String,
    drawing: Drawing,
}

/// The 95 % interval of a value, if it has one.
pub(super) type Interval = Option<(f64, f64)>;

/// A chart of one kind or another.
pub(super) enum Drawing {
    Lines(LineChart),
    Dots(DotPlot),
    Stack(StackChart),
}

/// Latencies and costs have to differ by this factor to fill a chart.
const SPAN_MIN: f64 = 10.0;
/// Rows that differ by more than this factor need a logarithmic axis.
const LINEAR_MAX: f64 = 8.0;

impl Figure {
    /// For the page, `width` pixels wide; `id` starts its identifiers.
    pub(super) fn draw(&self, width: f64, id: &str) -> Markup {
        let (picture, height) = self.picture(width);
        picture.finish(height, id)
    }

    /// As a file of its own, `width` pixels wide; `origin` says which run it is from.
    pub(super) fn draw_file(&self, width: f64, origin: &str) -> Markup {
        let (picture, height) = self.picture(width);
        let context: Vec<&str> =
            [self.scenario.as_str(), origin].into_iter().filter(|text| !text.is_empty()).collect();
        picture.finish_file(height, &self.slug, &context.join(" · "))
    }

    fn picture(&self, width: f64) -> (Picture, f64) {
        match &self.drawing {
            Drawing::Lines(chart) => chart.draw(width),
            Drawing::Dots(chart) => chart.draw(width),
            Drawing::Stack(chart) => chart.draw(width),
        }
    }
}

/// Draws one scenario of a run.
pub(super) struct Artist<'a> {
    pub results: &'a Results,
    pub palette: &'a Palette,
    pub scenario: &'a Scenario,
}

impl Artist<'_> {
    /// All its charts; the first is the one that answers its question.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let all = [
            self.metric(),
            self.offered(),
            self.cpu(),
            self.latency(),
            self.system_calls(),
            self.memory(),
        ];
        all.into_iter().flatten().collect()
    }

    /// The scenario's metric: over its axis, or as dots when there is one point only.
    pub(super) fn metric(&self) -> Option<Figure> {
        let (name, unit) = view::metric(self.scenario.metric);
        if let [point] = self.scenario.points.as_slice() {
            let row = |case: &Case| match case.value() {
                Some(value) => Ok((value.median, view::interval(&value))),
                None => Err(list(&case.doubts())),
            };
            return self.dots("metric", name, unit, point, row);
        }
        let mark = |case: &Case| {
            let value = case.value()?;
            Some((value.median, view::interval(&value), view::estimate_text(&value, unit)))
        };
        self.over_axis("metric", name, unit, mark)
    }

    /// What was achieved of what was offered.
    fn offered(&self) -> Option<Figure> {
        let mut series = self.series(|_, case| {
            let (x, y) = (case.load.offered_per_s?, case.messages_per_s?);
            let [offered, achieved] = [x, y].map(|rate| Unit::Number.format(rate));
            Some((x, y, None, format!("{achieved} achieved of {offered} offered per second")))
        });
        // A capacity found again for each point need not grow with the share taken of it.
        series.iter_mut().for_each(|one| one.marks.sort_by(|a, b| a.x.total_cmp(&b.x)));
        let all = |pick: fn(&Mark) -> f64| -> Vec<f64> {
            series.iter().flat_map(|series| &series.marks).map(pick).collect()
        };
        let (offered, achieved) = (all(|mark| mark.x), all(|mark| mark.y));
        let axis = |title: &str, values: &[f64]| {
            let scale = Scale::log(values, 2.0)?;
            let (title, unit) = (title.to_owned(), Unit::Number);
            Some(line_chart::Axis { title, unit, scale, ticks: None })
        };
        let chart = LineChart {
            title: "Achieved against offered load".to_owned(),
            x: axis("offered, messages per second", &offered)?,
            y: axis("achieved, messages per second", &achieved)?,
            series,
            markers: true,
            diagonal: Some("achieved = offered"),
            hollow: "saturated, invalid or flagged",
        };
        let caption = "Where a line leaves the diagonal, the server is saturated: it achieves less \
                       than it is offered, and waiting times have no steady value.";
        Some(self.figure("offered", caption.to_owned(), Drawing::Lines(chart)))
    }

    /// Latency by percentile, the rare far end drawn as large as the rest.
    fn latency(&self) -> Option<Figure> {
        let point = self.scenario.telling_point(|case| case.latency().is_some())?;
        let series = self.results.without_control().filter_map(|server| {
            let case = point.case(&server.name)?;
            let doubtful = !case.doubts().is_empty();
            let marks = case.latency()?.percentiles.iter().map(|percentile| {
                let (x, y) = (percentile.quantile, percentile.ns as f64);
                let (at, took) = (Unit::Quantile.format(x), Unit::Nanoseconds.format(y));
                let tip = format!("{}, {at}: {took}", server.name);
                Mark { x, y, interval: None, doubtful, tip }
            });
            let marks = marks.filter(|mark| (0.0..1.0).contains(&mark.x)).collect();
            Some(self.named(server, marks))
        });
        let series: Vec<Series> = series.filter(|series| !series.marks.is_empty()).collect();
        let marks = || series.iter().flat_map(|series| &series.marks);
        let scale = Scale::log(&marks().map(|mark| mark.y).collect::<Vec<_>>(), SPAN_MIN)?;
        let tail = Scale::tail(&marks().map(|mark| mark.x).collect::<Vec<_>>());
        let chart = LineChart {
            title: format!("Latency by percentile, {}", point.label),
            x: line_chart::Axis {
                title: "share of messages that took at most so long".to_owned(),
                unit: Unit::Quantile,
                scale: tail,
                ticks: None,
            },
            y: line_chart::Axis {
                title: "latency".to_owned(),
                unit: Unit::Nanoseconds,
                scale,
                ticks: None,
            },
            series,
            markers: false,
            diagonal: None,
            hollow: "saturated, invalid or flagged",
        };
        let open = point.cases.iter().any(|case| case.load.offered_per_s.is_some());
        let from = if open { "when the schedule wanted it sent" } else { "when it was sent" };
        let caption = format!(
            "From {from} to when it was back. Each curve ends where the number of samples still \
             supports it."
        );
        Some(self.figure("latency", caption, Drawing::Lines(chart)))
    }

    /// A quantity over the scenario's axis.
    pub(super) fn over_axis(
        &self,
        slug: &str,
        name: &str,
        unit: Unit,
        mark: impl Fn(&Case) -> Option<(f64, Interval, String)>,
    ) -> Option<Figure> {
        let series = self.series(|point, case| {
            let (y, interval, text) = mark(case)?;
            Some((point.x, y, interval, format!("{}: {text}", point.label)))
        });
        let marks = || series.iter().flat_map(|series| &series.marks);
        let values: Vec<f64> = marks().map(|mark| mark.y).collect();
        let mut ticks: Vec<f64> = marks().map(|mark| mark.x).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        let axis = &self.scenario.axis;
        let log = Scale::log_exact(&ticks).filter(|_| axis.log);
        let chart = LineChart {
            title: capitalised(&format!("{name} against {}", axis.name)),
            x: line_chart::Axis {
                title: view::axis_title(axis),
                unit: view::axis_unit(axis),
                scale: log.or_else(|| Scale::linear(&ticks))?,
                ticks: Some(ticks),
            },
            y: line_chart::Axis {
                title: name.to_owned(),
                unit,
                scale: Scale::log(&values, SPAN_MIN)?,
                ticks: None,
            },
            series,
            markers: true,
            diagonal: None,
            hollow: "saturated, invalid or flagged",
        };
        let caption = self.missing(&chart.series);
        Some(self.figure(slug, caption, Drawing::Lines(chart)))
    }

    /// A quantity at one point, a row for each server.
    pub(super) fn dots(
        &self,
        slug: &str,
        name: &str,
        unit: Unit,
        point: &Point,
        row: impl Fn(&Case) -> Result<(f64, Interval), String>,
    ) -> Option<Figure> {
        let rows = self.results.without_control().filter_map(|server| {
            let case = point.case(&server.name)?;
            let found = row(case).and_then(|found| {
                if found.0.is_finite() { Ok(found) } else { Err("unavailable".to_owned()) }
            });
            let (value, interval, text) = match found {
                Ok((value, interval)) => (Some(value), interval, unit.format(value)),
                Err(reason) => (None, None, reason),
            };
            let doubtful = !case.doubts().is_empty();
            let style = self.style(server);
            Some(Row { name: server.name.clone(), style, value, interval, doubtful, text })
        });
        let rows: Vec<Row> = rows.collect();
        let ends = |row: &Row| {
            let (low, high) = row.interval.or(row.value.map(|value| (value, value)))?;
            Some([low, high])
        };
        let values: Vec<f64> = rows.iter().filter_map(ends).flatten().collect();
        let scale = dots_scale(&values)?;
        let title = capitalised(&format!("{name}, {}", point.label));
        let axis = name.to_owned();
        let chart = DotPlot { title, axis, unit, scale, rows, baseline: None };
        let logarithmic = matches!(chart.scale, Scale::Log { .. });
        let caption = if logarithmic { "The axis is logarithmic." } else { "" };
        Some(self.figure(slug, caption.to_owned(), Drawing::Dots(chart)))
    }

    /// For each server its points, as far as `mark` finds x, y, interval and words for them.
    fn series(
        &self,
        mark: impl Fn(&Point, &Case) -> Option<(f64, f64, Interval, String)>,
    ) -> Vec<Series> {
        let series = self.results.without_control().map(|server| {
            let marks = self.scenario.points.iter().filter_map(|point| {
                let case = point.case(&server.name)?;
                let (x, y, interval, text) = mark(point, case)?;
                let doubts = case.doubts();
                let doubtful = !doubts.is_empty();
                let why = if doubtful { format!("; {}", list(&doubts)) } else { String::new() };
                let tip = format!("{}, {text}{why}", server.name);
                (x.is_finite() && y.is_finite()).then_some(Mark { x, y, interval, doubtful, tip })
            });
            self.named(server, marks.collect())
        });
        series.filter(|series| !series.marks.is_empty()).collect()
    }

    /// Who has no line, and why.
    fn missing(&self, series: &[Series]) -> String {
        let absent = self.results.without_control().filter_map(|server| {
            let drawn = series.iter().any(|series| series.name == server.name);
            let cases = self.scenario.points.iter().filter_map(|p| p.case(&server.name));
            let reasons = cases.flat_map(Case::doubts).next()?;
            (!drawn).then(|| format!("{} ({reasons})", server.name))
        });
        let absent: Vec<String> = absent.collect();
        if absent.is_empty() {
            String::new()
        } else {
            format!("Without a line: {}.", list(&absent))
        }
    }

    fn named(&self, server: &ServerInfo, marks: Vec<Mark>) -> Series {
        Series { name: server.name.clone(), style: self.style(server), marks }
    }

    pub(super) fn style(&self, server: &ServerInfo) -> Style {
        self.palette.style(&server.name)
    }

    pub(super) fn figure(&self, slug: &str, caption: String, drawing: Drawing) -> Figure {
        let scenario = self.scenario.name.clone();
        Figure { slug: format!("{}-{slug}", slugged(&scenario)), scenario, caption, drawing }
    }
}

/// From zero while the rows can be told apart so, else logarithmic.
fn dots_scale(values: &[f64]) -> Option<Scale> {
    let positive = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
    let (Some(low), Some(high)) = (positive().reduce(f64::min), positive().reduce(f64::max)) else {
        let zero = values.contains(&0.0);
        return zero.then_some(Scale::Linear { low: 0.0, high: 1.0 });
    };
    if high / low > LINEAR_MAX { Scale::log(values, 1.0) } else { Scale::from_zero(values) }
}

/// The A/A control of each scenario where it strayed farthest: no smaller difference is claimed
/// there.
pub(super) fn noise_floor(results: &Results, palette: &Palette) -> Option<Figure> {
    let rows = results.scenarios.iter().filter_map(|scenario| {
        let (name, floor) = farthest_control(scenario)?;
        Some(Row {
            name,
            style: palette.style(&scenario.reference),
            value: Some(floor.median),
            interval: view::interval(&floor),
            doubtful: false,
            text: format!("within {}", view::strayed(&floor)),
        })
    });
    let rows: Vec<Row> = rows.collect();
    let far =
        rows.iter().filter_map(|row| row.interval).map(|(low, high)| (1.0 - low).max(high - 1.0));
    let far = far.reduce(f64::max)?.max(0.01) * 1.1;
    let chart = DotPlot {
        title: "Noise floor: a server against itself".to_owned(),
        axis: "ratio of two runs of the same server; 1 is no difference".to_owned(),
        unit: Unit::Ratio,
        scale: Scale::Linear { low: 1.0 - far, high: 1.0 + far },
        rows,
        baseline: Some(1.0),
    };
    let caption = "For each scenario the point at which the control strayed farthest.".to_owned();
    let (slug, drawing) = ("noise-floor".to_owned(), Drawing::Dots(chart));
    Some(Figure { slug, scenario: String::new(), caption, drawing })
}

/// Where a scenario's control strayed farthest from 1, and how far.
pub(super) fn farthest_control(scenario: &Scenario) -> Option<(String, Estimate)> {
    let floors = scenario.points.iter().filter_map(|point| {
        let floor = point.noise_floor.filter(|floor| floor.strays().is_finite())?;
        Some((format!("{}, {}", scenario.name, point.label), floor))
    });
    floors.max_by(|a, b| a.1.strays().total_cmp(&b.1.strays()))
}

/// A name as a part of a file's name: nothing in it can lead out of the directory.
pub(super) fn slugged(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    name.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_out_of_the_directory() {
        assert_eq!(slugged("../idle_herd/ä"), "---idle_herd--");
    }

    #[test]
    fn rows_far_apart_are_drawn_on_a_logarithmic_axis() {
        assert!(matches!(dots_scale(&[1.0, 7.0]), Some(Scale::Linear { low: 0.0, .. })));
        assert!(matches!(dots_scale(&[1.0, 9.0]), Some(Scale::Log { .. })));
        assert!(matches!(dots_scale(&[0.0]), Some(Scale::Linear { .. })));
        assert_eq!(dots_scale(&[]), None);
        assert_eq!(dots_scale(&[f64::NAN, -1.0]), None);
    }
}
