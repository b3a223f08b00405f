//! What must not outlive this process, however it ends: process groups and files.
//!
//! A SIGKILL leaves no time to clean up, and so does a second Ctrl-C. PR_SET_PDEATHSIG (prctl(2)) has
//! the kernel kill a child with its parent, but not the child's children: the server behind a shell,
//! the compilers behind cargo. So a shell sleeps at the end of a pipe that only this process holds.
//! Whatever ends this process, the kernel then closes the pipe, and the shell does what is left to do.
//!
//! Not here: what ends both at once, such as the kernel's out-of-memory killer on a whole container;
//! and a process that leaves its group on purpose (setsid(2)).

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::unistd::Pid;

/// Reads the files to remove, one on each line, until the pipe closes. `$0` is the group to kill, or
/// empty.
const SCRIPT: &str = r#"
    while IFS= read -r file; do set -- "$@" "$file"; done
    [ -z "$0" ] || kill -s KILL -- "-$0"
    rm -f -- "$@"
"#;

/// Kills and removes what it was given when this process ends. Dropping it calls that off.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Kills the process group that `leader` leads.
    ///
    /// # Errors
    ///
    /// When there is no `sh`, or no process can be started.
    pub fn of_group(leader: Pid) -> io::Result<Guard> {
        Guard::start(&leader.to_string())
    }

    /// Removes files: [`Guard::remove`] says which.
    ///
    /// # Errors
    ///
    /// Those of [`Guard::of_group`].
    pub(crate) fn of_files() -> io::Result<Guard> {
        Guard::start("")
    }

    /// Removes this file too.
    ///
    /// # Errors
    ///
    /// None is expected: the shell reads all that it is told.
    pub fn remove(&mut self, file: &Path) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        pipe.write_all(&[file.as_os_str().as_bytes(), b"\n"].concat())
    }

    fn start(group: &str) -> io::Result<Guard> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, group]).stdin(Stdio::piped());
        // In a group of its own, so that a Ctrl-C does not reach it.
        shell.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start sh, which is to clean up: {error}"))
        })?;
        let pipe = shell.stdin.take();
        Ok(Guard { shell, pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before the pipe closes. It may have been killed by somebody else, which is as good.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// A guard of a group of two that would run for 20 s, and of a file. The pipe to the group is
    /// closed once nobody is in it any more.
    fn guarded(name: &str) -> (Guard, Child, std::path::PathBuf) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 20 & wait"]).stdout(Stdio::piped()).process_group(0);
        let leader = command.spawn().unwrap();
        let file = std::env::temp_dir().join(format!("guard test {} {name}", std::process::id()));
        fs::write(&file, "").unwrap();
        let mut guard = Guard::of_group(Pid::from_raw(leader.id().cast_signed())).unwrap();
        guard.remove(&file).unwrap();
        (guard, leader, file)
    }

    #[test]
    fn when_the_pipe_closes_the_whole_group_and_the_file_go() {
        let (mut guard, mut leader, file) = guarded("closed");
        guard.pipe = None; // As the kernel does at the end of this process.
        assert!(guard.shell.wait().unwrap().success());
        let mut theirs = leader.stdout.take().unwrap();
        assert_eq!(io::copy(&mut theirs, &mut io::sink()).unwrap(), 0); // Ends with the last of them.
        assert_eq!(leader.wait().unwrap().signal(), Some(9));
        assert!(!file.exists());
    }

    #[test]
    fn a_guard_that_is_dropped_does_nothing() {
        let (guard, mut leader, file) = guarded("dropped");
        drop(guard);
        assert!(leader.try_wait().unwrap().is_none());
        fs::remove_file(&file).unwrap();
        nix::sys::signal::killpg(
            Pid::from_raw(leader.id().cast_signed()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        leader.wait().unwrap();
    }
}
