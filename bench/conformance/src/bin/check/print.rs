//! What a person reads: a line for each case while the cases run, and all failures at the end.

use std::fmt;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use conformance::{Case, Error, Failure, Outcome, Subject, words};
use nix::errno::Errno;
use textwrap::{Options, WordSplitter, fill};

use crate::run::{Ended, Entry, Run};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const BOLD: Style = Style::new().bold();

/// The longest lines that are printed to a wide terminal, in columns.
const COLUMNS_MAX: usize = 100;

/// Prints to stdout. Colours are left out where nobody would see them, or where NO_COLOR is set.
///
/// # Errors
///
/// [`Error::ReaderLeft`] after the end of the reader, else [`Error::Stdout`].
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(|error| {
        let reader_left = error.raw_os_error() == Some(Errno::EPIPE as i32);
        if reader_left { Error::ReaderLeft } else { Error::Stdout(error) }
    })
}

pub(crate) fn title(doing: &str, subject: &Subject) -> Result<(), Error> {
    print(format_args!("{doing} {} (seed {})\n", subject.name, subject.seed))
}

/// The line of a case that has just ended. Cases that did not run have none.
pub(crate) fn entry(entry: &Entry) -> Result<(), Error> {
    let name = entry.case.name;
    match &entry.ended {
        Ended::Ran(Outcome::Pass) => print(format_args!("{GREEN}pass{GREEN:#} {name}\n")),
        Ended::Ran(Outcome::Fail(failure)) => {
            let seen = failure.seen.lines().next().unwrap_or_default();
            let line = fill(seen, hanging("       ").initial_indent("       "));
            print(format_args!("{RED}FAIL{RED:#} {name}\n{line}\n"))
        }
        Ended::Ran(Outcome::NotApplicable(_)) | Ended::Skipped(_) => Ok(()),
    }
}

/// Everything that a run has found: the failures by cause, then the cases that did not run, then the
/// counts.
pub(crate) fn summary(run: &Run) -> Result<(), Error> {
    let causes = causes(run);
    let failed = run.failures().count();
    if failed > 0 {
        let failures = if failed == 1 { "1 failure" } else { &format!("{failed} failures") };
        let of_causes = match causes.len() {
            causes if causes == failed => String::new(),
            1 => ", 1 cause".to_owned(),
            causes => format!(", {causes} causes"),
        };
        print(format_args!("\n{BOLD}{failures}{of_causes}{BOLD:#}\n"))?;
    }
    for (number, cases) in causes.iter().enumerate() {
        print(format_args!("\n{}", explained(number + 1, cases)))?;
    }
    if let Some((case, _)) = run.failures().last() {
        let (seed, name) = (run.subject.seed, case.name);
        print(format_args!("\nTo repeat a case: --filter {name} --seed {seed}\n"))?;
    }
    did_not_run(run)?;
    let passed = run.count(|ended| matches!(ended, Ended::Ran(Outcome::Pass)));
    let not_applicable = run.count(|ended| matches!(ended, Ended::Ran(Outcome::NotApplicable(_))));
    let skipped = match run.count(|ended| matches!(ended, Ended::Skipped(_))) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    let colour = if failed == 0 { GREEN } else { RED };
    print(format_args!(
        "\n{colour}{passed} passed, {failed} failed{colour:#}, {not_applicable} not \
         applicable{skipped}, {}\n",
        words::duration(run.took)
    ))
}

/// The failures with the same cause together, in the order in which they came.
fn causes<'a>(run: &'a Run) -> Vec<Vec<(&'static Case, &'a Failure)>> {
    let mut causes: Vec<Vec<(&Case, &Failure)>> = Vec::new();
    for failed in run.failures() {
        let same = causes.iter_mut().find(|cases| match (&cases[0].1.cause, &failed.1.cause) {
            (Some(one), Some(other)) => one.is_same(other),
            _ => false,
        });
        match same {
            Some(cases) => cases.push(failed),
            None => causes.push(vec![failed]),
        }
    }
    causes
}

/// All cases that failed for one reason.
fn explained(number: usize, cases: &[(&'static Case, &Failure)]) -> String {
    let (case, failure) = cases[0];
    let rows = case.explain(failure);
    let row = |title: &str, text: &str| {
        let indent = format!("   {title:9} ");
        let lines = text.lines().enumerate().map(|(number, line)| {
            let indent = if number == 0 { &indent } else { "             " };
            fill(line, hanging("             ").initial_indent(indent)) + "\n"
        });
        lines.collect::<String>()
    };
    let mut text = format!("{BOLD}{number}. {}{BOLD:#}\n", case.name);
    if cases.len() > 1 {
        let heading = failure.cause.as_ref().map(|cause| cause.headline()).unwrap_or_default();
        text = format!("{BOLD}{}{BOLD:#}\n", fill(&format!("{number}. {heading}"), hanging("   ")));
    }
    for (title, words) in &rows {
        match (*title, cases.len()) {
            // The last words of the server, as it wrote them.
            ("", _) => text += &textwrap::indent(&format!("{words}\n"), "             "),
            ("contract" | "expected" | "seen" | "cause", 2..) => {}
            (title, _) => text += &row(title, words),
        }
    }
    if cases.len() > 1 {
        let names: Vec<_> = cases.iter().map(|(case, _)| case.name).collect();
        text += &row("cases", &names.join("\n"));
    }
    text
}

/// The cases that did not run, by reason.
fn did_not_run(run: &Run) -> Result<(), Error> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for entry in &run.entries {
        let reason = match &entry.ended {
            Ended::Ran(Outcome::NotApplicable(why)) => format!("not applicable: {why}"),
            Ended::Skipped(basic) => format!("skipped: {basic} fails"),
            Ended::Ran(_) => continue,
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    if !reasons.is_empty() {
        print("\n")?;
    }
    for (reason, count) in reasons {
        let cases = if count == 1 { "1 case".to_owned() } else { format!("{count} cases") };
        print(format_args!("{}\n", fill(&format!("{cases:>9} {reason}"), hanging("          "))))?;
    }
    Ok(())
}

/// The last line of a soak, and its failure.
pub(crate) fn soak_verdict(failure: Option<&Failure>) -> Result<(), Error> {
    let Some(failure) = failure else {
        return print(format_args!(
            "{GREEN}passed{GREEN:#}: no byte was lost or changed, and nothing was left over\n"
        ));
    };
    let mut text = format!("{RED}FAILED{RED:#}\n");
    text += &format!("expected  {}\nseen      {}\n", failure.expected, failure.seen);
    if let Some(cause) = &failure.cause {
        text += &format!("cause     {}\n", cause.headline());
        let words = cause.last_words().unwrap_or_default();
        text += &textwrap::indent(&format!("{words}\n"), "          ");
    }
    print(text)
}

/// How long lines are wrapped: `indent` begins all lines but the first.
fn hanging(indent: &str) -> Options<'_> {
    let columns = textwrap::termwidth().min(COLUMNS_MAX);
    Options::new(columns)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
}
