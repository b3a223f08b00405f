//! The findings of a run, in sentences. Each sentence is computed from the results.

use crate::results::{Case, Fit, Point, Results, Scenario};
use crate::statistics::{Estimate, Verdict};

use super::format::{Unit, digits, list};
use super::reach::Reach;
use super::view;

/// The scenario that separates the models.
pub(super) const HEADLINE_SCENARIO: &str = "idle_herd";

/// A server holds its throughput if it keeps at least this share of it.
const KEPT_MIN: f64 = 0.9;
/// A server holds its throughput only if a loss below this share is excluded. The unfavourable ends
/// of both intervals keep this share, and the A/A control differs from itself by less.
const KEPT_AT_WORST: f64 = 0.75;
/// A line that explains a smaller share of the variation is not called straight.
const LAW_R_SQUARED_MIN: f64 = 0.9;
/// A law names a server whose cost grows by at least this share of the cost at 0, over the fitted
/// axis.
const LAW_GROWTH_MIN: f64 = 0.1;
/// A sentence names at most this number of servers.
const NAMES_MAX: usize = 4;

/// A sentence about the results.
#[derive(Debug)]
pub(super) struct Finding {
    pub text: String,
    /// Where else it may be expected to hold.
    pub reach: Reach,
}

/// The scenario of the headline, if this run has it.
pub(super) fn headline_scenario(results: &Results) -> Option<&Scenario> {
    results.scenarios.iter().find(|scenario| scenario.name == HEADLINE_SCENARIO)
}

/// The finding of the run, in a sentence.
pub(super) fn headline(results: &Results) -> Finding {
    let text = herd(results).unwrap_or_else(|| tally(results));
    Finding { text, reach: Reach::ThisMachine }
}

/// The share of its throughput that a server keeps beside idle connections, where the results show
/// that it holds its throughput or loses some.
struct Kept {
    name: String,
    /// Throughput beside `idle` connections, as a share of that beside the fewest.
    share: f64,
    idle: f64,
    held: bool,
}

