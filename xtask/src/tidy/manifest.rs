//! The rules for `Cargo.toml` and `Cargo.lock`, read line by line: the few forms that cargo manifests take
//! in this repository do not need a TOML parser.

use super::{File, Problem, Tree};

/// What the protocol may depend on: it has no I/O, no clock, no randomness and no runtime to get one from.
const CORE_DEPENDENCIES: [&str; 3] = ["base64", "serde", "serde_json"];

/// In two halves, because the name of a registry's host has no place elsewhere.
const DEFAULT_REGISTRY: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// What hands the fuzz targets to libFuzzer. It is outside the workspace and in no build that is shipped.
const DOOR_TO_CPP: &str = "crates/leasehold-fuzz/libfuzzer/Cargo.toml";

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let shared = tree.get("Cargo.toml").map(|file| entries(&file.text)).unwrap_or_default();
    let shared: Vec<Entry> =
        shared.into_iter().filter(|entry| entry.section == "workspace.dependencies").collect();
    for file in &tree.files {
        if file.path != "Cargo.toml" && file.path.ends_with("/Cargo.toml") {
            problems.extend(check_crate(file, &shared));
        }
        if file.path.ends_with("Cargo.lock") {
            problems.extend(check_lock(file));
        }
    }
    problems
}

fn check_crate(file: &File, shared: &[Entry]) -> Vec<Problem> {
    let entries = entries(&file.text);
    let says = |section: &str, key: &str, value: &str| {
        entries.iter().any(|e| e.section == section && e.key == key && e.value == value)
    };
    let mut problems = Vec::new();
    if file.path != DOOR_TO_CPP && !says("lints", "workspace", "true") {
        let what = "`[lints] workspace = true` is missing: it forbids unsafe code";
        problems.push(Problem::new(&file.path, 1, what));
    }
    let is_published = !says("package", "publish", "false");
    let is_core = says("package", "name", "\"leasehold-core\"");
    for entry in &entries {
        let Some(dependency) = entry.dependency() else { continue };
        let name = dependency.name;
        if is_core && dependency.kind == "dependencies" && !CORE_DEPENDENCIES.contains(&name) {
            let what =
                format!("leasehold-core may depend on base64, serde, serde_json, not on `{name}`");
            problems.push(Problem::new(&file.path, entry.line, what));
        }
        let source = if dependency.is_shared() {
            shared.iter().find(|e| e.key == name).map_or("", |e| e.value.as_str())
        } else {
            dependency.source
        };
        let has_version = source.starts_with('"') || source.contains("version =");
        let may_lack_version =
            source.contains("path =") && (dependency.kind == "dev-dependencies" || !is_published);
        if !has_version && !may_lack_version {
            let what =
                format!("`{name}` has no version: only a dev-dependency by path may lack it");
            problems.push(Problem::new(&file.path, entry.line, what));
        }
    }
    problems
}

/// A mirror that one machine uses must not become everybody's.
fn check_lock(file: &File) -> Vec<Problem> {
    entries(&file.text)
        .iter()
        .filter(|entry| entry.key == "source" && entry.value.trim_matches('"') != DEFAULT_REGISTRY)
        .map(|entry| {
            let what = format!("{} is not the default registry", entry.value);
            Problem::new(&file.path, entry.line, what)
        })
        .collect()
}

/// One `key = value` with the `[section]` above it.
#[derive(Debug, PartialEq)]
struct Entry {
    section: String,
    line: usize,
    key: String,
    value: String,
}

struct Dependency<'a> {
    kind: &'a str,
    name: &'a str,
    key_rest: &'a str,
    source: &'a str,
}

impl Dependency<'_> {
    fn is_shared(&self) -> bool {
        self.key_rest == "workspace" || self.source.contains("workspace = true")
    }
}

impl Entry {
    fn dependency(&self) -> Option<Dependency<'_>> {
        let kind = self.section.rsplit('.').next()?;
        if !["dependencies", "dev-dependencies", "build-dependencies"].contains(&kind) {
            return None;
        }
        let (name, key_rest) = self.key.split_once('.').unwrap_or((&self.key, ""));
        Some(Dependency { kind, name, key_rest, source: &self.value })
    }
}

