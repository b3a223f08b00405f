//! What was found, in sentences. Each is computed from the results; none is known beforehand.

use crate::results::{Case, Fit, Point, Results, Scenario};
use crate::statistics::{Estimate, Verdict};

use super::format::{Unit, digits, list};
use super::view;

/// The scenario that separates the models.
pub(super) const HEADLINE_SCENARIO: &str = "idle_herd";

/// A server that keeps this share of its throughput, or more, is said to hold it.
const KEPT_MIN: f64 = 0.9;
/// The least that it may have kept at the unlucky ends of both intervals.
const KEPT_AT_WORST: f64 = 0.75;
/// A line that explains less of the variation is no law.
const LAW_R_SQUARED_MIN: f64 = 0.9;
/// Growth over the whole axis that is worth a word, as a share of the value at 0.
const LAW_GROWTH_MIN: f64 = 0.1;
/// Servers named in one breath.
const NAMES_MAX: usize = 4;

/// The scenario of the headline, if this run has it.
pub(super) fn headline_scenario(results: &Results) -> Option<&Scenario> {
    results.scenarios.iter().find(|scenario| scenario.name == HEADLINE_SCENARIO)
}

/// The finding of the run, in a sentence.
pub(super) fn headline(results: &Results) -> String {
    herd(results).unwrap_or_else(|| tally(results))
}

/// What one server keeps of its throughput when idle connections are added.
struct Kept {
    name: String,
    /// Its value with the most idle connections it was measured with, as a share of that with the
    /// fewest.
    share: f64,
    /// How many those were.
    idle: f64,
    /// Whether it kept about all, and the intervals bear that out.
    surely_held: bool,
    /// Whether it lost some, and the intervals bear that out.
    surely_lost: bool,
}

/// "Idle connections are nearly free with a, which keeps 98 % of its throughput beside 10 000 of
/// them; b falls to 3 % beside 900."
fn herd(results: &Results) -> Option<String> {
    let scenario = headline_scenario(results).filter(|one| one.metric.more_is_better())?;
    let axis = capitalised(&scenario.axis.name);
    let all = results.without_control().filter_map(|server| kept(scenario, &server.name));
    let (holding, less): (Vec<Kept>, Vec<Kept>) = all.partition(|kept| kept.surely_held);
    // What is neither held nor lost for sure, the sentence leaves out.
    let mut fallen: Vec<Kept> = less.into_iter().filter(|kept| kept.surely_lost).collect();
    fallen.sort_by(|a, b| a.share.total_cmp(&b.share));
    let falls: Vec<String> = fallen
        .iter()
        .map(|kept| {
            let share = Unit::Share.format(whole(kept.share));
            format!("{} to {share} beside {}", kept.name, Unit::Count.format(kept.idle))
        })
        .collect();
    let falls = names(&falls).replacen(" to ", " falls to ", 1);
    match (holds(&holding), fallen.is_empty()) {
        (None, true) => None,
        (None, false) => Some(format!("{axis} cost throughput: {falls}.")),
        (Some(holds), true) => Some(format!("{axis} are nearly free with {holds}.")),
        (Some(holds), false) => Some(format!("{axis} are nearly free with {holds}; {falls}.")),
    }
}

/// "a and b, which keep at least 98 % of their throughput beside 10 000 of them"; `None` without
/// any.
fn holds(holding: &[Kept]) -> Option<String> {
    let share = whole(holding.iter().map(|kept| kept.share).reduce(f64::min)?);
    let (keep, least, its) =
        if holding.len() == 1 { ("keeps", "", "its") } else { ("keep", "at least ", "their") };
    let part = if share >= 1.0 {
        "all".to_owned()
    } else {
        format!("{least}{}", Unit::Share.format(share))
    };
    let idle = holding.iter().map(|kept| kept.idle).fold(f64::INFINITY, f64::min);
    let alike = holding.iter().all(|kept| kept.idle == idle);
    Some(format!(
        "{}, which {keep} {part} of {its} throughput beside {}{} of them",
        names(&holding.iter().map(|kept| kept.name.clone()).collect::<Vec<_>>()),
        Unit::Count.format(idle),
        if alike { "" } else { " or more" },
    ))
}

/// The law that costs follow along the axis of the headline's scenario, where they follow one: "Server
/// CPU per message grows by 41 ns per message and idle connection with nonblocking (R² 0.999)."
pub(super) fn law(results: &Results) -> Option<String> {
    let scenario = headline_scenario(results)?;
    let reach = scenario.points.last()?.x;
    let grows = |fit: &&Fit| {
        let charted = results.without_control().any(|server| server.name == fit.server);
        let growth = fit.slope * reach / fit.intercept.abs();
        charted && fit.r_squared >= LAW_R_SQUARED_MIN && growth >= LAW_GROWTH_MIN
    };
    let mut fits: Vec<&Fit> = scenario.fits.iter().filter(grows).collect();
    fits.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    let first = fits.first()?;
    let alike = fits.iter().filter(|fit| fit.quantity == first.quantity && fit.unit == first.unit);
    let each: Vec<String> = alike
        .map(|fit| {
            let [slope, r_squared] = [fit.slope, fit.r_squared].map(digits);
            format!("{slope} with {} (R² {r_squared})", fit.server)
        })
        .collect();
    let (what, unit) = (capitalised(&first.quantity), &first.unit);
    Some(format!("{what} grows in a straight line, in {unit}: {}.", list(&each)))
}

