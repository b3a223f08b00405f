//! The report, from results that are made up: the page, its charts, and the tables in the terminal.

// A failed unwrap is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod example;
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bench::report;
use bench::results::{Interleaving, Outcome, Reading, Results, Scenario};
use bench::statistics::Estimate;

/// A new empty directory. It stays after the test, so that a person can look at the report.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Writes the report of `results`: the name and text of every file.
fn written(results: &Results, name: &str) -> BTreeMap<String, String> {
    let dir = directory(name);
    report::write(results, &dir).unwrap();
    let files = fs::read_dir(&dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    });
    files.collect()
}

/// Whether elements are closed in the reverse order of opening, as an XML parser demands.
fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let Some((tag, text)) = tag.split_once('>') else { return false };
        if text.contains('>') && !text.contains("content") {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    open.is_empty()
}

fn assert_sound(files: &BTreeMap<String, String>) {
    assert!(files.contains_key("report.html") && files.contains_key("headline.svg"));
    for (name, text) in files {
        for bad in ["NaN", ">inf", "\"inf", "-inf", "Infinity", "<script", "None", "Some("] {
            assert!(!text.contains(bad), "{name} contains {bad}");
        }
        if name.ends_with(".svg") {
            assert!(is_well_formed(text), "{name}");
            assert!(text.contains("<title id=") && text.contains("<desc id="), "{name}");
        }
        // Names of XML namespaces are no addresses to load from.
        let loads = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!loads.contains("http:") && !loads.contains("https:"), "{name} names an address");
    }
}

#[test]
fn a_whole_run_becomes_one_page_and_a_file_for_each_chart() {
    let files = written(&example::results(), "whole");
    assert_sound(&files);
    for name in [
        "idle_herd-metric.svg",
        "idle_herd-cpu.svg",
        "idle_herd-latency.svg",
        "idle_herd-syscalls.svg",
        "idle_herd-memory.svg",
        "offered_load-offered.svg",
        "noise-floor.svg",
    ] {
        assert!(files.contains_key(name), "{name} is missing from {:?}", files.keys());
    }
}

#[test]
fn charts_of_an_earlier_report_are_removed_and_other_pictures_stay() {
    let dir = directory("stale");
    let mut results = example::results();
    report::write(&results, &dir).unwrap();
    let stale = dir.join("offered_load-offered.svg");
    let theirs = [dir.join("mine.svg"), dir.join("copy.svg"), dir.join("notes.txt")];
    fs::write(&theirs[0], "<svg/>").unwrap();
    fs::copy(&stale, &theirs[1]).unwrap();
    fs::write(&theirs[2], "").unwrap();
    results.scenarios.retain(|scenario| scenario.name == "idle_herd");
    report::write(&results, &dir).unwrap();
    assert!(!stale.exists());
    assert!(dir.join("idle_herd-metric.svg").exists() && dir.join("headline.svg").exists());
    for path in theirs {
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn identifiers_are_unique_and_every_reference_has_its_target() {
    let files = written(&example::results(), "identifiers");
    let page = &files["report.html"];
    let values = |attribute: &str| -> Vec<&str> {
        let parts = page.split(attribute).skip(1);
        parts.map(|part| part.split('"').next().unwrap()).collect()
    };
    let ids = values(" id=\"");
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[index + 1..].contains(id), "{id} twice");
    }
    for labels in values(" aria-labelledby=\"") {
        assert!(labels.split(' ').all(|id| ids.contains(&id)), "{labels}");
    }
    let hrefs = values(" href=\"");
    assert!(!hrefs.is_empty());
    for href in hrefs {
        match href.strip_prefix('#') {
            Some(id) => assert!(ids.contains(&id), "{href}"),
            None => assert!(
                href == "data:,"
                    || ["report.json", "report.csv"].contains(&href)
                    || files.contains_key(href),
                "{href}"
            ),
        }
    }
}

fn finding(results: &Results, name: &str) -> String {
    let files = written(results, name);
    let page = &files["report.html"];
    page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0.to_owned()
}

/// Gives every server but select the same throughput at every point. The intervals reach from the
/// share `spread` of a median to the inverse share.
fn flat_but_select(results: &mut Results, spread: f64) {
    let herd = results.scenarios.iter_mut().find(|one| one.name == "idle_herd").unwrap();
    for point in &mut herd.points {
        for case in &mut point.cases {
            let median = if case.server == "select" && point.x > 500.0 { 100.0 } else { 1000.0 };
            let (low, high) = (median * spread, median / spread);
            case.value = Some(Estimate { median, low, high, blocks: 80 });
        }
    }
}

