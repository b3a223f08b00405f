//! Opens an io_uring in the best mode that the kernel has.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::errno::Errno;

/// Sets up the queues, in the cheapest mode that the kernel has.
pub(crate) fn open(entries: u32) -> io::Result<IoUring> {
    // One thread submits, and completions are made together, when it asks for them (Linux 6.1).
    let mut newest = IoUring::builder();
    newest.setup_submit_all().setup_single_issuer().setup_defer_taskrun();
    // Completions are made whenever it enters the kernel, without an interrupt (Linux 5.19).
    let mut older = IoUring::builder();
    older.setup_submit_all().setup_coop_taskrun();
    let io = match newest.build(entries) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => older.build(entries),
        result => result,
    }?;
    // No probe tells of the multishot receive. SendZc came with it, in Linux 6.0.
    let mut probe = Probe::new();
    io.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(opcode::SendZc::CODE) || !io.params().is_feature_nodrop() {
        return Err(Errno::EINVAL.into());
    }
    Ok(io)
}

/// Says why there is no ring, and what to do.
pub(crate) fn unavailable(error: io::Error) -> io::Error {
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSYS) => "this kernel has none; it needs Linux 6.0 or newer",
        Some(Errno::EINVAL) => "this kernel is too old; it needs Linux 6.0 or newer",
        Some(Errno::EPERM | Errno::EACCES) => {
            "it is forbidden here; allow it in the sysctl kernel.io_uring_disabled, and in the seccomp \
             filter of the container"
        }
        Some(Errno::ENOMEM) => "not enough memory may be locked; raise `ulimit -l`",
        _ => "its queues cannot be set up",
    };
    let advice = "or run another server, such as epoll-selector";
    io::Error::new(error.kind(), format!("io_uring is not available: {why}, {advice} ({error})"))
}
