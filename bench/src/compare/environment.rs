//! The machine that a comparison runs on, and what could disturb the measurements.

use std::env;
use std::process::Command;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::sysinfo::sysinfo;
use nix::sys::utsname::uname;
use server_process::proc;

use crate::cost::{Reading, Usage};
use crate::layout::Layout;
use crate::results::Environment;
use crate::workspace;

/// Returns the environment as it is before a run; [`after`] fills in the rest.
pub(super) fn before(layout: &Layout) -> Environment {
    let kernel = uname().map(|name| {
        let parts = [name.sysname(), name.release(), name.machine()];
        parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
    });
    Environment {
        kernel: kernel.into(),
        cpu_model: proc::cpu_model().into(),
        cpus: thread::available_parallelism().map(usize::from).into(),
        memory_bytes: sysinfo().map(|info| info.ram_total()).into(),
        descriptor_limit: getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft).into(),
        somaxconn: proc::word("/proc/sys/net/core/somaxconn").into(),
        congestion_control: proc::word("/proc/sys/net/ipv4/tcp_congestion_control").into(),
        layout: match layout.describe() {
            free if *layout == Layout::default() => {
                free + " unless the scenario pins server and client"
            }
            pinned => pinned,
        },
        load_before: proc::word("/proc/loadavg").into(),
        load_after: Reading::unavailable("the run has not ended"),
        steal_share: Reading::unavailable("the run has not ended"),
        softirq_share: Reading::unavailable("the run has not ended"),
        rustc: said(Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
    }
}

/// Fills in the readings that exist only after the run. `used` is the machine's usage during the
/// run.
pub(super) fn after(environment: &mut Environment, used: &Usage) {
    let share = |time: &Reading<std::time::Duration>| {
        time.clone().zip_with(used.total.clone(), |time, total| {
            if total.is_zero() { 0.0 } else { time.as_secs_f64() / total.as_secs_f64() }
        })
    };
    environment.load_after = proc::word("/proc/loadavg").into();
    environment.steal_share = share(&used.steal);
    environment.softirq_share = share(&used.softirq);
}

/// Returns the commit of the workspace, with "+changes" if the work tree differs from the commit.
fn commit() -> Reading<String> {
    let root = match workspace::root() {
        Ok(root) => root,
        Err(error) => return Reading::unavailable(error),
    };
    let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(&root).args(args));
    let head = git(&["rev-parse", "--short=12", "HEAD"]);
    head.zip_with(git(&["status", "--porcelain"]), |head, changes| {
        if changes.is_empty() { head } else { head + "+changes" }
    })
}

/// Runs a command and returns its trimmed standard output.
fn said(command: &mut Command) -> Reading<String> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Reading::Measured(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => {
            let program = command.get_program().display().to_string();
            Reading::unavailable(format!("{program} failed: {}", output.status))
        }
        Err(error) => Reading::unavailable(error),
    }
}