#[test]
fn the_finding_follows_the_figures() {
    let mut results = example::results();
    let text = finding(&results, "finding");
    assert!(text.contains("nonblocking falls to") && text.contains("beside 10\u{a0}000"), "{text}");
    flat_but_select(&mut results, 0.95);
    let text = finding(&results, "finding-changed");
    assert!(
        text.contains("select falls to 10\u{a0}%") && !text.contains("nonblocking falls"),
        "{text}"
    );
    assert!(text.starts_with("Idle connections are nearly free with "), "{text}");
    flat_but_select(&mut results, 0.5);
    let text = finding(&results, "finding-noisy");
    assert!(text.contains("select falls to 10\u{a0}%") && !text.contains("nearly free"), "{text}");
    results.scenarios.retain(|one| one.name != "idle_herd");
    let text = finding(&results, "finding-without");
    assert!(text.starts_with("Of ") && text.contains("not distinguishable"), "{text}");
    results.scenarios.clear();
    assert_eq!(finding(&results, "finding-empty"), "Nothing in this run can be compared.");
}

fn herd(results: &mut Results) -> &mut Scenario {
    results.scenarios.iter_mut().find(|one| one.name == "idle_herd").unwrap()
}

#[test]
fn the_headline_needs_a_difference_beyond_the_control_and_cases_without_doubts() {
    // At the farthest point, the same server differs from itself by a factor of 5.73.
    let mut results = example::results();
    let wide = Estimate { median: 1.0, low: 1.0 / 5.73, high: 5.73, blocks: 80 };
    flat_but_select(&mut results, 0.95);
    herd(&mut results).points.last_mut().unwrap().noise_floor = Some(wide);
    let text = finding(&results, "headline-far");
    assert!(text.contains("select falls to 10\u{a0}% beside 900"), "{text}");
    assert!(text.contains("beside 900 of them") && !text.contains("10\u{a0}000"), "{text}");
    herd(&mut results).points.iter_mut().for_each(|point| point.noise_floor = Some(wide));
    assert!(finding(&results, "headline-noisiest").starts_with("Of "));
    let less_wide = Estimate { median: 1.0, low: 0.5, high: 2.0, blocks: 80 };
    herd(&mut results).points.iter_mut().for_each(|point| point.noise_floor = Some(less_wide));
    let text = finding(&results, "headline-noisy");
    assert!(
        text.starts_with("Idle connections cost throughput: select falls to 10\u{a0}%"),
        "{text}"
    );
    herd(&mut results).points.iter_mut().for_each(|point| point.noise_floor = None);
    assert!(finding(&results, "headline-without-control").starts_with("Of "));

    // A rate that the generator limits hides a loss.
    let mut results = example::results();
    flat_but_select(&mut results, 0.95);
    for case in herd(&mut results).points.iter_mut().flat_map(|point| &mut point.cases) {
        case.flags.push("the generator was the limit".to_owned());
    }
    assert!(finding(&results, "headline-limited").starts_with("Of "));
}

#[test]
fn points_with_other_turns_are_neither_compared_nor_joined() {
    let mut results = example::results();
    let joined = written(&results, "turns-alike");
    let pieces = |files: &BTreeMap<String, String>| {
        let chart = &files["idle_herd-metric.svg"];
        chart.matches("class=\"line\"").map(|_| 1).sum::<usize>()
    };
    let before = pieces(&joined);
    assert!(finding(&results, "turns-alike-finding").contains("beside 10\u{a0}000"));
    herd(&mut results).points.last_mut().unwrap().interleaving =
        Interleaving::Blocks { blocks: 6, run_ns: 1_000_000_000, warm_up_ns: 200_000_000 };
    let broken = written(&results, "turns-differ");
    // A last point that is alone in its piece has no line, so the number of lines stays; the lines
    // end before it.
    assert_eq!(pieces(&broken), before);
    assert!(broken["idle_herd-metric.svg"].len() < joined["idle_herd-metric.svg"].len());
    assert!(broken["report.html"].contains("A line is broken where"));
    assert!(!joined["report.html"].contains("A line is broken where"));
    assert!(!finding(&results, "turns-differ-finding").contains("10\u{a0}000"));
}

