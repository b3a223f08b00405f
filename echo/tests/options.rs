//! What the common command line takes, and what it refuses.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::time::Duration;

use clap::Parser;
use echo::{DESCRIPTOR_RESERVE, Error, Options, parse_duration};
use nix::sys::resource::{Resource, getrlimit};

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

fn parse(arguments: &str) -> Result<Options, clap::Error> {
    Args::try_parse_from(["test"].into_iter().chain(arguments.split_whitespace()))
        .map(|args| args.options)
}

#[test]
fn the_bounds_of_an_option_are_in_and_what_is_past_them_is_out() {
    for (taken, refused) in [
        ("--backlog 1", "--backlog 0"),
        ("--backlog 2147483647", "--backlog 2147483648"),
        ("--max-connections 1", "--max-connections 0"),
        ("--drain 0s", "--drain -1s"),
        ("--drain 24h", "--drain 24h1ns"),
        ("--work 24h", "--work 2days"),
        ("--idle-timeout 10ms", "--idle-timeout 9999us"),
        ("--idle-timeout 1day", "--idle-timeout 1year"),
    ] {
        assert!(parse(taken).is_ok(), "{taken}");
        assert!(parse(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_duration_has_a_unit() {
    assert_eq!(parse_duration("50us"), Ok(Duration::from_micros(50)));
    assert_eq!(parse_duration("1s 500ms"), Ok(Duration::from_millis(1500)));
    for text in ["", "5", "s", "5 parsecs", "99999999999999999999s"] {
        assert!(parse_duration(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_most_connections_are_those_asked_for_up_to_the_ceiling() {
    let options = parse("--max-connections 10").unwrap();
    assert_eq!(options.max_connections(10).unwrap(), 10);
    let error = options.max_connections(9).unwrap_err();
    assert!(matches!(error, Error::BadArguments(_)), "{error:?}");
    assert!(error.to_string().contains("the most is 9"), "{error}");
}

#[test]
fn the_most_connections_are_by_default_what_the_descriptor_limit_allows() {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let descriptors = usize::try_from(descriptors).unwrap();
    let options = parse("").unwrap();
    assert_eq!(options.max_connections(usize::MAX).unwrap(), descriptors - DESCRIPTOR_RESERVE);
    assert_eq!(options.max_connections(1).unwrap(), 1);
}
