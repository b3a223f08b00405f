//! The servers' release binaries, built before they are measured, so that they are never stale.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;
use serde::Deserialize;

use server_process::guard::Guard;

/// Executables by the name of their binary or example target.
pub type Binaries = BTreeMap<String, PathBuf>;

/// A line of `cargo build --message-format=json`, as far as it concerns us.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds packages of this workspace with `cargo build --release`, and examples of this package.
/// Cargo's progress goes to stderr. `cargo bench` has given the build lock back by the time it runs
/// us.
///
/// # Errors
///
/// When cargo cannot be run or the build fails; its messages have been shown.
pub fn build_servers(packages: &[&str], examples: &[&str]) -> io::Result<Binaries> {
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
    // Paths come from cargo's own messages: a target directory may have been chosen in many ways.
    command.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
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
    if status.success() { Ok(built) } else { Err(io::Error::other("the servers do not build")) }
}

/// Cargo and all its compilers end with us.
fn spawn_guarded(command: &mut Command) -> io::Result<(Child, Guard)> {
    // Its own group is not the terminal's foreground one, and after `stty tostop` what it has to say
    // would stop it (termios(3)).
    let ignore_ttou = || {
        // SAFETY: signal(2) is async-signal-safe, and SIG_IGN runs no code of ours.
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
            Err(error)
        }
    }
}
