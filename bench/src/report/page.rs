//! The page: the finding, its chart, then the evidence, scenario by scenario.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::results::{Environment, Fit, Point, Reading, Results, Scenario};

use super::figures::{Figure, slugged};
use super::finding::{self, Finding};
use super::format::{self, Unit, digits, list};
use super::noise::{farthest_control, noise_floor};
use super::palette::Palette;
use super::reach::Reach;
use super::svg::harmless_text;
use super::{table, view};

/// The page loads nothing and runs nothing. A script in a server's name cannot start.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Widths of charts in pixels: across the page, in half of it, and on a phone.
const WHOLE: f64 = 1080.0;
const HALF: f64 = 530.0;
const PHONE: f64 = 362.0;

/// The columns of a table of fits.
const FIT_HEADS: [&str; 6] = ["server", "slope", "at 0", "R²", "points", "left out"];

/// With a control this far from 1, a notice says that the machine was not quiet.
const NOISY: f64 = 1.1;

/// The parts of the page.
pub(super) struct Page<'a> {
    pub results: &'a Results,
    pub palette: &'a Palette,
    /// The figures of each scenario, in the order of the scenarios.
    pub figures: &'a [Vec<Figure>],
    /// The chart below the headline.
    pub headline: Option<Figure>,
}

impl Page<'_> {
    /// The whole page.
    pub(super) fn write(&self) -> String {
        let scenarios = self.results.scenarios.iter().zip(self.figures);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head())
                body {
                    (self.opening())
                    main {
                        @for (scenario, figures) in scenarios {
                            (self.scenario(scenario, figures))
                        }
                        (self.noise())
                        (self.environment())
                    }
                    (footer())
                }
            }
        };
        // maud escapes what could become an element. A browser obeys other characters as well.
        harmless_text(&page.into_string())
    }

    fn opening(&self) -> Markup {
        let results = self.results;
        let headline = finding::headline(results);
        let meta = format!(
            "{} · {} servers · {} scenarios · {} · {} processors, {}",
            format::utc(results.started_unix_s),
            results.without_control().count(),
            results.scenarios.len(),
            format::seconds(results.elapsed_s),
            results.environment.cpus,
            results.environment.layout
        );
        let names = results.scenarios.iter().map(|scenario| scenario.name.as_str());
        html! {
            header {
                p.kicker { "The same TCP echo server, once per I/O model, measured side by side" }
                h1 { (headline.text) }
                p.meta { "Reach: " (reach(headline.reach)) }
                @if let Some(law) = finding::law(results) { (sentence("law", &law)) }
                p.meta { (meta) }
                @for notice in notices(results) { p.notice { (notice) } }
                @if let Some(chart) = &self.headline {
                    (figure(chart, WHOLE, "headline", "headline.svg"))
                }
                (legend())
                nav aria-label="Scenarios" {
                    ul {
                        @for name in names.chain(["noise floor", "environment"]) {
                            li { a href={ "#" (slugged(name)) } { (name) } }
                        }
                    }
                }
            }
        }
    }

    fn scenario(&self, scenario: &Scenario, figures: &[Figure]) -> Markup {
        let on_top = scenario.name == finding::HEADLINE_SCENARIO && self.headline.is_some();
        let telling = scenario.telling_point(|case| case.finite_value().is_some());
        html! {
            section id=(slugged(&scenario.name)) {
                h2 { (scenario.name) }
                p.question { (scenario.question) }
                @if let Some(answer) = finding::answer(self.results, scenario) {
                    (sentence("answer", &answer))
                }
                @for note in &scenario.notes { p.notice { (note) } }
                @if on_top { p.soft { "Its first chart is at the top of this page." } }
                div.figures {
                    @for one in figures.iter().skip(usize::from(on_top)) {
                        (figure(one, HALF, &one.slug, &format!("{}.svg", one.slug)))
                    }
                }
                (self.fits(scenario))
                @for point in &scenario.points {
                    (self.point(scenario, point, telling.is_some_and(|one| one.x == point.x)))
                }
                (method(scenario))
            }
        }
    }

    /// The table of a point. The reader has to open it, unless `open` is set.
    fn point(&self, scenario: &Scenario, point: &Point, open: bool) -> Markup {
        html! {
            details open[open] {
                summary { "Figures, " (point.label) }
                (table::of_point(self.results, self.palette, scenario, point))
            }
        }
    }

    /// How the cost of each server grows along the axis: a table for each quantity.
    fn fits(&self, scenario: &Scenario) -> Markup {
        let kinds: BTreeSet<(&str, &str)> =
            scenario.fits.iter().map(|fit| (fit.quantity.as_str(), fit.unit.as_str())).collect();
        let body = |kind| {
            html! {
                thead { tr { @for head in FIT_HEADS { th scope="col" { (head) } } } }
                tbody {
                    @for fit in &scenario.fits {
                        @if (fit.quantity.as_str(), fit.unit.as_str()) == kind {
                            (self.fit(fit, scenario))
                        }
                    }
                }
            }
        };
        let unfitted = scenario.name == finding::HEADLINE_SCENARIO && scenario.points.len() > 2;
        html! {
            @for (quantity, unit) in &kinds {
                h3 { "How " (quantity) " grows, in " (unit) }
                p.soft {
                    "The straight line through a server's points, by least squares. The range \
                     below a slope is its 95 % interval. A range that includes 0 shows no growth, \
                     and its upper end is the bound. R² is the share of the variation that the \
                     line explains. A point is left out if it would decide the slope alone \
                     (leverage above 0.8), or if the servers took turns of another length there."
                }
                (table::scrolling(&format!("{}: growth", scenario.name), &body((*quantity, *unit))))
            }
            @if kinds.is_empty() && unfitted {
                p.soft {
                    "No straight line is fitted to the cost: too few points remain without those \
                     that would decide the slope alone (leverage above 0.8)."
                }
            }
        }
    }

    fn fit(&self, fit: &Fit, scenario: &Scenario) -> Markup {
        let unit = view::axis_unit(&scenario.axis);
        let left_out: Vec<String> = fit.left_out.iter().map(|x| unit.format(*x)).collect();
        let number = |value| Unit::Number.format(value);
        html! {
            tr {
                th scope="row" { (table::key(self.palette.style(&fit.server))) (fit.server) }
                td {
                    (number(fit.slope))
                    small {
                        @match finding::slope_interval(fit) {
                            Some(interval) => { (table::range(interval, Unit::Number)) }
                            None => { "interval " (format::UNAVAILABLE) }
                        }
                    }
                }
                td { (number(fit.intercept)) }
                td { (number(fit.r_squared)) }
                td { (fit.points) }
                td { @if left_out.is_empty() { "none" } @else { (list(&left_out)) } }
            }
        }
    }

    fn noise(&self) -> Markup {
        html! {
            section id=(slugged("noise floor")) {
                h2 { "Noise floor" }
                p.question {
                    "One server took part twice, under two names. The difference between the two \
                     is chance. A verdict on this page needs a difference that exceeds it."
                }
                @match noise_floor(self.results, self.palette) {
                    Some(chart) => { (figure(&chart, WHOLE, &chart.slug, "noise-floor.svg")) }
                    None => { p { "unavailable: no control was measured, so no server is ranked" } }
                }
            }
        }
    }

    fn environment(&self) -> Markup {
        html! {
            section #environment {
                h2 { "Environment" }
                dl {
                    @for (term, value) in environment(self.results) { dt { (term) } dd { (value) } }
                }
                details {
                    summary { "Servers and their command lines" }
                    dl {
                        @for server in &self.results.servers {
                            dt { (table::key(self.palette.style(&server.name))) (server.name) }
                            dd { code { (server.command.join(" ")) } }
                        }
                    }
                }
            }
        }
    }
}

