//! The report to look at: one page that loads nothing, and each of its charts as a file.
//!
//! ```text
//! write ── page ─┬─ finding     what was found, in sentences
//!                ├─ figures, costs ─┬─ line_chart, dot_plot, stack_chart
//!                │                  └─ picture, scale, labels, palette
//!                └─ table
//! format: figures for people   markup: nothing unescaped   view: what all ask of the results
//! ```
//!
//! The SVG is written by hand. A chart here is a few dozen elements; a plotting library draws them,
//! but gives them neither classes (so no dark mode, and no tips), nor labels that keep out of each
//! other's way, nor a description for those who cannot see it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::compare::result::Results;
use figures::{Artist, Figure};
use palette::Palette;

mod costs;
mod dot_plot;
mod figures;
mod finding;
mod format;
mod labels;
mod line_chart;
mod markup;
mod page;
mod palette;
mod picture;
mod scale;
mod stack_chart;
mod table;
mod view;

const CHART_CSS: &str = include_str!("chart.css");

/// Width of a chart in a file of its own, in pixels.
const FILE_WIDTH: f64 = 860.0;

/// Writes `report.html` and an SVG file for each chart to `dir`, which must exist. `headline.svg`
/// is the chart of the page's first sentence.
///
/// # Errors
/// What writing a file says. A file of an earlier report is replaced only by a whole one; nothing
/// half-written stays behind.
pub fn write(results: &Results, dir: &Path) -> io::Result<()> {
    let palette = Palette::of(&results.servers);
    let figures: Vec<Vec<Figure>> = results
        .scenarios
        .iter()
        .map(|scenario| Artist { results, palette: &palette, scenario }.figures())
        .collect();
    let headline = headline(results, &palette);
    let page = page::Page { results, palette: &palette, figures: &figures, headline };
    let mut files = BTreeMap::from([
        ("report.html".to_owned(), page.write()),
        ("headline.svg".to_owned(), headline_svg(results)),
    ]);
    let noise_floor = figures::noise_floor(results, &palette);
    for figure in figures.iter().flatten().chain(&noise_floor) {
        files.insert(format!("{}.svg", figure.slug), svg_file(figure, results));
    }
    replace_all(dir, &files)
}

/// The curve of the headline as an SVG file: throughput beside ever more idle connections. It has a
/// ground of its own, light or dark as the reader's system is, and so is readable on any page.
/// Without such a scenario in `results`, a picture that says so.
pub fn headline_svg(results: &Results) -> String {
    let palette = Palette::of(&results.servers);
    match headline(results, &palette) {
        Some(figure) => svg_file(&figure, results),
        None => {
            let text = format!("{} was not measured in this run", finding::HEADLINE_SCENARIO);
            let (picture, height) = picture::Picture::new(&text, text.clone(), FILE_WIDTH);
            picture
                .finish_file(height + picture::MARGIN, "headline", &origin(results))
                .into_string()
        }
    }
}

fn headline(results: &Results, palette: &Palette) -> Option<Figure> {
    let scenario = finding::headline_scenario(results)?;
    Artist { results, palette, scenario }.metric()
}

fn svg_file(figure: &Figure, results: &Results) -> String {
    figure.draw_file(FILE_WIDTH, &origin(results)).into_string()
}

/// Which run a picture is from.
fn origin(results: &Results) -> String {
    let kind = if results.quick { "quick run" } else { "run" };
    let part = if results.complete { "" } else { ", stopped before its end" };
    let cpus = results.environment.cpus;
    let (when, seed) = (format::utc(results.started_unix_s), results.seed);
    format!("{kind} of {when}{part}, {cpus} processors, loopback, seed {seed}")
}

/// Writes all `files` (name, content) under temporary names, and only when all are there gives them
/// their own.
fn replace_all(dir: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    let mut pending = Pending(Vec::new());
    for (name, content) in files {
        let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
        pending.0.push(temporary.clone());
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
    }
    for (name, temporary) in files.keys().zip(&pending.0) {
        fs::rename(temporary, dir.join(name))?;
    }
    pending.0.clear();
    Ok(())
}

/// Files that have no name of their own yet, removed unless they get one.
struct Pending(Vec<PathBuf>);

impl Drop for Pending {
    fn drop(&mut self) {
        for path in &self.0 {
            // It is gone already when it was renamed before a later one failed.
            let _ = fs::remove_file(path);
        }
    }
}
