//! The report to look at: one page that loads nothing, and each of its charts as a file.
//!
//! ```text
//! write ── page ─┬─ finding     what was found, in sentences
//!                ├─ figures, costs ─┬─ line_chart, dot_plot, stack_chart
//!                │                  └─ picture, scale, labels, palette
//!                └─ table
//! terminal: the tables of a run, for the terminal
//! format: figures for people   markup: nothing unescaped   view: what all ask of the results
//! ```
//!
//! The SVG is written by hand. A chart here is a few dozen elements; a plotting library draws them,
//! but gives them neither classes (so no dark mode, and no tips), nor labels that keep out of each
//! other's way, nor a description for those who cannot see it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use server_process::files::replace_all;

use crate::results::Results;

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
pub mod terminal;
mod view;

const CHART_CSS: &str = include_str!("chart.css");

/// Width of a chart in a file of its own, in pixels.
const FILE_WIDTH: f64 = 860.0;

/// Writes `report.html` and an SVG file for each chart to `dir`, which must exist. `headline.svg`
/// is the chart of the page's first sentence. The charts of an earlier report that this one does not
/// have are removed.
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
    let by_path: Vec<_> = files.iter().map(|(name, text)| (dir.join(name), text)).collect();
    replace_all(&by_path)?;
    remove_stale(dir, &files)
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

/// Removes the charts that an earlier report wrote and this one did not: beside this page they would
/// pass for its own. A picture that somebody else put there stays.
fn remove_stale(dir: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let slug = name.strip_suffix(".svg").filter(|_| !files.contains_key(name));
        if slug.map_or(Ok(false), |slug| is_chart(&path, slug))? {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether a file begins as the chart of this name does.
fn is_chart(path: &Path, slug: &str) -> io::Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let expected = format!("{}{slug}-t ", picture::FILE_START);
    let mut start = Vec::new();
    fs::File::open(path)?.take(expected.len() as u64).read_to_end(&mut start)?;
    Ok(start == expected.as_bytes())
}
