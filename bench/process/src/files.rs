//! Files that are written completely or not at all, and checked before anything is measured for them.
//!
//! Not here: the crate atomic-write-file. It leaves a hidden file behind when its rename fails, and it
//! replaces one file at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use nix::unistd::{AccessFlags, access};

use crate::guard::Guard;
use crate::{Error, Result};

/// Checks whether `file` can be written, and changes nothing. A tool calls it before it measures, so that
/// no result is lost.
///
/// # Errors
///
/// [`Error::Write`], with the obstacle.
pub fn check_file(file: &Path) -> Result<()> {
    let answer = match fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => may(file, AccessFlags::W_OK),
        // A new file in the same directory replaces a regular file.
        _ => {
            let file = target_of(file);
            match fs::metadata(parent(&file)) {
                Ok(parent) if !parent.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
                Ok(_) => may(parent(&file), MAKE_FILES),
                Err(error) => Err(error),
            }
        }
    };
    answer.map_err(|source| cannot_write(file, source))
}

/// Checks whether files can be made in `dir`, and changes nothing. `dir` and the directories above it
/// may be missing.
///
/// # Errors
///
/// [`Error::Write`], with the obstacle.
pub fn check_directory(dir: &Path) -> Result<()> {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(""));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let answer = if existing.is_dir() {
        may(existing, MAKE_FILES)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    };
    answer.map_err(|source| cannot_write(dir, source))
}

/// Makes a directory, and the missing directories above it.
///
/// # Errors
///
/// [`Error::Write`], with the file system's answer.
pub fn make_directory(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|source| cannot_write(dir, source))
}

/// The permissions that making a file in a directory needs (access(2)).
const MAKE_FILES: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

fn may(path: &Path, permissions: AccessFlags) -> io::Result<()> {
    Ok(access(path, permissions)?)
}

/// Writes a file completely or not at all. A symbolic link stays a link: the file that it points to is
/// replaced. A special file, such as /dev/stdout or a pipe, is written to and not replaced.
///
/// # Errors
///
/// [`Error::Write`], with the file system's answer.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<()> {
    let is_special = fs::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if is_special {
        return fs::write(file, bytes).map_err(|source| cannot_write(file, source));
    }
    replace_all(&[(target_of(file), bytes)])
}

/// The file that a symbolic link points to. For any other file, and for a link to nothing, the same path.
fn target_of(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// Writes hidden temporary files, renames them to their own names when all are complete (rename(2)), and
/// removes them on failure. They are removed too when this process is killed meanwhile.
///
/// # Errors
///
/// [`Error::Write`], with the file system's answer.
pub fn replace_all<B: AsRef<[u8]>>(files: &[(PathBuf, B)]) -> Result<()> {
    // Without a guard, only a SIGKILL in the next milliseconds leaves a temporary file.
    let mut guard = Guard::of_files().ok();
    let mut drafts = Drafts(Vec::new());
    for (file, content) in files {
        let draft = draft_of(file);
        if let Some(guard) = &mut guard {
            let _ = guard.remove(&draft);
        }
        drafts.0.push(draft.clone());
        fs::write(draft, content).map_err(|source| cannot_write(file, source))?;
    }
    for ((file, _), draft) in files.iter().zip(&drafts.0) {
        fs::rename(draft, file).map_err(|source| cannot_write(file, source))?;
    }
    drafts.0.clear();
    Ok(())
}

/// Temporary files, removed on drop.
struct Drafts(Vec<PathBuf>);

impl Drop for Drafts {
    fn drop(&mut self) {
        for draft in &self.0 {
            // This fails for a draft that was renamed before a later rename failed.
            let _ = fs::remove_file(draft);
        }
    }
}

/// The name of the temporary file for `file`: in the same directory, and so on the same file system. Two
/// processes use different names.
fn draft_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{}.tmp", process::id()))
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot_write(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    /// A new empty directory.
    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("files-test-{}-{name}", process::id()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_stays_a_link_and_a_special_file_is_not_replaced() {
        let dir = directory("special");
        let (file, link, pipe) = (dir.join("file"), dir.join("link"), dir.join("pipe"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut both_ends = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        write_whole(&pipe, b"through").unwrap();
        // A pipe that was replaced would let the read below wait without end.
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let mut read = [0; 7];
        both_ends.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"through");
        assert_eq!(names(&dir), ["file", "link", "pipe"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn when_one_file_fails_no_file_is_replaced_and_no_draft_is_left() {
        let dir = directory("fails");
        let (first, second) = (dir.join("first"), dir.join("no/such/second"));
        fs::write(&first, "old").unwrap();
        let files = [(first.clone(), "new"), (second, "new")];
        let complaint = replace_all(&files).unwrap_err().to_string();
        assert!(complaint.contains("no/such/second"), "{complaint}");
        assert_eq!(fs::read(&first).unwrap(), b"old");
        assert_eq!(names(&dir), ["first"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_check_finds_what_cannot_be_written() {
        let dir = directory("before");
        let file = dir.join("file");
        fs::write(&file, "old").unwrap();
        assert!(check_file(&file).is_ok() && check_file(&dir.join("new")).is_ok());
        assert!(check_file(Path::new("/dev/null")).is_ok());
        assert!(check_file(Path::new("here")).is_ok());
        assert!(check_directory(&dir).is_ok() && check_directory(&dir.join("a/b")).is_ok());
        assert!(check_directory(Path::new("here")).is_ok());
        for no_file in [dir.clone(), dir.join("no/such"), file.join("below")] {
            assert!(check_file(&no_file).is_err(), "{}", no_file.display());
        }
        for no_directory in [file.clone(), file.join("below/it")] {
            assert!(check_directory(&no_directory).is_err(), "{}", no_directory.display());
        }
        assert_eq!(names(&dir), ["file"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
