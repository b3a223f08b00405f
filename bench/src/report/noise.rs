//! The noise floor: how much a server differs from itself.

use crate::results::{Results, Scenario};
use crate::statistics::Estimate;

use super::dot_plot::{DotPlot, Row};
use super::figures::{Drawing, Figure};
use super::format::Unit;
use super::palette::Palette;
use super::scale::Scale;
use super::view;

/// The A/A control of each scenario, at the point where it differs most from 1.
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
        // A ratio is never below 0.
        scale: Scale::Linear { low: (1.0 - far).max(0.0), high: 1.0 + far },
        rows,
        baseline: Some(1.0),
    };
    let caption =
        "For each scenario, the point at which the control differs most from 1.".to_owned();
    let (slug, drawing) = ("noise-floor".to_owned(), Drawing::Dots(chart));
    Some(Figure { slug, scenario: String::new(), caption, drawing })
}

/// The point at which the control of a scenario differs most from 1, and the control there.
pub(super) fn farthest_control(scenario: &Scenario) -> Option<(String, Estimate)> {
    let floors = scenario.points.iter().filter_map(|point| {
        let floor = point.noise_floor.filter(|floor| floor.strays().is_finite())?;
        Some((format!("{}, {}", scenario.name, point.label), floor))
    });
    floors.max_by(|a, b| a.1.strays().total_cmp(&b.1.strays()))
}
