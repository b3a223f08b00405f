//! The README's recipe for a new server works as it is written, and fails where a step is forgotten.
#![allow(clippy::unwrap_used)] // A failed unwrap is the report.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Folders of the workspace that a server needs.
const NEEDED: [&str; 3] = ["echo", "bench/process", "bench/conformance"];

/// Writes a file, unless it has this content already: cargo builds what is newer than its result.
fn put(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|present| present == text) {
        return;
    }
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Copies a folder, without what is not part of the package.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else if let Ok(text) = fs::read_to_string(&path) {
            put(&to, &text);
        }
    }
}

/// The first code block after the line that contains `mark`, without its indentation.
fn block_after(readme: &str, mark: &str) -> String {
    let lines = readme.lines().skip_while(|line| !line.contains(mark));
    let block = lines.skip_while(|line| !line.trim_start().starts_with("```"));
    let block = block.skip(1).take_while(|line| line.trim() != "```");
    let text: String =
        block.map(|line| line.strip_prefix("   ").unwrap_or(line).to_owned() + "\n").collect();
    assert!(!text.is_empty(), "the README has no block after {mark}");
    text
}

/// A workspace of the packages that a server needs, and the server of the recipe.
struct Workspace {
    root: PathBuf,
    readme: String,
}

impl Workspace {
    /// Follows the recipe.
    fn new() -> Workspace {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (original, root) =
            (here.join("../.."), Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipe"));
        let readme = fs::read_to_string(here.join("README.md")).unwrap();
        for folder in NEEDED {
            copy(&original.join(folder), &root.join(folder));
        }
        let workspace = Workspace { root, readme };
        let lock = fs::read_to_string(original.join("Cargo.lock")).unwrap();
        put(&workspace.root.join("Cargo.lock"), &lock);
        for file in ["mine/Cargo.toml", "mine/src/main.rs", "mine/tests/conformance.rs"] {
            workspace.put_from_readme(file);
        }
        // The member of the recipe stands for all members that are not in this workspace.
        let manifest = fs::read_to_string(original.join("Cargo.toml")).unwrap();
        let (before, rest) = manifest.split_once("members = [\n").unwrap();
        let (_, after) = rest.split_once("]\n").unwrap();
        let needed = NEEDED.map(|folder| format!("    \"{folder}\",\n")).concat();
        let member = block_after(&workspace.readme, "A line in `members`");
        let manifest = format!("{before}members = [\n{needed}{member}]\n{after}");
        put(&workspace.root.join("Cargo.toml"), &manifest);
        let catalogue = workspace.root.join("bench/process/src/catalogue.rs");
        let text = fs::read_to_string(&catalogue).unwrap();
        let start = "pub const SERVERS: &[Server] = &[\n";
        let line = block_after(&workspace.readme, "A line in `SERVERS`");
        put(&catalogue, &text.replace(start, &format!("{start}{line}")));
        workspace
    }

    fn put_from_readme(&self, file: &str) {
        put(&self.root.join(file), &block_after(&self.readme, &format!("`{file}`:")));
    }

    /// Runs the tests of the new server. Dependencies are built once for both workspaces.
    fn test(&self, filter: &str) -> Output {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        Command::new(cargo)
            .args(["test", "--offline", "-p", "mine", "--test", "conformance", "--target-dir"])
            .arg(target)
            .args(["--", filter])
            .current_dir(&self.root)
            .output()
            .unwrap()
    }
}

#[test]
fn the_server_of_the_readme_passes_the_suite_and_a_forgotten_step_is_no_pass() {
    let workspace = Workspace::new();
    let output = workspace.test("");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("mine::one_byte") && text.contains("0 failed"), "{text}");
    assert!(!text.contains("running 0 tests"), "{text}");

    let manifest = block_after(&workspace.readme, "`mine/Cargo.toml`:");
    let harness = "[[test]]\nname = \"conformance\"\nharness = false\n";
    assert!(manifest.contains(harness), "{manifest}");
    put(&workspace.root.join("mine/Cargo.toml"), &manifest.replace(harness, ""));
    let output = workspace.test("");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{output:?}");
    assert!(text.contains("harness = false"), "{text}");
    workspace.put_from_readme("mine/Cargo.toml");
}
