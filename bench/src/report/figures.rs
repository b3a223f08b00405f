//! The charts of a scenario: each one for which the scenario has data.

use crate::results::{Case, Point, Results, Scenario, ServerInfo};

use super::dot_plot::{DotPlot, Row};
use super::finding::capitalised;
use super::format::{self, Unit, list};
use super::line_chart::{self, LineChart, Mark, Series};
use super::palette::{Palette, Style};
use super::picture::Picture;
use super::scale::Scale;
use super::stack_chart::StackChart;
use super::svg::Svg;
use super::view;

/// A chart with its caption.
pub(super) struct Figure {
    /// The name of the chart in the page, and of its file without the ending.
    pub slug: String,
    /// The name of the scenario; empty for a chart of all scenarios.
    pub scenario: String,
    /// How to read the chart.
    pub caption: String,
    pub drawing: Drawing,
}

/// The 95 % interval of a value, if there is one.
pub(super) type Interval = Option<(f64, f64)>;

/// A chart of any kind.
pub(super) enum Drawing {
    Lines(LineChart),
    Dots(DotPlot),
    Stack(StackChart),
}

/// An axis of latencies or costs spans at least this factor: small differences must look small.
const SPAN_MIN: f64 = 10.0;
/// Rows that differ by more than this factor need a logarithmic axis.
const LINEAR_MAX: f64 = 8.0;
/// The meaning of a hollow marker.
const HOLLOW: &str = "saturated, invalid or flagged";

impl Figure {
    /// Draws the chart for the page, `width` pixels wide. `id` is the prefix of its identifiers.
    pub(super) fn draw(&self, width: f64, id: &str) -> Svg {
        let (picture, height) = self.picture(width);
        picture.finish(height, id)
    }