#[test]
fn nothing_is_drawn_between_two_numbers_of_processors() {
    let files = written(&example::results(), "processors");
    for name in ["ping_pong-metric-1.svg", "ping_pong-metric-2.svg", "ping_pong-cpu-2.svg"] {
        assert!(!files[name].contains("class=\"line\""), "{name}");
    }
    assert!(!files.contains_key("ping_pong-metric.svg"));
    assert!(files["ping_pong-metric-2.svg"].contains("Median latency, 2 processors"));
}

#[test]
fn the_law_of_growth_names_intervals_bounds_and_what_was_left_out() {
    let law = |results: &Results, name: &str| {
        let page = written(results, name).remove("report.html").unwrap();
        let (_, law) = page.split_once("<p class=\"law\">")?;
        Some(law.split_once(" <span").unwrap().0.to_owned())
    };
    let mut results = example::results();
    let text = law(&results, "law").unwrap();
    assert!(text.contains("by 40 (37.9 to 42.1) with nonblocking"), "{text}");
    assert!(text.contains("by at most 0.054 with") && text.contains("epoll-selector"), "{text}");
    let page = written(&results, "law-table").remove("report.html").unwrap();
    assert!(page.contains("<small>37.9 to 42.1</small>"));
    assert!(page.contains("<td>10\u{a0}000</td>") && page.contains("leverage above 0.8"));

    // An interval that includes 0 shows no growth.
    herd(&mut results).fits.iter_mut().for_each(|fit| fit.slope_low = Some(-1.0));
    let text = law(&results, "law-unsure").unwrap();
    assert!(text.contains("grows, in ") && text.contains("by at most 42.1 with"), "{text}");
    herd(&mut results)
        .fits
        .iter_mut()
        .for_each(|fit| (fit.slope_low, fit.slope_high) = (None, None));
    assert_eq!(law(&results, "law-without-intervals"), None);
    herd(&mut results).fits.clear();
    let page = written(&results, "no-fits").remove("report.html").unwrap();
    assert!(page.contains("No straight line is fitted"));
}

#[test]
fn every_conclusion_says_its_reach() {
    let page = written(&example::results(), "reach").remove("report.html").unwrap();
    let reach = |start: &str| {
        let (_, rest) = page.split_once(start).unwrap();
        rest.split_once("<span class=\"reach\"").unwrap().1.split(['>', '<']).nth(1).unwrap()
    };
    assert_eq!(reach("<h1>"), "this machine");
    assert_eq!(reach("<p class=\"law\">"), "this machine");
    assert_eq!(reach("<p class=\"answer\">Clients served"), "counted");
    assert_eq!(reach("<p class=\"answer\">Server CPU time per second"), "CPU ratio");
    assert_eq!(reach("<p class=\"answer\">Messages per second"), "this machine");
}

#[test]
fn more_clients_are_not_faster_and_less_cpu_time_is_not_either() {
    let page = written(&example::results(), "words").remove("report.html").unwrap();
    let section = |name: &str| {
        let (_, rest) = page.split_once(&format!("<section id=\"{name}\">")).unwrap();
        rest.split_once("</section>").unwrap().0
    };
    let served = section("served");
    assert!(served.contains("fewer: blocking-none (0.0156×)"), "{served}");
    assert!(served.contains("▼ fewer") && !served.contains("slower"));
    let quiet = section("quiet");
    assert!(quiet.contains("▼ more CPU") && quiet.contains("▲ less CPU"));
    assert!(!quiet.contains("slower") && !quiet.contains("faster"));
}

#[test]
fn a_page_without_a_measured_reference_names_none() {
    let mut results = example::results();
    example::fail_the_reference(&mut results);
    let page = written(&results, "no-reference").remove("report.html").unwrap();
    assert!(!page.contains("the reference</td>"));
    assert!(page.contains("failed: it did not start"));
}

#[test]
fn switches_are_the_sum_of_both_kinds_on_the_page() {
    let page = written(&example::results(), "switches").remove("report.html").unwrap();
    let (_, table) = page.split_once("ping_pong, 1 processor. The A/A").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    let (head, body) = table.split_once("<tbody>").unwrap();
    let heads: Vec<&str> = head.split("scope=\"col\">").skip(1).collect();
    let at = heads.iter().position(|head| head.starts_with("context switches")).unwrap();
    let row = body.split("<tr>").find(|row| row.contains("nonblocking</th>")).unwrap();
    let cell = row.split("<td").nth(at).unwrap();
    assert!(cell.starts_with(">0.003<"), "{cell}");
}

