//! `cargo bench -- FLAGS` at the workspace root hands the flags to every benchmark. Which of them
//! concern one only, so that the other can step aside instead of failing.

use std::path::Path;

/// Flags of criterion that `compare` does not have, those that take a value first.
const CRITERION_ONLY: &[&str] = &[
    "--save-baseline",
    "--baseline-lenient",
    "--load-baseline",
    "--sample-size",
    "--warm-up-time",
    "--measurement-time",
    "--nresamples",
    "--noise-threshold",
    "--confidence-level",
    "--significance-level",
    "--profile-time",
    "--plotting-backend",
    "--output-format",
    "--color",
    "-c",
    "-s",
    "-b",
    "--discard-baseline",
    "--noplot",
    "-n",
];

/// Flags of `compare` that criterion does not have.
const COMPARE_ONLY: &[&str] = &[
    "--all",
    "--blocks",
    "--output",
    "--pin",
    "--reference",
    "--seed",
    "--server",
    "--yardsticks",
];

/// The first flag that only criterion knows.
pub fn criterion_only(args: &[String]) -> Option<&str> {
    find(args, CRITERION_ONLY, |file| !is_report(file))
}

/// The first flag that only `compare` knows.
pub fn compare_only(args: &[String]) -> Option<&str> {
    find(args, COMPARE_ONLY, is_report)
}

/// `--baseline` means a name to criterion, and the file of an earlier report to `compare`.
fn find<'a>(
    args: &'a [String],
    flags: &[&str],
    baseline_is_theirs: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(index, arg)| {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg.as_str(), args.get(index + 1).map(String::as_str)),
        };
        let theirs =
            flags.contains(&flag) || flag == "--baseline" && value.is_some_and(&baseline_is_theirs);
        theirs.then_some(flag)
    })
}

fn is_report(file: &str) -> bool {
    file.ends_with(".json") || file.contains('/') || Path::new(file).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_benchmark_recognises_the_flags_of_the_other_and_not_the_common_ones() {
        for line in ["--bench", "--bench --quick idle_herd", "--test", "--list --bench"] {
            assert_eq!(criterion_only(&args(line)), None);
            assert_eq!(compare_only(&args(line)), None);
        }
        assert_eq!(criterion_only(&args("--bench --save-baseline old")), Some("--save-baseline"));
        assert_eq!(criterion_only(&args("--sample-size=10")), Some("--sample-size"));
        assert_eq!(compare_only(&args("--bench --seed 7")), Some("--seed"));
    }

    #[test]
    fn a_baseline_is_a_name_to_criterion_and_a_report_to_compare() {
        assert_eq!(criterion_only(&args("--baseline old")), Some("--baseline"));
        assert_eq!(compare_only(&args("--baseline old")), None);
        assert_eq!(criterion_only(&args("--baseline old.json")), None);
        assert_eq!(criterion_only(&args("--baseline /no/such/report")), None);
        assert_eq!(compare_only(&args("--baseline=old.json")), Some("--baseline"));
    }
}
