//! The JSON output is what `loadgen.schema.json` says, and nothing else.
//!
//! The check knows the few keywords of JSON Schema that the file uses. It is stricter than the
//! standard: an undocumented property is an error.

use std::fs;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};

use crate::cli::{json, loadgen};
use crate::server::{Flaw, Server};

/// The schema of one form, "report" or "merge".
struct Schema {
    root: Value,
    form: &'static str,
}

impl Schema {
    fn of(form: &'static str) -> Schema {
        let text = include_str!("../../loadgen.schema.json");
        Schema { root: serde_json::from_str(text).unwrap(), form }
    }

    /// What is wrong with this value; empty if it has the form.
    fn check(&self, value: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.visit(&self.root["$defs"][self.form], value, self.form, &mut wrong);
        wrong
    }

    fn visit(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let number = value.as_f64();
        for (keyword, expected) in schema.as_object().unwrap() {
            let fits = match keyword.as_str() {
                "description" => expected.as_str().unwrap().ends_with('.'),
                "type" => match expected {
                    Value::Array(types) => types.iter().any(|name| is_of(value, name)),
                    name => is_of(value, name),
                },
                "const" => value == expected,
                "enum" => expected.as_array().unwrap().contains(value),
                "minimum" => number.is_none_or(|number| number >= expected.as_f64().unwrap()),
                "maximum" => number.is_none_or(|number| number <= expected.as_f64().unwrap()),
                "$ref" => {
                    let name = expected.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.visit(&self.root["$defs"][name], value, at, wrong);
                    true
                }
                // A form, or null.
                "anyOf" => {
                    self.visit(&expected[usize::from(value.is_null())], value, at, wrong);
                    true
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.visit(expected, item, &format!("{at}[{index}]"), wrong);
                    }
                    true
                }
                "properties" => {
                    if let Some(object) = value.as_object() {
                        self.visit_properties(schema, object, at, wrong);
                    }
                    true
                }
                "required" => expected.as_array().unwrap().iter().all(|name| {
                    value.as_object().is_none_or(|it| it.contains_key(name.as_str().unwrap()))
                }),
                "patternProperties" => true, // With "properties".
                unknown => panic!("this check does not know {unknown}, at {at}"),
            };
            if !fits {
                wrong.push(format!("{at}: {value} against {keyword} {expected}"));
            }
        }
    }

    fn visit_properties(
        &self,
        schema: &Value,
        object: &Map<String, Value>,
        at: &str,
        wrong: &mut Vec<String>,
    ) {
        for (name, value) in object {
            let patterns = schema["patternProperties"].as_object().into_iter().flatten();
            let by_pattern = patterns
                .filter(|(pattern, _)| Regex::new(pattern).unwrap().is_match(name))
                .map(|(_, schema)| schema);
            match schema["properties"].get(name).into_iter().chain(by_pattern).next() {
                Some(schema) => self.visit(schema, value, &format!("{at}.{name}"), wrong),
                None => wrong.push(format!("{at}.{name} is not documented")),
            }
        }
    }
}

fn is_of(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        unknown => panic!("unknown type {unknown}"),
    }
}

#[test]
fn every_report_has_the_documented_form() {
    let server = Server::echo();
    let flawed = Server::with_flaw(|echoed, bytes| {
        bytes[5] ^= u8::from(echoed == 640);
        Flaw::None
    });
    let slow = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(20)));
    let [good, flawed, slow] = [&server, &flawed, &slow].map(|server| server.addr.to_string());
    let schema = Schema::of("report");
    for arguments in [
        vec![good.as_str(), "-n", "100"],
        vec![&good, "-n", "100", "-R", "2k", "--percentiles", "50,99.99"],
        vec![&good, "-n", "100", "--churn", "--half-close", "--source", "127.0.0.2", "--pin", "0"],
        vec![&good, "-c", "3", "--idle", "2", "--fragment", "7", "-d", "50ms", "--no-verify"],
        vec![&flawed, "-n", "100"],
        vec![&slow, "-R", "1k", "-d", "100ms", "-t", "2", "-c", "2"],
        vec![&good, "--find-max", "p50<1s", "-d", "20ms"],
        vec![&good, "--find-max", "p50<1us", "-d", "20ms"],
    ] {
        let output = loadgen(&[&arguments[..], &["--json"]].concat());
        let wrong = schema.check(&json(&output));
        assert!(wrong.is_empty(), "{arguments:?}: {wrong:#?}");
    }
}

#[test]
fn every_sum_has_the_documented_form() {
    let server = Server::echo();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema");
    fs::create_dir_all(&dir).unwrap();
    let logs = ["1", "2"].map(|name| dir.join(name).to_string_lossy().into_owned());
    for log in &logs {
        loadgen(&[&server.addr.to_string(), "-n", "100", "-R", "1k", "--seed", "1", "--log", log]);
    }
    let sum = json(&loadgen(&["merge", &logs[0], &logs[1], "--json"]));
    let wrong = Schema::of("merge").check(&sum);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_finds_what_is_wrong() {
    let server = Server::echo();
    let report = json(&loadgen(&[&server.addr.to_string(), "-n", "10", "--json"]));
    let schema = Schema::of("report");
    assert_eq!(schema.check(&report), Vec::<String>::new());
    let changes: [fn(&mut Value); 7] = [
        |report| report["result"]["messages"] = "10".into(),
        |report| report["result"]["messages"] = (-1).into(),
        |report| report["schema"] = "loadgen/1".into(),
        |report| report["latency"]["response"]["p50_ms"] = 1.into(),
        |report| report["server"]["location"] = "there".into(),
        |report| report["client"]["busiest_thread"] = 1.5.into(),
        |report| drop(report["load"].as_object_mut().unwrap().remove("seed")),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = report.clone();
        change(&mut changed);
        assert_eq!(
            schema.check(&changed).len(),
            1,
            "change {number}: {:?}",
            schema.check(&changed)
        );
    }
}

#[test]
fn a_csv_column_has_its_name_in_json() {
    let server = Server::echo();
    let csv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("names.csv");
    let file = csv.to_string_lossy();
    let arguments = ["-n", "50", "-R", "1k", "--json", "--csv", &file];
    let report = json(&loadgen(&[&[server.addr.to_string().as_str()][..], &arguments].concat()));
    let text = fs::read_to_string(&csv).unwrap();
    let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    assert!(columns.len() > 20);
    for column in columns.iter().filter(|column| **column != "start_seconds") {
        let times = report["latency"].as_object().unwrap();
        let time = times.iter().find_map(|(name, distribution)| {
            let within = column.strip_prefix(name.as_str())?.strip_prefix('_')?;
            distribution.get(within)
        });
        assert!(time.is_some() || report["result"].get(column).is_some(), "{column}");
    }
}