#[test]
fn a_control_far_from_1_is_reported_at_the_top() {
    let mut results = example::results();
    let quiet = written(&results, "quiet").remove("report.html").unwrap();
    assert!(!quiet.contains("The machine was not quiet"));
    results.scenarios[1].points[0].noise_floor =
        Some(Estimate { median: 1.0, low: 0.8, high: 1.3, blocks: 80 });
    let noisy = written(&results, "noisy").remove("report.html").unwrap();
    assert!(noisy.contains("The machine was not quiet: in active, 1, the same server"));
    assert!(noisy.contains("up to 30\u{a0}%"));
}

/// Adds the name of every field in `value` to `names`.
fn names(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                self::names(value, names);
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| self::names(value, names))
        }
        _ => {}
    }
}

#[test]
fn the_schema_document_knows_every_field_and_the_version() {
    let document = include_str!("../../report-schema.md");
    let results = example::results();
    let mut fields = BTreeSet::new();
    names(&serde_json::to_value(&results).unwrap(), &mut fields);
    let unknown = fields.iter().filter(|field| !document.contains(&format!("`{field}`")));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(document.contains(&format!("version {}", results.schema)));
}

/// Passes every number of `results` through `change`.
fn change_numbers(results: &mut Results, change: &dyn Fn(f64) -> f64) {
    let estimate = |estimate: &mut Estimate| {
        for value in [&mut estimate.median, &mut estimate.low, &mut estimate.high] {
            *value = change(*value);
        }
    };
    results.elapsed_s = change(results.elapsed_s);
    for scenario in &mut results.scenarios {
        scenario.method.elapsed_s = change(scenario.method.elapsed_s);
        for fit in &mut scenario.fits {
            for value in [&mut fit.slope, &mut fit.intercept, &mut fit.r_squared] {
                *value = change(*value);
            }
            fit.slope_low = fit.slope_low.map(change);
            fit.slope_high = fit.slope_high.map(change);
            fit.left_out.iter_mut().for_each(|x| *x = change(*x));
        }
        for point in &mut scenario.points {
            point.x = change(point.x);
            point.noise_floor.as_mut().map(estimate);
            for case in &mut point.cases {
                case.value.as_mut().map(estimate);
                case.messages_per_s = case.messages_per_s.map(change);
                case.load.offered_per_s = case.load.offered_per_s.map(change);
                case.comparisons.iter_mut().for_each(|one| estimate(&mut one.ratio));
                for latency in &mut case.latency {
                    for percentile in &mut latency.percentiles {
                        percentile.quantile = change(percentile.quantile);
                        percentile.ns = change(percentile.ns as f64) as u64;
                    }
                }
                if let Some(cost) = &mut case.cost {
                    let readings = [
                        &mut cost.server_cpu_ns_per_message,
                        &mut cost.bytes_per_connection,
                        &mut cost.peak_rss_bytes,
                        &mut cost.voluntary_switches_per_message,
                    ];
                    for reading in readings {
                        *reading = reading.clone().map(change);
                    }
                    if let Reading::Measured(calls) = &mut cost.syscalls_per_message {
                        calls
                            .iter_mut()
                            .for_each(|call| call.per_message = change(call.per_message));
                    }
                }
            }
        }
    }
}

#[test]
fn numbers_without_a_measure_are_never_printed_and_never_panic() {
    let changes: [(&str, f64); 8] = [
        ("nan", f64::NAN),
        ("infinite", f64::INFINITY),
        ("minus-infinite", f64::NEG_INFINITY),
        ("zero", 0.0),
        ("negative", -5.0),
        ("one", 1.0),
        ("huge", f64::MAX),
        ("tiny", 5e-324),
    ];
    for (name, value) in changes {
        let mut results = example::results();
        change_numbers(&mut results, &|_| value);
        assert_sound(&written(&results, name));
        // The same values among good ones.
        let mut results = example::results();
        change_numbers(&mut results, &|old| if old.to_bits() % 3 == 0 { value } else { old });
        assert_sound(&written(&results, &format!("{name}-among-others")));
    }
}

