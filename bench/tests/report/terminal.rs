//! The tables in the terminal.

use anstream::adapter::strip_str;
use bench::report::terminal;
use bench::results::{CaseCost, Outcome, Reading, Results, Scenario};
use unicode_width::UnicodeWidthStr;

use crate::example;

fn scenario<'a>(results: &'a mut Results, name: &str) -> &'a mut Scenario {
    results.scenarios.iter_mut().find(|scenario| scenario.name == name).unwrap()
}

/// Changes the cost of every case of `server`.
fn change_costs(scenario: &mut Scenario, server: &str, change: impl Fn(&mut CaseCost)) {
    let cases = scenario.points.iter_mut().flat_map(|point| &mut point.cases);
    let cases = cases.filter(|case| case.server == server);
    cases.filter_map(|case| case.cost.as_mut()).for_each(change);
}

/// The text on lines of `room` columns, without colours.
fn plain(scenario: &Scenario, room: Option<usize>) -> String {
    strip_str(&terminal::text(scenario, room)).to_string()
}

/// The first row of a server, as words.
fn row<'a>(text: &'a str, server: &str) -> Vec<&'a str> {
    let words = |line: &'a str| line.split_whitespace().collect::<Vec<_>>();
    text.lines().map(words).find(|words| words.first() == Some(&server)).unwrap()
}

#[test]
fn a_failed_server_is_not_called_the_reference_and_has_no_ratio() {
    let mut results = example::results();
    let ping_pong = scenario(&mut results, "ping_pong");
    for case in ping_pong.points.iter_mut().flat_map(|point| &mut point.cases) {
        if case.server == "select" {
            case.outcome = Outcome::Failed("it did not start".to_owned());
            (case.value, case.cost, case.messages_per_s) = (None, None, None);
            case.comparisons.clear();
            case.latency.clear();
        }
    }
    let text = plain(ping_pong, None);
    assert_eq!(row(&text, "select"), ["select", "failed"]);
    assert!(row(&text, "epoll-selector").contains(&"reference"));
    assert!(text.contains("\n! select: failed: it did not start\n"), "{text}");
}

#[test]
fn without_a_measured_reference_no_server_is_called_so() {
    let mut results = example::results();
    example::fail_the_reference(&mut results);
    let text = plain(scenario(&mut results, "ping_pong"), None);
    assert!(!text.contains("reference"), "{text}");
    assert!(row(&text, "select").ends_with(&["0.90+0.80"]) && text.contains("no ratio"));
    assert!(text.contains("no ratios, since epoll-selector was not measured"), "{text}");
    assert!(text.contains("A/A control: unavailable, so no server is ranked"), "{text}");
}

#[test]
fn fewer_clients_are_called_fewer() {
    let mut results = example::results();
    let text = plain(scenario(&mut results, "served"), None);
    assert!(row(&text, "blocking-none").contains(&"fewer"), "{text}");
    assert!(!text.contains("slower"), "{text}");
}

#[test]
fn switches_are_the_sum_of_both_kinds_and_a_small_number_is_not_0() {
    let mut results = example::results();
    let ping_pong = scenario(&mut results, "ping_pong");
    change_costs(ping_pong, "select", |cost| {
        cost.voluntary_switches_per_message = Reading::Measured(0.25);
        cost.involuntary_switches_per_message = Reading::Measured(0.077);
    });
    let text = plain(ping_pong, None);
    assert!(row(&text, "select").contains(&"0.327"), "{text}");
    // It spins: it never sleeps, and the kernel preempts it.
    assert!(row(&text, "nonblocking").contains(&"0.003"), "{text}");
}

#[test]
fn what_was_not_measured_is_called_unavailable() {
    let mut results = example::results();
    let active = scenario(&mut results, "active");
    let reading = || Reading::unavailable("no such counter");
    change_costs(active, "select", |cost| cost.involuntary_switches_per_message = reading());
    let text = plain(active, None);
    let words = row(&text, "select");
    assert_eq!(words.iter().filter(|word| **word == "unavailable").count(), 1, "{words:?}");
    // A column of nothing else is named once.
    let servers: Vec<String> = active.points[0].cases.iter().map(|c| c.server.clone()).collect();
    for server in servers {
        change_costs(active, &server, |cost| cost.server_cpu_ns_per_message = reading());
    }
    let text = plain(active, None);
    assert!(text.contains("\nunavailable: CPU/msg and memory/conn\n"), "{text}");
}

#[test]
fn a_terminal_of_80_columns_gets_no_longer_line_and_the_heads_of_the_hidden_columns() {
    for scenario in &example::results().scenarios {
        let text = plain(scenario, Some(80));
        for line in text.lines() {
            assert!(line.width() <= 80, "{} columns: {line}", line.width());
        }
        assert!(text.contains("verdict") && text.contains("no room for "), "{text}");
        assert!(text.contains("report.html has all columns"), "{text}");
        let all = plain(scenario, None);
        assert!(all.contains("cores S+C") && !all.contains("no room for"), "{all}");
    }
}

#[test]
fn a_name_cannot_steer_the_terminal_and_colours_can_be_stripped() {
    let mut results = example::results();
    let active = scenario(&mut results, "active");
    for case in active.points.iter_mut().flat_map(|point| &mut point.cases) {
        case.server = case.server.replace("alert", "\x1b[2J");
    }
    let text = terminal::text(active, None);
    assert!(text.contains("\x1b[1m") && !text.contains("\x1b[2J"));
    assert!(!plain(active, None).contains('\x1b'));
}

#[test]
fn a_slope_has_its_interval_or_is_a_bound() {
    let mut results = example::results();
    let text = plain(scenario(&mut results, "idle_herd"), None);
    let slope = "Server CPU per message of nonblocking grows by 40 (37.9 to 42.1) ns per message \
                 and idle connection: 4 points, without 10 000, R² 0.998\n";
    assert!(text.contains(slope), "{text}");
    assert!(text.contains("of epoll-selector grows by at most 0.054 ns"), "{text}");
}