/// The entries of a manifest, each value as it is written, a value of several lines joined.
///
/// A table `[dependencies.NAME]` is given as one entry of `[dependencies]`, like `NAME = { .. }`.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = String::new();
    let mut depth = 0;
    for (at, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if depth > 0 {
            if let Some(open) = entries.last_mut() {
                open.value.push_str(line);
            }
            depth += nesting(line);
        } else if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
            if let Some((kind, name)) = section.rsplit_once('.')
                && kind.ends_with("dependencies")
            {
                let (section, key) = (kind.to_owned(), name.to_owned());
                entries.push(Entry { section, line: at + 1, key, value: String::new() });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            depth = nesting(value);
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            let table = section.rsplit_once('.').filter(|(kind, _)| kind.ends_with("dependencies"));
            if table.is_some()
                && let Some(open) = entries.last_mut()
            {
                open.value.push_str(&[&key, " = ", &value, ", "].concat());
            } else {
                entries.push(Entry { section: section.clone(), line: at + 1, key, value });
            }
        }
    }
    entries
}

fn nesting(text: &str) -> i32 {
    text.chars().fold(0, |depth, c| match c {
        '[' | '{' => depth + 1,
        ']' | '}' => depth - 1,
        _ => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(manifest: &str) -> Vec<String> {
        let shared = entries("[workspace.dependencies]\nours = { path = \"o\" }\ntheirs = \"1\"\n");
        let text = format!("{manifest}\n[lints]\nworkspace = true\n");
        let file = File { path: "crates/a/Cargo.toml".to_owned(), text };
        check_crate(&file, &shared).iter().map(ToString::to_string).collect()
    }

    /// A crate that is published needs a version for everything but what its tests take by path.
    #[test]
    fn a_missing_version_is_found() {
        assert!(problems("[dependencies]\ntheirs.workspace = true").is_empty());
        assert!(problems("[dev-dependencies]\nours.workspace = true").is_empty());
        let private = "[package]\npublish = false\n[dependencies]\nours = { workspace = true }";
        assert!(problems(private).is_empty());
        let found = problems("[dependencies]\nours.workspace = true");
        assert!(found[0].starts_with("crates/a/Cargo.toml:2: `ours` has no version"), "{found:?}");
        assert_eq!(problems("[build-dependencies.x]\ngit = \"g\"\nfeatures = []").len(), 1);
        assert!(problems("[target.x.dependencies.x]\nversion = \"1\"").is_empty());
    }

    /// The core stays pure: a third dependency is refused, one for its tests is not.
    #[test]
    fn the_core_has_two_dependencies() {
        let core = "[package]\nname = \"leasehold-core\"\n";
        let with = |rest: &str| problems(&format!("{core}{rest}"));
        assert!(with("[dependencies]\nserde = \"1\"\nserde_json = \"1\"").is_empty());
        assert!(with("[dev-dependencies]\ntheirs.workspace = true").is_empty());
        assert_eq!(with("[dependencies]\ntheirs = { version = \"1\" }").len(), 1);
    }

    /// Lists over several lines, comments and headings in one small manifest.
    #[test]
    fn manifests_are_read() {
        let found =
            entries("# a\n[features]\nall = [ # b\n  \"x=1\",\n]\n\n[lints]\nworkspace = true");
        let entry = |section: &str, line, key: &str, value: &str| Entry {
            section: section.to_owned(),
            line,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let features = entry("features", 3, "all", "[\"x=1\",]");
        assert_eq!(found, [features, entry("lints", 8, "workspace", "true")]);
    }

    /// A lock file written behind a mirror is refused.
    #[test]
    fn another_registry_is_found() {
        let lock = |source: &str| File {
            path: "Cargo.lock".to_owned(),
            text: format!("[[package]]\nname = \"a\"\nsource = \"{source}\"\n"),
        };
        assert!(check_lock(&lock(DEFAULT_REGISTRY)).is_empty());
        assert_eq!(check_lock(&lock("registry+https://mirror.example/index")).len(), 1);
    }
}