    /// Draws the chart as a file, `width` pixels wide. `origin` names the run.
    pub(super) fn draw_file(&self, width: f64, origin: &str) -> Svg {
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

/// Draws the charts of one scenario of a run.
pub(super) struct Artist<'a> {
    pub results: &'a Results,
    pub palette: &'a Palette,
    pub scenario: &'a Scenario,
}

impl Artist<'_> {
    /// All charts. The first chart answers the question of the scenario.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut all = self.metric();
        all.extend(self.offered());
        all.extend(self.cpu());
        all.extend(self.latency());
        all.extend(self.system_calls());
        all.extend(self.memory());
        all
    }

    /// The metric of the scenario.
    pub(super) fn metric(&self) -> Vec<Figure> {
        let (name, unit) = view::metric(self.scenario.metric);
        self.quantity("metric", name, unit, |case| match case.finite_value() {
            Some(value) => Ok((value.median, view::interval(&value))),
            None => Err(list(&case.doubts())),
        })
    }

    /// A quantity: lines over the axis. With one point, or with cases on the axis, it is a chart of
    /// dots for each point, all over the same scale.
    pub(super) fn quantity(
        &self,
        slug: &str,
        name: &str,
        unit: Unit,
        found: impl Fn(&Case) -> Result<(f64, Interval), String>,
    ) -> Vec<Figure> {
        let points = self.scenario.points.as_slice();
        if points.len() > 1 && !view::has_cases(&self.scenario.axis) {
            return self.over_axis(slug, name, unit, found).into_iter().collect();
        }
        let dots = points.iter().enumerate().map(|(index, point)| {
            let number = if points.len() == 1 { String::new() } else { format!("-{}", index + 1) };
            self.dots(&format!("{slug}{number}"), name, unit, (point, points), &found)
        });
        dots.flatten().collect()
    }

    /// The rate achieved against the rate offered, in an open loop.
    fn offered(&self) -> Option<Figure> {
        let mut series = self.series(|_, case| {
            let (x, y) = (case.load.offered_per_s?, case.messages_per_s?);
            let [offered, achieved] = [x, y].map(|rate| Unit::Number.format(rate));
            Some((x, y, None, format!("{achieved} achieved of {offered} offered per second")))
        });
        // Each point measures the capacity again, so the rates need not ascend with the share.
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
            hollow: HOLLOW,
        };
        let caption = "Below the diagonal, the server echoes fewer messages than the generator \
                       offers. Messages then wait ever longer, and latency has no steady value.";
        Some(self.figure("offered", caption.to_owned(), Drawing::Lines(chart)))
    }

    /// Latency by percentile. The axis gives each further nine the same room.
    fn latency(&self) -> Option<Figure> {
        let point = self.scenario.telling_point(|case| case.user_latency().is_some())?;
        let series = self.results.without_control().filter_map(|server| {
            let case = point.case(&server.name)?;
            let doubtful = !case.doubts().is_empty();
            let marks = case.user_latency()?.percentiles.iter().map(|percentile| {
                let (x, y) = (percentile.quantile, percentile.ns as f64);
                let (at, took) = (Unit::Quantile.format(x), Unit::Nanoseconds.format(y));
                let tip = format!("{}, {at}: {took}", server.name);
                Mark { x, y, interval: None, doubtful, joined: true, tip }
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
                title: "percentile of all messages".to_owned(),
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
            hollow: HOLLOW,
        };
        let open = point.cases.iter().any(|case| case.load.offered_per_s.is_some());
        let from = if open { "from its scheduled send" } else { "from its send" };
        let caption = format!(
            "Time of a message {from} until its last byte is back. Above the median, a percentile \
             is drawn only if at least ten samples are above it."
        );
        Some(self.figure("latency", caption, Drawing::Lines(chart)))
    }

    /// A quantity over the axis of the scenario, as lines.
    fn over_axis(
        &self,
        slug: &str,
        name: &str,
        unit: Unit,
        found: impl Fn(&Case) -> Result<(f64, Interval), String>,
    ) -> Option<Figure> {
        let series = self.series(|point, case| {
            let (y, interval) = found(case).ok()?;
            let text = view::with_interval(y, interval, unit);
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
            hollow: HOLLOW,
        };
        let mut caption = self.missing(&chart.series);
        let marks = || chart.series.iter().flat_map(|series| series.marks.iter().skip(1));
        if marks().any(|mark| !mark.joined) {
            caption += " A line is broken where the servers took turns of another length: the \
                        length changes the figures by itself.";
        }
        Some(self.figure(slug, caption.trim_start().to_owned(), Drawing::Lines(chart)))
    }

    /// A quantity at one point, with a row for each server. The scale fits the values at all of
    /// `points`.
    pub(super) fn dots(
        &self,
        slug: &str,
        name: &str,
        unit: Unit,
        (point, points): (&Point, &[Point]),
        found: impl Fn(&Case) -> Result<(f64, Interval), String>,
    ) -> Option<Figure> {
        let found = |case: &Case| {
            let finite = |found: &(f64, Interval)| found.0.is_finite();
            found(case).and_then(|one| {
                Some(one).filter(finite).ok_or_else(|| format::UNAVAILABLE.to_owned())
            })
        };
        let rows = self.results.without_control().filter_map(|server| {
            let case = point.case(&server.name)?;
            let (value, interval, text) = match found(case) {
                Ok((value, interval)) => (Some(value), interval, unit.format(value)),
                Err(reason) => (None, None, reason),
            };
            let doubtful = !case.doubts().is_empty();
            let style = self.style(server);
            Some(Row { name: server.name.clone(), style, value, interval, doubtful, text })
        });
        let rows: Vec<Row> = rows.collect();
        let ends = |case: &Case| {
            let (value, interval) = found(case).ok()?;
            let (low, high) = interval.unwrap_or((value, value));
            Some([low, high])
        };
        let cases = points.iter().flat_map(|point| {
            self.results.without_control().filter_map(|server| point.case(&server.name))
        });
        let values: Vec<f64> = cases.filter_map(ends).flatten().collect();
        let scale = dots_scale(&values)?;
        let title = capitalised(&format!("{name}, {}", point.label));
        let axis = name.to_owned();
        let chart = DotPlot { title, axis, unit, scale, rows, baseline: None };
        let logarithmic = matches!(chart.scale, Scale::Log { .. });
        let caption = if logarithmic { "The axis is logarithmic." } else { "" };
        Some(self.figure(slug, caption.to_owned(), Drawing::Dots(chart)))
    }

    /// The line of each server, through the points for which `mark` returns x, y, interval and
    /// text.
    fn series(
        &self,
        mark: impl Fn(&Point, &Case) -> Option<(f64, f64, Interval, String)>,
    ) -> Vec<Series> {
        let series = self.results.without_control().map(|server| {
            let mut before: Option<&Point> = None;
            let marks = self.scenario.points.iter().filter_map(|point| {
                let case = point.case(&server.name)?;
                let (x, y, interval, text) = mark(point, case)?;
                if !x.is_finite() || !y.is_finite() {
                    return None;
                }
                let doubts = case.doubts();
                let doubtful = !doubts.is_empty();
                let why = if doubtful { format!("; {}", list(&doubts)) } else { String::new() };
                let tip = format!("{}, {text}{why}", server.name);
                let like = |before: &Point| point.interleaving.is_like(before.interleaving);
                let joined = before.replace(point).is_none_or(like);
                Some(Mark { x, y, interval, doubtful, joined, tip })
            });
            self.named(server, marks.collect())
        });
        series.filter(|series| !series.marks.is_empty()).collect()
    }

    /// The servers without a line, with reasons.
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

/// A scale from zero for rows that differ little, and a logarithmic scale for others.
fn dots_scale(values: &[f64]) -> Option<Scale> {
    let positive = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
    let (Some(low), Some(high)) = (positive().reduce(f64::min), positive().reduce(f64::max)) else {
        let zero = values.contains(&0.0);
        return zero.then_some(Scale::Linear { low: 0.0, high: 1.0 });
    };
    if high / low > LINEAR_MAX { Scale::log(values, 1.0) } else { Scale::from_zero(values) }
}

/// Returns a name that is safe in a file name: no character in it can lead out of the directory.
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
