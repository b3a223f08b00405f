//! A chart of lines with intervals. The name of a line is at its end.

use super::format::Unit;
use super::labels::spread;
use super::palette::{Style, draw_marker};
use super::picture::{LINE, MARGIN, NARROW_MAX, Picture, TEXT, fit, text_width};
use super::scale::Scale;
use super::svg::{Attributes, Px, Svg};

/// Lines over one pair of axes.
pub(super) struct LineChart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Whether every point has a marker. Otherwise only the last point has a marker.
    pub markers: bool,
    /// The meaning of the line y = x, if the chart draws this line.
    pub diagonal: Option<&'static str>,
    /// The meaning of a hollow marker.
    pub hollow: &'static str,
}

/// An axis.
pub(super) struct Axis {
    pub title: String,
    pub unit: Unit,
    pub scale: Scale,
    /// The values with a tick; `None`: round values of the scale.
    pub ticks: Option<Vec<f64>>,
}

/// One server's line.
pub(super) struct Series {
    pub name: String,
    pub style: Style,
    pub marks: Vec<Mark>,
}

/// One point of a line.
pub(super) struct Mark {
    pub x: f64,
    pub y: f64,
    /// The 95 % interval of y.
    pub interval: Option<(f64, f64)>,
    /// Whether the figure is less trustworthy, for a reason that `tip` gives.
    pub doubtful: bool,
    /// Whether a line leads here from the point before. Points that were measured in different ways
    /// are not joined.
    pub joined: bool,
    /// The text that a pointer over the point shows.
    pub tip: String,
}

/// The area between the axes, in pixels.
struct Plot<'a> {
    chart: &'a LineChart,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// Room between the ends of the lines and their names, in pixels.
const GUTTER: f64 = 26.0;
/// Room between the axes and the outermost points, in pixels.
const INSET: f64 = 8.0;

impl LineChart {
    /// Draws the chart `width` pixels wide. Returns the drawing and its height in pixels.
    pub(super) fn draw(&self, width: f64) -> (Picture, f64) {
        let (mut picture, title_end) = Picture::new(&self.title, self.description(), width);
        let names = self.series.iter().map(|series| text_width(&series.name, TEXT) + 12.0);
        let names_width = names.fold(40.0, f64::max).min(width * 0.32);
        let names_height = self.series.len() as f64 * LINE;
        let height = if width < NARROW_MAX { width * 0.8 } else { width * 0.46 };
        let ticks = self.y.ticks(7);
        let tick_width = ticks.iter().map(|(_, text)| text_width(text, TEXT)).fold(0.0, f64::max);
        let top = title_end + LINE + 8.0;
        let plot = Plot {
            chart: self,
            left: MARGIN + tick_width + 8.0,
            right: width - MARGIN - names_width - GUTTER,
            top,
            bottom: top + height.max(names_height).min(width.max(names_height)),
        };
        plot.draw_axes(&mut picture, &ticks, title_end + TEXT);
        if let Some(meaning) = self.diagonal {
            plot.draw_diagonal(&mut picture, meaning);
        }
        plot.draw_series(&mut picture, names_width);
        let mut end = plot.bottom + 2.0 * LINE + 10.0;
        if self.series.iter().flat_map(|series| &series.marks).any(|mark| mark.doubtful) {
            let text = format!("hollow marker: {}", self.hollow);
            end += LINE;
            picture.text("soft", "start", (MARGIN, end), text);
        }
        (picture, end + MARGIN)
    }

    /// The chart in words.
    fn description(&self) -> String {
        let lines = self.series.iter().filter_map(|series| {
            let (first, last) = (series.marks.first()?, series.marks.last()?);
            let at = |mark: &Mark| {
                format!("{} at {}", self.y.unit.format(mark.y), self.x.unit.format(mark.x))
            };
            Some(if series.marks.len() == 1 {
                format!("{}: {}.", series.name, at(first))
            } else {
                format!("{}: from {} to {}.", series.name, at(first), at(last))
            })
        });
        let lines: Vec<String> = lines.collect();
        format!("Lines of {} over {}. {}", self.y.title, self.x.title, lines.join(" "))
    }
}

impl Axis {
    /// The ticks of the axis: value and text.
    fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let values = self.ticks.clone().unwrap_or_else(|| self.scale.ticks(self.unit, count));
        values.into_iter().map(|value| (value, self.unit.format(value))).collect()
    }
}

