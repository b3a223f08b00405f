//! This workspace on disk: its root and its release binaries. The binaries are built before each
//! measurement, so the measured binaries are never out of date.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;
use serde::Deserialize;
use server_process::guard::Guard;

/// A file that only this workspace contains, relative to the root.
const LANDMARK: &str = "bench/process/src/catalogue.rs";

/// Returns the root of the workspace that the benchmark belongs to.
///
/// Cargo sets CARGO_MANIFEST_DIR to the package of the program that it runs. Without this variable,
/// the root is the workspace of the current directory, or else the workspace of the executable. The
/// program does not use the directory of its compilation: the checkout may have been moved, and
/// several checkouts may share a target directory.
///
/// # Errors
///
/// `NotFound` when none of these places is in the workspace.
pub(crate) fn root() -> io::Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let places = [package, env::current_dir().ok(), env::current_exe().ok()];
    places.iter().flatten().find_map(|place| root_above(place)).ok_or_else(|| {
        let text = "cannot find the workspace of the servers: run `cargo bench` within the \
                    workspace";
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// Returns the nearest directory from `place` upwards that is the root of this workspace.
fn root_above(place: &Path) -> Option<PathBuf> {
    let mut above = place.ancestors();
    above.find(|directory| directory.join(LANDMARK).is_file()).map(Path::to_owned)
}

/// Executables by the name of their target (a binary or an example).
pub(crate) type Binaries = BTreeMap<String, PathBuf>;

/// A line of `cargo build --message-format=json`, with the fields that this module uses.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds packages of this workspace and examples of this package with `cargo build --release`.
/// Returns their executables. Cargo's progress goes to stderr. `cargo bench` releases the build
/// lock before it runs this program.
///
/// # Errors
///
/// When cargo cannot be run or the build fails. Cargo has printed its messages to stderr.
pub(crate) fn build(packages: &[&str], examples: &[&str]) -> io::Result<Binaries> {
    let mut built = Binaries::new();
    if !packages.is_empty() {
        let targets = packages.iter().flat_map(|package| ["--package", package]);
        built.append(&mut cargo_build(targets.chain(["--bins"]))?);
    }
    if !examples.is_empty() {
        let targets = examples.iter().flat_map(|example| ["--example", example]);
        built.append(&mut cargo_build(["--package", "bench"].into_iter().chain(targets))?);
    }
    Ok(built)
}

fn cargo_build<'a>(targets: impl Iterator<Item = &'a str>) -> io::Result<Binaries> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    // The paths come from cargo's messages, because many settings can choose the target directory.
    command.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    command.arg("--manifest-path").arg(root()?.join("Cargo.toml"));
    command.args(targets).stdout(Stdio::piped());
    let (mut child, _guard) = spawn_guarded(&mut command)?;
    let mut built = Binaries::new();
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let Ok(message) = serde_json::from_str::<Message>(&line?) else { continue };
            if let (Some(executable), Some(target)) = (message.executable, message.target) {
                built.insert(target.name, executable);
            }
        }
    }
    let status = child.wait()?;
    if status.success() { Ok(built) } else { Err(io::Error::other("cannot build the servers")) }
}

/// Starts cargo with a guard. Cargo and all its compilers end when this process ends.
fn spawn_guarded(command: &mut Command) -> io::Result<(Child, Guard)> {
    // Cargo's process group is not the foreground group of the terminal. After `stty tostop`,
    // output to the terminal would stop cargo (termios(3)).
    let ignore_ttou = || {
        // SAFETY: signal(2) is async-signal-safe, and SIG_IGN runs no handler.
        unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.process_group(0).pre_exec(ignore_ttou) };
    let mut child = command.spawn().map_err(|error| {
        let program = command.get_program().display();
        io::Error::new(error.kind(), format!("cannot run {program}: {error}"))
    })?;
    match Guard::of_group(Pid::from_raw(child.id().cast_signed())) {
        Ok(guard) => Ok((child, guard)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_from_below_and_nowhere_else() {
        let root = root().unwrap();
        assert!(root.join("bench/Cargo.toml").is_file());
        assert_eq!(root_above(&root.join("bench/src")), Some(root.clone()));
        assert_eq!(root_above(&root), Some(root.clone()));
        assert_eq!(root_above(Path::new("/")), None);
    }
}
