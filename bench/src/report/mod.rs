//! The report of a run: tables in the terminal, one page that loads nothing, and each chart as a
//! file.
//!
//! ```text
//! write ── page ─┬─ finding, reach   what was found, in sentences
//!                ├─ figures, costs, noise ─┬─ line_chart, dot_plot, stack_chart
//!                │                         └─ picture, scale, labels, palette
//!                └─ table
//! terminal ── columns, text_table
//! format: numbers as text   svg: a writer that escapes   view: what all ask of the results
//! ```
//!
//! maud writes the HTML. The charts have their own SVG writer. A chart is a few dozen elements, and
//! a plotting library would draw them without three things: classes (for the dark mode and the
//! tips), labels that do not cover each other, and a description for readers who do not see the
//! picture.

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
mod noise;
mod page;
mod palette;
mod picture;
mod reach;
mod scale;
mod stack_chart;
mod svg;
mod table;
pub mod terminal;
mod view;

const CHART_CSS: &str = include_str!("chart.css");

/// Width of a chart in a file, in pixels.
const FILE_WIDTH: f64 = 860.0;

/// Writes `report.html` and an SVG file for each chart to `dir`, which must exist. `headline.svg`
/// is the chart of the page's first sentence. Removes the charts of an earlier report that this
/// report does not have.
///
/// # Errors
///
/// Fails if a file cannot be written. A file of an earlier report is replaced only by a whole file,
/// and no temporary file remains.
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
    let noise_floor = noise::noise_floor(results, &palette);
    for figure in figures.iter().flatten().chain(&noise_floor) {
        files.insert(format!("{}.svg", figure.slug), svg_file(figure, results));
    }
    let by_path: Vec<_> = files.iter().map(|(name, text)| (dir.join(name), text)).collect();
    replace_all(&by_path)?;
    remove_stale(dir, &files)
}

/// Returns the chart of the headline as an SVG file: throughput against idle connections. It has
/// its own background, light or dark as the reader's system, so it is readable on any page. Without
/// the scenario in `results`, the picture says that it was not measured.
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
    Artist { results, palette, scenario }.metric().into_iter().next()
}

fn svg_file(figure: &Figure, results: &Results) -> String {
    figure.draw_file(FILE_WIDTH, &origin(results)).into_string()
}

/// The run of a picture, in words.
fn origin(results: &Results) -> String {
    let kind = if results.quick { "quick run" } else { "run" };
    let part = if results.complete { "" } else { ", stopped before its end" };
    let cpus = &results.environment.cpus;
    let (when, seed) = (format::utc(results.started_unix_s), results.seed);
    format!("{kind} of {when}{part}, {cpus} processors, loopback, seed {seed}")
}

/// Removes the charts that an earlier report wrote and this report did not: a reader would take
/// them for charts of this report. All other pictures stay.
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

/// Whether a file begins like the chart of this name.
fn is_chart(path: &Path, slug: &str) -> io::Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let expected = format!("{}{slug}-t ", picture::FILE_START);
    let mut start = Vec::new();
    fs::File::open(path)?.take(expected.len() as u64).read_to_end(&mut start)?;
    Ok(start == expected.as_bytes())
}