#[test]
fn with_anything_missing_the_report_is_written() {
    let mut results = example::results();
    results.scenarios.iter_mut().for_each(|scenario| scenario.points.truncate(1));
    assert_sound(&written(&results, "one-point"));

    let mut results = example::results();
    for case in
        results.scenarios.iter_mut().flat_map(|one| &mut one.points).flat_map(|p| &mut p.cases)
    {
        case.outcome = Outcome::Failed("refused".to_owned());
        (case.value, case.cost, case.messages_per_s) = (None, None, None);
        case.comparisons.clear();
        case.latency.clear();
    }
    assert_sound(&written(&results, "all-failed"));

    results.scenarios.iter_mut().flat_map(|one| &mut one.points).for_each(|point| {
        point.cases.clear();
        point.noise_floor = None;
    });
    (results.complete, results.quick) = (false, true);
    assert_sound(&written(&results, "no-cases"));

    results.scenarios.iter_mut().for_each(|scenario| scenario.points.clear());
    assert_sound(&written(&results, "no-points"));

    results.servers.clear();
    results.scenarios.clear();
    assert_sound(&written(&results, "nothing"));
}

#[test]
fn a_name_full_of_markup_stays_a_name_everywhere() {
    let mut results = example::results();
    let evil = format!("{}\u{202e}\x1b[2J", example::EVIL);
    results.command.push(evil.clone());
    results.environment.layout = evil.clone();
    for scenario in &mut results.scenarios {
        scenario.question = evil.clone();
        scenario.notes.push(evil.clone());
        scenario.axis.name = evil.clone();
        scenario.method.text = evil.clone();
        scenario.points.iter_mut().for_each(|point| point.label = evil.clone());
    }
    results.scenarios[0].name = "../<script>".to_owned();
    let files = written(&results, "markup");
    assert_sound(&files);
    let page = &files["report.html"];
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
    // A character that reverses text or steers a terminal is replaced in every file.
    assert!(page.contains("\u{fffd}\u{fffd}[2J"));
    for (name, text) in &files {
        assert!(!text.contains(['\u{202e}', '\x1b']), "{name}");
    }
}

#[test]
fn a_report_that_cannot_be_finished_leaves_the_old_one_and_nothing_else() {
    let dir = directory("failure");
    fs::write(dir.join("report.html"), "the old one").unwrap();
    // A directory cannot be replaced by a file. The other files come first and are written by then.
    fs::create_dir_all(dir.join("headline.svg/occupied")).unwrap();
    assert!(report::write(&example::results(), &dir).is_err());
    let hidden = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = hidden.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    assert_eq!(fs::read_to_string(dir.join("report.html")).unwrap(), "the old one");
    assert!(report::write(&example::results(), &dir.join("missing")).is_err());
}

#[test]
fn the_headline_is_a_picture_with_or_without_its_scenario() {
    let mut results = example::results();
    let svg = report::headline_svg(&results);
    assert!(
        is_well_formed(&svg) && svg.contains("epoll-selector") && svg.contains("class=\"card\"")
    );
    results.scenarios.clear();
    let svg = report::headline_svg(&results);
    assert!(is_well_formed(&svg) && svg.contains("was not measured"), "{svg}");
}

#[test]
fn in_chromium_nothing_is_wider_than_the_window_and_the_console_stays_empty() {
    let Some(chromium) = browser::find() else {
        // The test harness hides what a passing test prints, unless it is written past the harness.
        let _ = writeln!(std::io::stderr(), "skipped: Chromium is not installed");
        return;
    };
    let dir = directory("chromium");
    report::write(&example::results(), &dir).unwrap();
    let page = dir.join("report.html");
    let log = browser::open(&chromium, &page, &dir.join("profile")).log;
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");

    let probed = dir.join("probed.html");
    fs::write(&probed, browser::probed(&fs::read_to_string(&page).unwrap())).unwrap();
    for width in [1280, 390] {
        let frame = dir.join(format!("frame-{width}.html"));
        fs::write(&frame, browser::frame("probed.html", width)).unwrap();
        let title = browser::open(&chromium, &frame, &dir.join("profile")).title;
        let good =
            format!("in {width}: 0 too wide, 0 texts too small, 0 texts outside, 0 tables out");
        assert_eq!(title, good);
    }
}