fn head() -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            link rel="icon" href="data:,";
            title { "One echo server, every I/O model, compared" }
            style {
                (PreEscaped(include_str!("page.css")))
                (PreEscaped(super::CHART_CSS))
            }
        }
    }
}

/// What the reader must know before the figures.
fn notices(results: &Results) -> Vec<String> {
    let mut notices = Vec::new();
    if !results.complete {
        notices.push(
            "This run was stopped before its end. The figures here are valid; others are missing."
                .to_owned(),
        );
    }
    if results.quick {
        let text = "This was a quick run. Its intervals are wide, so do not base a claim on it.";
        notices.push(text.to_owned());
    }
    let controls = results.scenarios.iter().filter_map(farthest_control);
    let worst = controls.max_by(|a, b| a.1.strays().total_cmp(&b.1.strays()));
    if let Some((place, floor)) = worst.filter(|(_, floor)| floor.strays() > NOISY) {
        let by = view::strayed(&floor);
        notices.push(format!(
            "The machine was not quiet: in {place}, the same server differed from itself by up to \
             {by}."
        ));
    }
    notices
}

/// A finding as a paragraph, with its reach.
fn sentence(class: &str, finding: &Finding) -> Markup {
    html! { p class=(class) { (finding.text) " " (reach(finding.reach)) } }
}

