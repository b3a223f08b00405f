//! What must not outlive this process, whatever ends it: process groups and files.
//!
//! After a SIGKILL or a second Ctrl-C, a process cannot clean up. PR_SET_PDEATHSIG (prctl(2)) makes the
//! kernel kill a child with its parent. It does not kill the child's children: the server behind a shell,
//! or the compilers behind cargo. So a shell waits at the end of a pipe whose other end only this process
//! holds. When this process ends, the kernel closes the pipe, and the shell kills and removes the rest.
//!
//! Not here: an event that ends both processes, such as the kernel's out-of-memory killer on a whole
//! container; and a process that leaves its group on purpose (setsid(2)).

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::unistd::Pid;

use crate::{Error, Result};

/// Reads the files to remove, one on each line, until the pipe closes. `$0` is the process group to kill,
/// or empty.
const SCRIPT: &str = r#"
    while IFS= read -r file; do set -- "$@" "$file"; done
    [ -z "$0" ] || kill -s KILL -- "-$0"
    rm -f -- "$@"
"#;

/// Kills a process group and removes files when this process ends. Dropping the guard cancels both.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// A guard that kills the process group of `leader`.
    ///
    /// # Errors
    ///
    /// [`Error::Guard`] when there is no `sh`, or when no process can be started.
    pub fn of_group(leader: Pid) -> Result<Guard> {
        Guard::start(&leader.to_string())
    }

    /// A guard that only removes files: those of [`Guard::remove`].
    ///
    /// # Errors
    ///
    /// Those of [`Guard::of_group`].
    pub(crate) fn of_files() -> Result<Guard> {
        Guard::start("")
    }

    /// Adds a file to those that the guard removes.
    ///
    /// # Errors
    ///
    /// Those of write(2) on a pipe: EPIPE when somebody has killed the shell.
    pub fn remove(&mut self, file: &Path) -> Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        Ok(pipe.write_all(&[file.as_os_str().as_bytes(), b"\n"].concat())?)
    }

    fn start(group: &str) -> Result<Guard> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, group]).stdin(Stdio::piped());
        // In a group of its own: a Ctrl-C in the terminal does not reach the shell.
        shell.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().map_err(Error::Guard)?;
        let pipe = shell.stdin.take();
        Ok(Guard { shell, pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The shell ends before its pipe closes, so it cleans up nothing. An error means that it had
        // ended before.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// A guard of a file and of a process group. The two processes of the group would run for 20 s.
    /// They hold the stdout pipe of the leader open.
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
    fn when_the_pipe_closes_the_shell_kills_the_group_and_removes_the_file() {
        let (mut guard, mut leader, file) = guarded("closed");
        guard.pipe = None; // The kernel does the same at the end of this process.
        assert!(guard.shell.wait().unwrap().success());
        // The copy ends when the last process of the group has ended.
        let mut stdout = leader.stdout.take().unwrap();
        assert_eq!(io::copy(&mut stdout, &mut io::sink()).unwrap(), 0);
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
