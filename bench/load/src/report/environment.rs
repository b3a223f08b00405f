//! The machine and the program that measured.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use server_process::proc;

use crate::limits::{self, Limits};

/// Where and by what something was measured. `None` is unavailable.
///
/// proc(5) has the sources.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Version of this crate.
    pub version: &'static str,
    /// When the report was made, in seconds since 1970 (UTC).
    pub unix_seconds: Option<u64>,
    /// Name and release of the kernel.
    pub kernel: Option<String>,
    /// Instruction set.
    pub machine: &'static str,
    /// CPUs this process may use.
    pub cpus: Option<usize>,
    /// Model of the first CPU.
    pub cpu_model: Option<String>,
    /// Load average of the last minute when the report was made: who else was busy?
    pub load_average: Option<f64>,
    /// Limits of the generator's process.
    pub limits: Limits,
}

impl Environment {
    /// This machine, now.
    pub fn here() -> Environment {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Environment {
            version: env!("CARGO_PKG_VERSION"),
            unix_seconds: now.ok().map(|now| now.as_secs()),
            kernel: kernel(),
            machine: std::env::consts::ARCH,
            cpus: thread::available_parallelism().ok().map(Into::into),
            cpu_model: proc::cpu_model().ok(),
            load_average: proc::word("/proc/loadavg").ok(),
            limits: limits::current(),
        }
    }
}

fn kernel() -> Option<String> {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    Some(format!("{} {}", read("ostype")?.trim(), read("osrelease")?.trim()))
}
