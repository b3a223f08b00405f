//! The signals that a child process inherits.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigHandler, Signal, signal};

/// Signals that ask a process to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Gives the child that `command` starts the default action for the signals that ask it to end.
///
/// A child inherits ignored signals through execve(2). A shell without job control ignores SIGINT and
/// SIGQUIT in its background jobs, and nohup(1) ignores SIGHUP: without this call, a program that a
/// script's background starts would not end on Ctrl-C. SIGPIPE needs no reset: std does it.
pub fn reset(command: &mut Command) {
    let in_child = || {
        for ending in ENDING {
            // SAFETY: signal(2) is async-signal-safe, and SIG_DFL runs no code of this process.
            unsafe { signal(ending, SigHandler::SigDfl) }?;
        }
        Ok(())
    };
    // SAFETY: the closure makes four system calls and allocates nothing.
    unsafe { command.pre_exec(in_child) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Makes the child ignore SIGINT, as a script's background does.
    fn ignore_sigint(command: &mut Command) {
        // SAFETY: signal(2) is async-signal-safe, and SIG_IGN runs no code of this process.
        let in_child = || Ok(unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.map(drop)?);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(in_child) };
    }

    /// How a shell ends that sends SIGINT to itself.
    fn interrupted(prepare: impl Fn(&mut Command)) -> Option<i32> {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -s INT $$"]);
        prepare(&mut command);
        command.status().unwrap().signal()
    }

    #[test]
    fn a_child_ends_on_a_signal_that_its_parent_ignores() {
        assert_eq!(interrupted(ignore_sigint), None);
        let after_reset = interrupted(|command| {
            ignore_sigint(command);
            reset(command);
        });
        assert_eq!(after_reset, Some(Signal::SIGINT as i32));
    }
}
