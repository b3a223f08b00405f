//! The page: the finding, its curve, then scenario by scenario the evidence.

use crate::cost::Reading;
use crate::results::{Environment, Point, Results, Scenario};

use super::figures::{Figure, farthest_control, noise_floor, slugged};
use super::finding;
use super::format::{self, Unit, digits};
use super::markup::{Attributes, Markup};
use super::palette::Palette;
use super::{table, view};

/// Nothing is loaded and nothing is run: whatever a name may smuggle in, there is no script to
/// start.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Widths that charts are drawn for: across the page, in half of it, and on a phone.
const WHOLE: f64 = 1080.0;
const HALF: f64 = 530.0;
const PHONE: f64 = 362.0;

/// Columns of a table of fits, and how they are set.
const FIT_HEADS: [(&str, &str); 7] = [
    ("server", ""),
    ("slope", ""),
    ("unit", "text"),
    ("at 0", ""),
    ("R²", ""),
    ("points", ""),
    ("what", "text"),
];

/// A control that strays farther than this says that the machine was not quiet.
const NOISY: f64 = 1.1;

/// What the page is made of.
pub(super) struct Page<'a> {
    pub results: &'a Results,
    pub palette: &'a Palette,
    /// The figures of each scenario, in the order of the scenarios.
    pub figures: &'a [Vec<Figure>],
    /// The curve to open with.
    pub headline: Option<Figure>,
}

