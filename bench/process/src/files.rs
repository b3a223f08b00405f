//! Files that are written whole or not at all, and asked about before anything is measured for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use nix::unistd::{AccessFlags, access};

use crate::guard::Guard;

/// Finds out whether `file` can be written, and leaves everything as it is: a measurement whose result
/// cannot be kept need not begin.
///
/// # Errors
///
/// What is in the way, with the path.
pub fn check_file(file: &Path) -> io::Result<()> {
    let answer = match fs::metadata(file) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => may(file, AccessFlags::W_OK),
        // A file is replaced by another, which is made beside it.
        _ => {
            let file = target_of(file);
            match fs::metadata(parent(&file)) {
                Ok(parent) if !parent.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
                Ok(_) => may(parent(&file), MAKE_FILES),
                Err(error) => Err(error),
            }
        }
    };
    answer.map_err(|error| cannot_write(file, &error))
}

/// The same of a directory that may not be there yet, and of all above it.
///
/// # Errors
///
/// What is in the way, with the path.
pub fn check_directory(dir: &Path) -> io::Result<()> {
    let there = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(""));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let answer = if there.is_dir() {
        may(there, MAKE_FILES)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    };
    answer.map_err(|error| cannot_write(dir, &error))
}

/// Makes a directory, and all above it, where they are not there yet.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn make_directory(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))
}

/// What making a file in a directory needs (access(2)).
const MAKE_FILES: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

fn may(path: &Path, what: AccessFlags) -> io::Result<()> {
    Ok(access(path, what)?)
}

/// Writes a file whole or not at all. A symbolic link to a file stays one, and what is no file, such as
/// /dev/stdout or a pipe, is written to and not replaced.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let special = fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir());
    if special {
        return fs::write(file, bytes).map_err(|error| cannot_write(file, &error));
    }
    replace_all(&[(target_of(file), bytes)])
}

/// What a symbolic link points at; of anything else, and of a link to nothing, itself.
fn target_of(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// Writes all files under names that nobody looks at, and only when all are there gives them their own
/// (rename(2)). A file that was there before is replaced only by a whole one. None of the others stays,
/// even if this process is killed meanwhile.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn replace_all<B: AsRef<[u8]>>(files: &[(PathBuf, B)]) -> io::Result<()> {
    // Without one, only a SIGKILL in these milliseconds leaves something.
    let mut guard = Guard::of_files().ok();
    let mut drafts = Drafts(Vec::new());
    for (file, content) in files {
        let draft = draft_of(file);
        if let Some(guard) = &mut guard {
            let _ = guard.remove(&draft);
        }
        drafts.0.push(draft.clone());
        fs::write(draft, content).map_err(|error| cannot_write(file, &error))?;
    }
    for ((file, _), draft) in files.iter().zip(&drafts.0) {
        fs::rename(draft, file).map_err(|error| cannot_write(file, &error))?;
    }
    drafts.0.clear();
    Ok(())
}

/// Files that have no name of their own yet, removed unless they get one.
struct Drafts(Vec<PathBuf>);

impl Drop for Drafts {
    fn drop(&mut self) {
        for draft in &self.0 {
            // It is gone already when it was renamed before a later one failed.
            let _ = fs::remove_file(draft);
        }
    }
}

/// Beside the file, so that it is on the same file system; another process has another.
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

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
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
    fn a_link_stays_a_link_and_what_is_no_file_is_not_replaced() {
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
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo()); // Else nothing ever comes.
        let mut read = [0; 7];
        both_ends.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"through");
        assert_eq!(names(&dir), ["file", "link", "pipe"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn when_one_file_fails_none_is_replaced_and_nothing_else_is_left() {
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
    fn what_cannot_be_written_is_known_before() {
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
