//! The machine and the program of a measurement.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use server_process::proc;

use crate::limits::Limits;
use crate::machine;

/// The machine and the program of a measurement. `None` is unavailable. The sources are in proc(5).
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Version of this crate.
    pub version: &'static str,
    /// When the report was made: UTC, as RFC 3339 writes it.
    pub time: Option<String>,
    /// Name and release of the kernel.
    pub kernel: Option<String>,
    /// Instruction set.
    pub architecture: &'static str,
    /// CPUs this process may use.
    pub cpus: Option<usize>,
    /// Model of the first CPU.
    pub cpu_model: Option<String>,
    /// Load average of the last minute before the report.
    pub load_average: Option<f64>,
    /// Whether the kernel keeps interrupts apart from the CPU time of processes
    /// (CONFIG_IRQ_TIME_ACCOUNTING). If not, a process's CPU time contains the interrupts on its core.
    pub irq_time_accounting: Option<bool>,
    /// Limits of the generator's process.
    pub limits: Limits,
}

impl Environment {
    /// The values of this machine, now.
    pub(crate) fn here() -> Environment {
        Environment {
            version: env!("CARGO_PKG_VERSION"),
            time: rfc3339(SystemTime::now()),
            kernel: kernel(),
            architecture: std::env::consts::ARCH,
            cpus: thread::available_parallelism().ok().map(Into::into),
            cpu_model: proc::cpu_model().ok(),
            load_average: proc::word("/proc/loadavg").ok(),
            irq_time_accounting: machine::irq_time_accounting(),
            limits: Limits::current(),
        }
    }
}

/// A time in UTC, as RFC 3339 writes it. `None` before 1970.
pub(super) fn rfc3339(time: SystemTime) -> Option<String> {
    (time >= UNIX_EPOCH).then(|| humantime::format_rfc3339_millis(time).to_string())
}

fn kernel() -> Option<String> {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    Some(format!("{} {}", read("ostype")?.trim(), read("osrelease")?.trim()))
}
