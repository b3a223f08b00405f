//! A chart of rows: each row has one figure, drawn as a dot with its interval.

use super::format::Unit;
use super::palette::{Style, draw_marker};
use super::picture::{LINE, MARGIN, NARROW_MAX, Picture, TEXT, fit, text_width};
use super::scale::Scale;
use super::svg::{Attributes, Px};

/// Rows of dots over one axis.
pub(super) struct DotPlot {
    pub title: String,
    /// The title of the axis.
    pub axis: String,
    pub unit: Unit,
    pub scale: Scale,
    pub rows: Vec<Row>,
    /// A value to compare the dots with, drawn as a line; for a ratio, 1.
    pub baseline: Option<f64>,
}

/// One row.
pub(super) struct Row {
    pub name: String,
    pub style: Style,
    /// The figure. If it is `None`, `text` gives the reason.
    pub value: Option<f64>,
    /// The 95 % interval of the figure.
    pub interval: Option<(f64, f64)>,
    /// Whether the figure is less trustworthy. Its marker is then hollow.
    pub doubtful: bool,
    /// The figure as text.
    pub text: String,
}

/// The places of the parts of a row, in pixels.
struct Columns {
    left: f64,
    right: f64,
    row_height: f64,
    /// Distance from the top of a row to its dot.
    dot: f64,
    /// Whether the name stands above the dot, as on a phone.
    narrow: bool,
}

impl DotPlot {
    /// Draws the chart `width` pixels wide. Returns the drawing and its height in pixels.
    pub(super) fn draw(&self, width: f64) -> (Picture, f64) {
        let (mut picture, title_end) = Picture::new(&self.title, self.description(), width);
        let columns = self.columns(width);
        let top = title_end + 4.0;
        let bottom = top + self.rows.len() as f64 * columns.row_height;
        for index in (0..self.rows.len()).step_by(2) {
            let y = top + index as f64 * columns.row_height;
            let size = (width - MARGIN, columns.row_height);
            picture.rect("even", (MARGIN / 2.0, y), size);
        }
        let x = |value: f64| {
            let place = self.scale.place(value)?.clamp(0.0, 1.0);
            Some(columns.left + place * (columns.right - columns.left))
        };
        let mut free_from = f64::NEG_INFINITY;
        for tick in self.scale.ticks(self.unit, ((columns.right - columns.left) / 70.0) as usize) {
            let Some(x) = x(tick) else { continue };
            picture.line("grid", (x, top), (x, bottom));
            let text = self.unit.format(tick);
            let half = text_width(&text, TEXT) / 2.0;
            if x - half > free_from {
                picture.text("soft", "middle", (x, bottom + LINE), text);
                free_from = x + half + 4.0;
            }
        }
        if let Some(x) = self.baseline.and_then(x) {
            picture.line("rule", (x, top), (x, bottom));
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + index as f64 * columns.row_height;
            self.draw_row(&mut picture, row, &columns, y, width, &x);
        }
        let middle = (columns.left + columns.right) / 2.0;
        picture.text("soft", "middle", (middle, bottom + 2.0 * LINE + 2.0), &self.axis);
        (picture, bottom + 2.0 * LINE + MARGIN)
    }

    fn columns(&self, width: f64) -> Columns {
        let widest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text_width(text, TEXT)).fold(0.0, f64::max)
        };
        if width < NARROW_MAX {
            let (left, right) = (MARGIN + 10.0, width - MARGIN - 10.0);
            return Columns { left, right, row_height: 40.0, dot: 28.0, narrow: true };
        }
        let names = widest(&mut self.rows.iter().map(|row| row.name.as_str()));
        let measured = self.rows.iter().filter(|row| row.value.is_some());
        let values = widest(&mut measured.map(|row| row.text.as_str()));
        let left = MARGIN + (names + 24.0).min(width * 0.38) + 8.0;
        let right = width - MARGIN - (values + 12.0).min(width * 0.35);
        Columns { left, right, row_height: 26.0, dot: 13.0, narrow: false }
    }

    fn draw_row(
        &self,
        picture: &mut Picture,
        row: &Row,
        columns: &Columns,
        top: f64,
        width: f64,
        x: &dyn Fn(f64) -> Option<f64>,
    ) {
        let (dot_y, text_y) = (top + columns.dot, top + 17.0);
        let dot_x = row.value.and_then(x);
        let whisker = row.interval.and_then(|(low, high)| Some((x(low)?, x(high)?)));
        let name_width = if columns.narrow { width * 0.5 } else { columns.left - 44.0 };
        let text_width = match (columns.narrow, dot_x) {
            (true, _) => width * 0.5 - 2.0 * MARGIN,
            (false, Some(_)) => width - columns.right,
            (false, None) => width - columns.left - MARGIN,
        };
        picture.body().element("g", &[("class", &row.style.class())], |group| {
            group.text_element("title", &[], format!("{}: {}", row.name, row.text));
            draw_marker(group, row.style, (MARGIN + 6.0, text_y - 4.0), false);
            let name: Attributes = &[("x", &Px(MARGIN + 18.0)), ("y", &Px(text_y))];
            group.text_element("text", name, fit(&row.name, name_width));
            if let (Some((low, high)), Some(_)) = (whisker, dot_x) {
                let path = format!("M{} {}H{}", Px(low), Px(dot_y), Px(high));
                group.leaf("path", &[("class", &"whisker"), ("d", &path)]);
            }
            if let Some(dot_x) = dot_x {
                draw_marker(group, row.style, (dot_x, dot_y), row.doubtful);
            }
            let (class, anchor, at) = match dot_x {
                Some(_) => ("", "end", width - MARGIN),
                None if columns.narrow => ("soft", "end", width - MARGIN),
                None => ("soft", "start", columns.left),
            };
            let text: Attributes =
                &[("class", &class), ("text-anchor", &anchor), ("x", &Px(at)), ("y", &Px(text_y))];
            group.text_element("text", text, fit(&row.text, text_width));
        });
    }

    /// The chart in words.
    fn description(&self) -> String {
        let rows = self.rows.iter().map(|row| format!("{}: {}.", row.name, row.text));
        format!("{}, {}. {}", self.title, self.axis, rows.collect::<Vec<_>>().join(" "))
    }
}