impl Plot<'_> {
    fn x(&self, value: f64) -> Option<f64> {
        let place = self.chart.x.scale.place(value)?;
        Some(self.left + INSET + place * (self.right - self.left - 2.0 * INSET))
    }

    fn y(&self, value: f64) -> Option<f64> {
        Some(self.bottom - self.chart.y.scale.place(value)? * (self.bottom - self.top))
    }

    fn place(&self, mark: &Mark) -> Option<(f64, f64)> {
        Some((self.x(mark.x)?, self.y(mark.y)?))
    }

    fn draw_axes(&self, picture: &mut Picture, y_ticks: &[(f64, String)], title_y: f64) {
        picture.text("soft", "start", (MARGIN, title_y), &self.chart.y.title);
        for (value, text) in y_ticks {
            let Some(y) = self.y(*value) else { continue };
            picture.line("grid", (self.left, y), (self.right, y));
            picture.text("soft", "end", (self.left - 6.0, y + 4.0), text);
        }
        let count = ((self.right - self.left) / 60.0) as usize;
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in self.chart.x.ticks(count) {
            let Some(x) = self.x(value) else { continue };
            picture.line("rule", (x, self.bottom), (x, self.bottom + 4.0));
            let half = text_width(&text, TEXT) / 2.0;
            if x - half > free_from {
                picture.text("soft", "middle", (x, self.bottom + LINE + 1.0), text);
                free_from = x + half + 4.0;
            }
        }
        picture.line("rule", (self.left, self.bottom), (self.right, self.bottom));
        if let Scale::Log { low, zero: true, .. } = self.chart.x.scale
            && let (Some(zero), Some(low)) = (self.x(0.0), self.x(low))
        {
            // A break in the axis shows that the logarithmic part begins here.
            let x = (zero + low) / 2.0;
            picture.rect("card", (x - 3.0, self.bottom - 3.0), (6.0, 6.0));
            for x in [x - 3.0, x + 3.0] {
                picture.line("rule", (x - 2.0, self.bottom + 5.0), (x + 2.0, self.bottom - 5.0));
            }
        }
        let middle = (self.left + self.right) / 2.0;
        let title_at = (middle, self.bottom + 2.0 * LINE + 4.0);
        picture.text("soft", "middle", title_at, &self.chart.x.title);
    }

    /// Draws y = x over the range that both axes share.
    fn draw_diagonal(&self, picture: &mut Picture, meaning: &str) {
        let inside = |scale: Scale, value: f64| {
            scale.place(value).is_some_and(|place| (0.0..=1.0).contains(&place))
        };
        let marks = self.chart.series.iter().flat_map(|series| &series.marks);
        let values = marks.flat_map(|mark| [mark.x, mark.y]);
        let values: Vec<f64> = values
            .filter(|value| {
                inside(self.chart.x.scale, *value) && inside(self.chart.y.scale, *value)
            })
            .collect();
        let ends =
            values.iter().copied().reduce(f64::min).zip(values.iter().copied().reduce(f64::max));
        let Some((low, high)) = ends.filter(|(low, high)| low < high) else { return };
        let place = |value| Some((self.x(value)?, self.y(value)?));
        let (Some(from), Some(to)) = (place(low), place(high)) else { return };
        picture.line("rule", from, to);
        picture.text("soft", "end", (to.0 - 8.0, to.1 + 4.0), meaning);
    }

    fn draw_series(&self, picture: &mut Picture, names_width: f64) {
        let series = &self.chart.series;
        let ends: Vec<Option<(f64, f64)>> = series
            .iter()
            .map(|series| series.marks.iter().rev().find_map(|mark| self.place(mark)))
            .collect();
        let wanted: Vec<f64> = ends.iter().flatten().map(|end| end.1).collect();
        let mut labels = spread(&wanted, LINE, self.top, self.bottom).into_iter();
        for (series, end) in series.iter().zip(ends) {
            let (Some(end), Some(label_y)) = (end, end.and_then(|_| labels.next())) else {
                continue;
            };
            let class = series.style.class();
            picture.body().element("g", &[("class", &class)], |group| {
                self.draw_line(group, series);
                let label_x = self.right + GUTTER;
                let lead = format!(
                    "M{} {}H{}L{} {}",
                    Px(end.0 + 6.0),
                    Px(end.1),
                    Px((end.0 + 6.0).max(self.right + 2.0)),
                    Px(label_x - 8.0),
                    Px(label_y)
                );
                group.leaf("path", &[("class", &"lead"), ("d", &lead)]);
                draw_marker(group, series.style, (label_x, label_y), false);
                let (x, y) = (Px(label_x + 9.0), Px(label_y + 4.0));
                let name = fit(&series.name, names_width - 9.0);
                group.text_element("text", &[("x", &x), ("y", &y)], name);
            });
        }
    }

    fn draw_line(&self, group: &mut Svg, series: &Series) {
        let place = |x: f64, y: f64| Some((self.x(x)?, self.y(y)?.clamp(self.top, self.bottom)));
        let interval = |mark: &Mark| {
            let (low, high) = mark.interval?;
            Some((place(mark.x, low)?, place(mark.x, high)?))
        };
        for piece in series.marks.chunk_by(|_, mark| mark.joined) {
            let intervals: Vec<_> = piece.iter().filter_map(interval).collect();
            if intervals.len() > 1 {
                let there = intervals.iter().map(|(low, _)| *low);
                let back = intervals.iter().rev().map(|(_, high)| *high);
                let outline: Vec<_> = there.chain(back).collect();
                group.leaf("path", &[("class", &"band"), ("d", &(path(&outline) + "Z"))]);
            }
            let points: Vec<_> = piece.iter().filter_map(|mark| self.place(mark)).collect();
            if points.len() > 1 {
                group.leaf("path", &[("class", &"line"), ("d", &path(&points))]);
            }
            for (low, high) in &intervals {
                group.leaf("path", &[("class", &"reach"), ("d", &path(&[*low, *high]))]);
            }
        }
        let last = series.marks.len().saturating_sub(1);
        for (index, mark) in series.marks.iter().enumerate() {
            let Some(at) = self.place(mark) else { continue };
            group.element("g", &[], |group| {
                group.text_element("title", &[], &mark.tip);
                if self.chart.markers || index == last {
                    draw_marker(group, series.style, at, mark.doubtful);
                }
                // The target is larger than the marker, for fingers and unsteady hands.
                let target: Attributes =
                    &[("class", &"target"), ("cx", &Px(at.0)), ("cy", &Px(at.1)), ("r", &9)];
                group.leaf("circle", target);
            });
        }
    }
}

/// The path data of straight lines through `points`.
fn path(points: &[(f64, f64)]) -> String {
    let pair = |(index, (x, y)): (usize, &(f64, f64))| {
        format!("{}{} {}", if index == 0 { 'M' } else { 'L' }, Px(*x), Px(*y))
    };
    points.iter().enumerate().map(pair).collect()
}