impl Page<'_> {
    /// The whole page.
    pub(super) fn write(&self) -> String {
        let mut page = Markup::default();
        page.literal("<!DOCTYPE html>\n");
        page.element("html", &[("lang", &"en")], |page| {
            page.element("head", &[], |page| self.write_head(page));
            page.element("body", &[], |page| {
                page.element("header", &[], |page| self.write_opening(page));
                page.element("main", &[], |page| {
                    for (scenario, figures) in self.results.scenarios.iter().zip(self.figures) {
                        self.write_scenario(page, scenario, figures);
                    }
                    self.write_noise(page);
                    self.write_environment(page);
                });
                page.element("footer", &[], write_footer);
            });
        });
        page.into_string()
    }

    fn write_head(&self, page: &mut Markup) {
        page.leaf("meta", &[("charset", &"utf-8")]);
        let policy: Attributes =
            &[("http-equiv", &"Content-Security-Policy"), ("content", &POLICY)];
        page.leaf("meta", policy);
        page.leaf(
            "meta",
            &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")],
        );
        page.leaf("link", &[("rel", &"icon"), ("href", &"data:,")]);
        page.text_element("title", &[], "One echo server, every I/O model, compared");
        page.element("style", &[], |page| {
            page.literal(include_str!("page.css"));
            page.literal(super::CHART_CSS);
        });
    }

    fn write_opening(&self, page: &mut Markup) {
        let results = self.results;
        let kicker = "The same TCP echo server, once per I/O model, measured side by side";
        page.text_element("p", &[("class", &"kicker")], kicker);
        page.text_element("h1", &[], finding::headline(results));
        if let Some(law) = finding::law(results) {
            page.text_element("p", &[("class", &"law")], law);
        }
        let servers = results.without_control().count();
        let meta = format!(
            "{} · {servers} servers · {} scenarios · {} · {} processors, {}",
            format::utc(results.started_unix_s),
            results.scenarios.len(),
            format::seconds(results.elapsed_s),
            results.environment.cpus,
            results.environment.layout
        );
        page.text_element("p", &[("class", &"meta")], meta);
        for notice in notices(results) {
            page.text_element("p", &[("class", &"notice")], notice);
        }
        if let Some(figure) = &self.headline {
            write_figure(page, figure, WHOLE, "headline", "headline.svg");
        }
        page.element("nav", &[("aria-label", &"Scenarios")], |page| {
            page.element("ul", &[], |page| {
                let names = results.scenarios.iter().map(|scenario| scenario.name.as_str());
                for name in names.chain(["noise floor", "environment"]) {
                    page.element("li", &[], |page| {
                        page.text_element("a", &[("href", &format!("#{}", slugged(name)))], name);
                    });
                }
            });
        });
    }

    fn write_scenario(&self, page: &mut Markup, scenario: &Scenario, figures: &[Figure]) {
        let results = self.results;
        page.element("section", &[("id", &slugged(&scenario.name))], |page| {
            page.text_element("h2", &[], &scenario.name);
            page.text_element("p", &[("class", &"question")], &scenario.question);
            if let Some(answer) = finding::answer(results, scenario) {
                page.text_element("p", &[("class", &"answer")], answer);
            }
            for note in &scenario.notes {
                page.text_element("p", &[("class", &"notice")], note);
            }
            let on_top = scenario.name == finding::HEADLINE_SCENARIO && self.headline.is_some();
            if on_top {
                let text = "Its first chart is at the top of this page.";
                page.text_element("p", &[("class", &"soft")], text);
            }
            page.element("div", &[("class", &"figures")], |page| {
                for figure in figures.iter().skip(usize::from(on_top)) {
                    write_figure(page, figure, HALF, &figure.slug, &format!("{}.svg", figure.slug));
                }
            });
            self.write_fits(page, scenario);
            let telling = scenario.telling_point(|case| case.value().is_some());
            for point in &scenario.points {
                let open = telling.is_some_and(|telling| telling.x == point.x);
                self.write_point(page, scenario, point, open);
            }
            write_method(page, scenario);
        });
    }

    /// The table of a point, behind its label unless `open`.
    fn write_point(&self, page: &mut Markup, scenario: &Scenario, point: &Point, open: bool) {
        let attributes: Attributes = if open { &[("open", &"")] } else { &[] };
        page.element("details", attributes, |page| {
            page.text_element("summary", &[], format!("Figures, {}", point.label));
            table::write(page, self.results, self.palette, scenario, point);
        });
    }

    /// The law that each server's cost follows along the axis.
    fn write_fits(&self, page: &mut Markup, scenario: &Scenario) {
        if scenario.fits.is_empty() {
            return;
        }
        page.text_element("h3", &[], "How the cost grows");
        let label = format!("{}: growth", scenario.name);
        let scroll: Attributes =
            &[("class", &"scroll"), ("role", &"region"), ("tabindex", &0), ("aria-label", &label)];
        page.element("div", scroll, |page| {
            page.element("table", &[], |page| {
                let caption = "The straight line through a server's points. R² is the share of \
                               the variation that the line explains; it means nothing where the \
                               slope is about 0.";
                page.text_element("caption", &[], caption);
                page.element("thead", &[], |page| {
                    page.element("tr", &[], |page| {
                        for (head, class) in FIT_HEADS {
                            let attributes: Attributes = &[("scope", &"col"), ("class", &class)];
                            page.text_element("th", attributes, head);
                        }
                    });
                });
                page.element("tbody", &[], |page| {
                    for fit in &scenario.fits {
                        page.element("tr", &[], |page| {
                            page.element("th", &[("scope", &"row")], |page| {
                                table::write_key(page, self.palette.style(&fit.server));
                                page.text(&fit.server);
                            });
                            let number = |value| Unit::Number.format(value);
                            page.text_element("td", &[], number(fit.slope));
                            page.text_element("td", &[("class", &"text")], &fit.unit);
                            page.text_element("td", &[], number(fit.intercept));
                            page.text_element("td", &[], number(fit.r_squared));
                            page.text_element("td", &[], fit.points);
                            page.text_element("td", &[("class", &"text")], &fit.quantity);
                        });
                    }
                });
            });
        });
    }

    fn write_noise(&self, page: &mut Markup) {
        page.element("section", &[("id", &slugged("noise floor"))], |page| {
            page.text_element("h2", &[], "Noise floor");
            let text = "One server took part twice, under two names. What tells these two apart \
                        is chance, so no difference smaller than theirs is claimed anywhere on \
                        this page.";
            page.text_element("p", &[("class", &"question")], text);
            match noise_floor(self.results, self.palette) {
                Some(figure) => {
                    write_figure(page, &figure, WHOLE, &figure.slug, "noise-floor.svg");
                }
                None => {
                    let text = "unavailable: no control was measured, so nothing is ranked";
                    page.text_element("p", &[], text);
                }
            }
        });
    }

    fn write_environment(&self, page: &mut Markup) {
        page.element("section", &[("id", &"environment")], |page| {
            page.text_element("h2", &[], "Environment");
            page.element("dl", &[], |page| {
                for (term, value) in environment(self.results) {
                    page.text_element("dt", &[], term);
                    page.text_element("dd", &[], value);
                }
            });
            page.element("details", &[], |page| {
                page.text_element("summary", &[], "Servers and their command lines");
                page.element("dl", &[], |page| {
                    for server in &self.results.servers {
                        page.element("dt", &[], |page| {
                            table::write_key(page, self.palette.style(&server.name));
                            page.text(&server.name);
                        });
                        page.element("dd", &[], |page| {
                            page.text_element("code", &[], server.command.join(" "));
                        });
                    }
                });
            });
        });
    }
}