fn kept(scenario: &Scenario, server: &str) -> Option<Kept> {
    let measured = |point: &Point| {
        let value = point.case(server)?.value()?;
        (value.median > 0.0).then_some((point.x, value))
    };
    let (first_x, first): (f64, Estimate) = measured(scenario.points.first()?)?;
    let (idle, last) = scenario.points.iter().rev().find_map(measured)?;
    let share = last.median / first.median;
    let surely_held = share >= KEPT_MIN && last.low / first.high >= KEPT_AT_WORST;
    let surely_lost = share < KEPT_MIN && last.high < first.low;
    let name = server.to_owned();
    (idle > first_x).then_some(Kept { name, share, idle, surely_held, surely_lost })
}

/// How many comparisons came out how.
fn tally(results: &Results) -> String {
    let mut counts = [0usize; 3];
    for scenario in &results.scenarios {
        for point in &scenario.points {
            for server in results.without_control() {
                let case = point.case(&server.name);
                let found = case.and_then(|case| case.comparison(scenario.metric));
                let Some(found) = found.filter(|found| found.unranked.is_none()) else { continue };
                counts[verdict_index(found.verdict)] += 1;
            }
        }
    }
    let [faster, slower, neither] = counts;
    match faster + slower + neither {
        0 => "Nothing in this run can be compared.".to_owned(),
        all => format!(
            "Of {all} comparisons with a reference server, {faster} came out faster, {slower} \
             slower and {neither} not distinguishable."
        ),
    }
}

fn verdict_index(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Faster => 0,
        Verdict::Slower => 1,
        Verdict::NotDistinguishable => 2,
    }
}

/// What a scenario found at its most telling point, in a sentence.
pub(super) fn answer(results: &Results, scenario: &Scenario) -> Option<String> {
    let compared = |case: &Case| case.comparison(scenario.metric).is_some();
    let point = scenario.telling_point(compared)?;
    let mut groups: [Vec<(f64, String)>; 3] = Default::default();
    let mut unranked = Vec::new();
    for server in results.without_control() {
        let Some(case) = point.case(&server.name) else { continue };
        let Some(found) = case.comparison(scenario.metric) else { continue };
        let ratio = found.ratio.median;
        if found.unranked.is_some() {
            unranked.push(server.name.clone());
        } else if found.verdict == Verdict::NotDistinguishable {
            groups[2].push((0.0, server.name.clone()));
        } else {
            let text = format!("{} ({})", server.name, Unit::Ratio.format(ratio));
            groups[verdict_index(found.verdict)].push((-ratio.ln().abs(), text)); // farthest first
        }
    }
    let mut parts = Vec::new();
    for (heading, mut group) in ["faster", "slower", "not distinguishable"].iter().zip(groups) {
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
        let each: Vec<String> = group.into_iter().map(|(_, text)| text).collect();
        if !each.is_empty() {
            parts.push(format!("{heading}: {}", list(&each)));
        }
    }
    if !unranked.is_empty() {
        parts.push(format!("not ranked: {}", list(&unranked)));
    }
    let (metric, _) = view::metric(scenario.metric);
    (!parts.is_empty()).then(|| {
        format!(
            "{} at {}, against {}: {}.",
            capitalised(metric),
            point.label,
            scenario.reference,
            parts.join("; ")
        )
    })
}

/// A share to whole per cent, below one to tenths: more would claim more than a sentence can hold.
fn whole(share: f64) -> f64 {
    let steps = if share < 0.01 { 1000.0 } else { 100.0 };
    (share * steps).round() / steps
}

/// A list that stops after [`NAMES_MAX`].
fn names(all: &[String]) -> String {
    if all.len() <= NAMES_MAX {
        return list(all);
    }
    let mut some = all[..NAMES_MAX - 1].to_vec();
    some.push(format!("{} more", all.len() - some.len()));
    list(&some)
}

/// `text` with its first letter as a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_names_a_few_and_counts_the_rest() {
        let all: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(names(&all), "a, b, c and 2 more");
        assert_eq!(names(&all[..4]), "a, b, c and d");
    }

    #[test]
    fn shares_are_whole_per_cent_unless_that_would_be_none() {
        assert_eq!(Unit::Share.format(whole(0.9749)), "97 %");
        assert_eq!(Unit::Share.format(whole(0.00321)), "0.3 %");
    }
}