fn reach(reach: Reach) -> Markup {
    html! { span.reach title=(reach.meaning()) { (reach.label()) } }
}

/// What each reach means.
fn legend() -> Markup {
    html! {
        details {
            summary { "Where else does a finding hold? Each one says its reach" }
            dl {
                @for one in Reach::ALL { dt { (reach(one)) } dd { (one.meaning()) } }
            }
        }
    }
}

/// A chart for wide and one for narrow screens, the caption, and the link to the file.
fn figure(figure: &Figure, width: f64, id: &str, file: &str) -> Markup {
    html! {
        figure {
            @for (class, width) in [("wide", width), ("narrow", PHONE)] {
                div class=(class) { (figure.draw(width, &format!("{id}-{class}"))) }
            }
            figcaption { (figure.caption) " " a href=(file) { "SVG file" } }
        }
    }
}

fn method(scenario: &Scenario) -> Markup {
    let passes = if scenario.method.passes > 1 {
        " The bootstrap resamples passes first, so differences between passes widen an interval."
    } else {
        ""
    };
    html! {
        details {
            summary { "How it was measured" }
            p { (scenario.method.text) }
            p {
                "Figures are medians over the blocks. Intervals are bootstrap 95 % intervals. A \
                 ratio is taken within a block, so a disturbance of the whole block cancels \
                 out."
                (passes)
            }
            p {
                "The percentiles p50 to p99.9 are different: they are over the messages of all \
                 blocks together."
            }
            p { "It took " (format::seconds(scenario.method.elapsed_s)) "." }
        }
    }
}

fn environment(results: &Results) -> Vec<(&'static str, String)> {
    let Environment {
        kernel,
        cpu_model,
        cpus,
        memory_bytes,
        descriptor_limit,
        somaxconn,
        congestion_control,
        layout,
        load_before,
        load_after,
        steal_share,
        softirq_share,
        rustc,
        version,
        commit,
    } = &results.environment;
    let share = |reading: &Reading<f64>| written(reading, |share| Unit::Share.format(*share));
    vec![
        ("started", format::utc(results.started_unix_s)),
        ("took", format::seconds(results.elapsed_s)),
        ("command", results.command.join(" ")),
        ("seed", results.seed.to_string()),
        ("kernel", kernel.to_string()),
        ("processor", cpu_model.to_string()),
        ("processors usable", cpus.to_string()),
        ("layout", layout.clone()),
        ("memory", written(memory_bytes, |bytes| Unit::Bytes.format(*bytes as f64))),
        ("descriptors per process", written(descriptor_limit, |n| Unit::Count.format(*n as f64))),
        ("longest accept queue", written(somaxconn, |n| Unit::Count.format(*n as f64))),
        ("congestion control", congestion_control.to_string()),
        ("load average before", written(load_before, |load| digits(*load))),
        ("load average after", written(load_after, |load| digits(*load))),
        ("steal", share(steal_share)),
        ("soft interrupts", share(softirq_share)),
        ("compiler", rustc.to_string()),
        ("version", version.clone()),
        ("commit", commit.to_string()),
    ]
}

/// A reading as text, or the reason why there is none.
fn written<T>(reading: &Reading<T>, text: impl Fn(&T) -> String) -> String {
    match reading {
        Reading::Measured(value) => text(value),
        Reading::Unavailable { unavailable } => format!("unavailable: {unavailable}"),
    }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "The figures of this page: "
                a href="report.json" { "report.json" }
                " and "
                a href="report.csv" { "report.csv" }
                ". All traffic went over the loopback interface. The figures show what a model \
                 costs on this machine. They show nothing about real networks."
            }
        }
    }
}
