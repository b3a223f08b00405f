//! Every server of the workspace is in every tool. What is missing is named, with the place to add it.
#![allow(clippy::unwrap_used, clippy::panic)] // A failed unwrap is the report.

use std::fs;
use std::path::Path;

use server_process::catalogue::{self, SERVERS};
use toml::{Table, Value};

/// A folder at the top level of the workspace.
struct Package<'a> {
    folder: &'a str,
    manifest: Table,
    dir: &'a Path,
}

impl Package<'_> {
    /// A dependency on `echo` and a program make a package a server.
    fn is_server(&self) -> bool {
        self.has("dependencies", "echo") && self.dir.join("src/main.rs").is_file()
    }

    /// Whether a table of the manifest has this key.
    fn has(&self, table: &str, key: &str) -> bool {
        self.manifest.get(table).and_then(|table| table.get(key)).is_some()
    }

    /// Whether a target of this kind and name has `key = false`.
    fn is_off(&self, kind: &str, name: &str, key: &str) -> bool {
        let targets = match self.manifest.get(kind) {
            Some(Value::Array(targets)) => targets.as_slice(),
            Some(lib) => std::slice::from_ref(lib),
            None => &[],
        };
        let is_named = |target: &&Value| target.get("name").is_none_or(|own| own == &name.into());
        let off = Some(&Value::Boolean(false));
        targets.iter().find(is_named).is_some_and(|target| target.get(key) == off)
    }

    /// What the package lacks to be in every tool.
    fn missing(&self, members: &[Value]) -> Vec<String> {
        let Package { folder, dir, .. } = self;
        let manifest = format!("{folder}/Cargo.toml");
        let suite = fs::read_to_string(dir.join("tests/conformance.rs")).unwrap_or_default();
        let wanted = [
            (
                members.contains(&(*folder).into()),
                format!("Cargo.toml: add \"{folder}\" to members"),
            ),
            (
                self.is_off("bin", folder, "bench"),
                format!("{manifest}: add bench = false to [[bin]] of {folder}"),
            ),
            (
                !dir.join("src/lib.rs").is_file() || self.is_off("lib", folder, "bench"),
                format!("{manifest}: add bench = false to [lib]"),
            ),
            (
                self.is_off("test", "conformance", "harness"),
                format!("{manifest}: add [[test]] with name = \"conformance\" and harness = false"),
            ),
            (
                self.has("dev-dependencies", "conformance"),
                format!("{manifest}: add conformance.workspace = true to [dev-dependencies]"),
            ),
            (
                suite.contains("conformance::suite!();"),
                format!("{folder}/tests/conformance.rs: add the line conformance::suite!();"),
            ),
            (
                catalogue::of_package(folder).next().is_some(),
                format!("bench/process/src/catalogue.rs: add {folder} to SERVERS"),
            ),
        ];
        wanted.into_iter().filter(|(has, _)| !has).map(|(_, place)| place).collect()
    }
}

fn manifest(dir: &Path) -> Option<Table> {
    let text = fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{}: {error}", dir.display())))
}

/// What the servers in the folders of `root` lack.
fn missing(root: &Path) -> Vec<String> {
    let workspace = manifest(root).unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let mut missing = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let dir = entry.unwrap().path();
        let folder = dir.file_name().unwrap().to_str().unwrap();
        let Some(manifest) = manifest(&dir) else { continue };
        let package = Package { folder, manifest, dir: &dir };
        if package.is_server() {
            missing.extend(package.missing(members));
        }
    }
    missing.sort();
    missing
}

#[test]
fn every_server_is_in_every_tool() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let missing = missing(&root);
    assert!(missing.is_empty(), "these places are missing:\n  {}", missing.join("\n  "));
    for server in SERVERS {
        let dir = root.join(server.package);
        assert!(dir.is_dir(), "the catalogue has {}, which is no folder", server.package);
    }
}

#[test]
fn a_server_with_nothing_but_a_program_lacks_six_places() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare-workspace");
    let put = |file: &str, text: &str| {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), text).unwrap();
    };
    put("Cargo.toml", "[workspace]\nmembers = [\"echo\"]\n");
    put("bare/Cargo.toml", "[package]\nname = \"bare\"\n[dependencies]\necho.workspace = true\n");
    put("bare/src/main.rs", "fn main() {}\n");
    put("echo/Cargo.toml", "[package]\nname = \"echo\"\n");
    let missing = missing(&root);
    assert_eq!(missing.len(), 6, "{missing:#?}");
    for place in ["members", "[[bin]]", "[[test]]", "[dev-dependencies]", "suite!", "SERVERS"] {
        assert!(missing.iter().any(|line| line.contains(place)), "{place}: {missing:#?}");
    }
}
