//! Recognises the flags of `cargo bench` that only one of the two benchmarks accepts.
//!
//! `cargo bench -- FLAGS` at the workspace root passes the flags to both benchmarks. When a flag
//! belongs to one benchmark only, the other benchmark exits without an error.

use std::path::Path;

/// Flags of criterion that `compare` does not have. Flags with a value come first.
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

/// Returns the first flag that only criterion accepts.
pub fn criterion_only(args: &[String]) -> Option<&str> {
    find(args, CRITERION_ONLY, |file| !is_report(file))
}

/// Returns the first flag that only `compare` accepts.
pub fn compare_only(args: &[String]) -> Option<&str> {
    find(args, COMPARE_ONLY, is_report)
}

/// Returns the first of `args` that is in `flags`, or that is `--baseline` with a value of the
/// other benchmark. For criterion, the value of `--baseline` is a name. For `compare`, the value is
/// the file of an earlier report.
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