/// "Idle connections are nearly free with a, which keeps 98 % of its throughput beside 10 000 of
/// them; b falls to 3 % beside 900."
fn herd(results: &Results) -> Option<String> {
    let scenario = headline_scenario(results).filter(|one| one.metric.more_is_better())?;
    let axis = capitalised(&scenario.axis.name);
    let all = results.without_control().filter_map(|server| kept(scenario, &server.name));
    let (holding, mut fallen): (Vec<Kept>, Vec<Kept>) = all.partition(|kept| kept.held);
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

/// "a and b, which keep at least 98 % of their throughput beside 10 000 of them"; `None` if no
/// server holds its throughput.
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

/// Compares the throughput beside the fewest idle connections with that at a later point. It is the
/// last point at which the results show a loss or exclude one. Points with other turns, and
/// doubtful cases, are not compared.
fn kept(scenario: &Scenario, server: &str) -> Option<Kept> {
    let first = scenario.points.first()?;
    let before = positive_value(first, server)?;
    let more = scenario.points.iter().rev().filter(|point| point.x > first.x);
    more.filter(|point| point.interleaving.is_like(first.interleaving)).find_map(|point| {
        let after = positive_value(point, server)?;
        // The control at a point shows what differences chance makes there. Both points have one.
        let noise = first.noise_floor?.strays() * point.noise_floor?.strays();
        let share = after.median / before.median;
        let held = share >= KEPT_MIN
            && after.low / before.high >= KEPT_AT_WORST
            && noise <= 1.0 / KEPT_AT_WORST;
        let lost = share < KEPT_MIN && after.high < before.low && share < 1.0 / noise;
        let kept = Kept { name: server.to_owned(), share, idle: point.x, held };
        (held || lost).then_some(kept)
    })
}

/// The value of a case without doubts: a rate at which the generator was the limit hides a loss.
fn positive_value(point: &Point, server: &str) -> Option<Estimate> {
    let case = point.case(server).filter(|case| case.doubts().is_empty())?;
    case.finite_value().filter(|value| value.median > 0.0)
}

/// How the cost grows along the axis of the headline's scenario: "Server CPU per message grows in a
/// straight line, in ns per message and idle connection: by 41 (38 to 44) with nonblocking; by at
/// most 0.3 with select."
pub(super) fn law(results: &Results) -> Option<Finding> {
    let scenario = headline_scenario(results)?;
    let charted = |fit: &&Fit| results.without_control().any(|server| server.name == fit.server);
    let fits: Vec<&Fit> = scenario.fits.iter().filter(charted).collect();
    let first = fits.first()?;
    let alike = fits.iter().filter(|fit| fit.quantity == first.quantity && fit.unit == first.unit);
    let mut growing: Vec<(f64, String)> = Vec::new();
    let mut flat: Vec<(f64, String)> = Vec::new();
    for fit in alike {
        let Some((low, high)) = slope_interval(fit) else { continue };
        let fitted = scenario.points.iter().map(|point| point.x);
        let end = fitted.filter(|x| !fit.left_out.contains(x)).fold(0.0, f64::max);
        let growth = fit.slope * end / fit.intercept.abs();
        if low <= 0.0 || growth < LAW_GROWTH_MIN {
            flat.push((high, fit.server.clone()));
        } else if fit.r_squared >= LAW_R_SQUARED_MIN {
            let [slope, low, high] = [fit.slope, low, high].map(digits);
            growing.push((fit.slope, format!("{slope} ({low} to {high}) with {}", fit.server)));
        }
    }
    growing.sort_by(|a, b| b.0.total_cmp(&a.0));
    let growing: Vec<String> = growing.into_iter().map(|(_, text)| text).collect();
    let mut parts = Vec::new();
    if !growing.is_empty() {
        parts.push(format!("by {}", list(&growing)));
    }
    if let Some(most) = flat.iter().map(|(high, _)| *high).reduce(f64::max) {
        let servers: Vec<String> = flat.into_iter().map(|(_, server)| server).collect();
        parts.push(format!("by at most {} with {}", digits(most), names(&servers)));
    }
    let (what, unit) = (capitalised(&first.quantity), &first.unit);
    let grows = if growing.is_empty() { "grows" } else { "grows in a straight line" };
    (!parts.is_empty()).then(|| Finding {
        text: format!("{what} {grows}, in {unit}: {}.", parts.join("; ")),
        reach: Reach::ThisMachine,
    })
}

/// The 95 % interval of a slope, if the results have one.
pub(super) fn slope_interval(fit: &Fit) -> Option<(f64, f64)> {
    let (low, high) = (fit.slope_low?, fit.slope_high?);
    (fit.slope.is_finite() && low.is_finite() && high.is_finite()).then_some((low, high))
}

/// The number of comparisons with each verdict.
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
    let [better, worse, neither] = counts;
    match better + worse + neither {
        0 => "Nothing in this run can be compared.".to_owned(),
        all => format!(
            "Of {all} comparisons with a reference server, {better} came out better, {worse} worse \
             and {neither} not distinguishable."
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

/// The verdicts of a scenario at its most telling point, in a sentence.
pub(super) fn answer(results: &Results, scenario: &Scenario) -> Option<Finding> {
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
            // Sorting puts the largest difference first.
            groups[verdict_index(found.verdict)].push((-ratio.ln().abs(), text));
        }
    }
    let verdicts = [Verdict::Faster, Verdict::Slower, Verdict::NotDistinguishable];
    let mut parts = Vec::new();
    for (verdict, mut group) in verdicts.into_iter().zip(groups) {
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
        let each: Vec<String> = group.into_iter().map(|(_, text)| text).collect();
        if !each.is_empty() {
            parts.push(format!("{}: {}", view::verdict(scenario.metric, verdict), list(&each)));
        }
    }
    if !unranked.is_empty() {
        parts.push(format!("not ranked: {}", list(&unranked)));
    }
    let (metric, _) = view::metric(scenario.metric);
    let (metric, label) = (capitalised(metric), &point.label);
    (!parts.is_empty()).then(|| Finding {
        text: format!("{metric} at {label}, against {}: {}.", scenario.reference, parts.join("; ")),
        reach: Reach::of(scenario.metric),
    })
}

/// Rounds a share to whole per cent, and below one per cent to tenths. A sentence cannot hold more.
fn whole(share: f64) -> f64 {
    let steps = if share < 0.01 { 1000.0 } else { 100.0 };
    (share * steps).round() / steps
}

/// A list of at most [`NAMES_MAX`] entries, with the number of the others.
fn names(all: &[String]) -> String {
    if all.len() <= NAMES_MAX {
        return list(all);
    }
    let mut some = all[..NAMES_MAX - 1].to_vec();
    some.push(format!("{} more", all.len() - some.len()));
    list(&some)
}

/// `text` with a capital as its first letter.
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
    fn shares_are_whole_per_cent_and_tenths_below_one_per_cent() {
        assert_eq!(Unit::Share.format(whole(0.9749)), "97\u{a0}%");
        assert_eq!(Unit::Share.format(whole(0.00321)), "0.3\u{a0}%");
    }
}