/// What a reader must know before believing anything.
fn notices(results: &Results) -> Vec<String> {
    let mut notices = Vec::new();
    if !results.complete {
        notices.push(
            "This run was stopped before its end: what is here is valid, but some is missing.",
        );
    }
    if results.quick {
        notices
            .push("This was a quick run: its intervals are wide, and it is no basis for a claim.");
    }
    let mut notices: Vec<String> = notices.into_iter().map(str::to_owned).collect();
    let strays = results.scenarios.iter().filter_map(farthest_control);
    let worst = strays.max_by(|a, b| a.1.strays().total_cmp(&b.1.strays()));
    if let Some((place, floor)) = worst.filter(|(_, floor)| floor.strays() > NOISY) {
        let by = view::strayed(&floor);
        notices.push(format!(
            "The machine was not quiet: in {place}, the same server differed from itself by up to {by}."
        ));
    }
    notices
}

/// A chart for wide and one for narrow screens, the caption, and the way to the file.
fn write_figure(page: &mut Markup, figure: &Figure, width: f64, id: &str, file: &str) {
    page.element("figure", &[], |page| {
        for (class, width) in [("wide", width), ("narrow", PHONE)] {
            let drawing = figure.draw(width, &format!("{id}-{class}"));
            page.element("div", &[("class", &class)], |page| page.append(&drawing));
        }
        page.element("figcaption", &[], |page| {
            page.text(&figure.caption);
            page.text(" ");
            page.text_element("a", &[("href", &file)], "SVG file");
        });
    });
}

fn write_method(page: &mut Markup, scenario: &Scenario) {
    page.element("details", &[], |page| {
        page.text_element("summary", &[], "How it was measured");
        page.text_element("p", &[], &scenario.method.text);
        let mut statistics = "Figures are medians over the blocks with bootstrap 95 % intervals; \
                              ratios are taken within a block, so that what disturbs a whole \
                              block cancels out."
            .to_owned();
        if scenario.method.passes > 1 {
            statistics += " What differed between the passes widens the intervals.";
        }
        page.text_element("p", &[], statistics);
        let took = format!("It took {}.", format::seconds(scenario.method.elapsed_s));
        page.text_element("p", &[], took);
    });
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
        ("kernel", kernel.clone()),
        ("processor", cpu_model.to_string()),
        ("processors usable", cpus.to_string()),
        ("layout", layout.clone()),
        ("memory", written(memory_bytes, |bytes| Unit::Bytes.format(*bytes as f64))),
        ("descriptors per process", Unit::Count.format(*descriptor_limit as f64)),
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

/// A reading in words; without one, the reason.
fn written<T>(reading: &Reading<T>, text: impl Fn(&T) -> String) -> String {
    match reading {
        Reading::Measured(value) => text(value),
        Reading::Unavailable { unavailable } => format!("unavailable: {unavailable}"),
    }
}

fn write_footer(page: &mut Markup) {
    page.element("p", &[], |page| {
        page.text("The figures behind this page: ");
        page.text_element("a", &[("href", &"report.json")], "report.json");
        page.text(" and ");
        page.text_element("a", &[("href", &"report.csv")], "report.csv");
        page.text(
            ". All of it was measured over loopback: it says what a model costs on this machine, \
             and nothing about real networks.",
        );
    });
}
