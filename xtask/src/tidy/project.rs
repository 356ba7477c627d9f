//! The rules across files: which pages exist, and that a backend's file, page and tests share one name.

use std::os::unix::fs::PermissionsExt;

use super::{Problem, Tree};

const PAGES: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    ".ci/run",
];
const BACKENDS: &str = "crates/leasehold/src/backend/";
/// What several backends share, and is none.
const SHARED: [&str; 1] = ["http"];
const BACKEND_TESTS: &str = "crates/leasehold/tests/it/";
const BACKEND_HEADINGS: [&str; 7] = [
    "## Example",
    "## What it guarantees",
    "## What it cannot do",
    "## Cost",
    "## Options",
    "## Permissions",
    "## How it is tested",
];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for page in PAGES.into_iter().filter(|page| tree.get(page).is_none()) {
        problems.push(Problem::new(page, 1, "the file is missing"));
    }
    problems.extend(backends(tree));
    problems.extend(changelog(tree));
    let script = tree.root.join(".ci/run");
    if script.metadata().is_ok_and(|about| about.permissions().mode() & 0o111 == 0) {
        problems.push(Problem::new(".ci/run", 1, "the script is not executable"));
    }
    problems
}

fn backends(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix(BACKENDS).and_then(|f| f.strip_suffix(".rs"))
        else {
            continue;
        };
        // Parts of one backend may live in a folder of its name.
        if name == "mod" || name.contains('/') || SHARED.contains(&name) {
            continue;
        }
        let page = format!("docs/backends/{name}.md");
        match tree.get(&page) {
            None => problems.push(Problem::new(&file.path, 1, format!("{page} is missing"))),
            Some(found) => {
                let lacks = |heading: &&str| !found.text.lines().any(|line| line == *heading);
                for heading in BACKEND_HEADINGS.into_iter().filter(lacks) {
                    problems.push(Problem::new(&page, 1, format!("no heading `{heading}`")));
                }
            }
        }
        let is_tested = tree.files.iter().any(|test| {
            test.path.strip_prefix(BACKEND_TESTS).is_some_and(|test_name| {
                test_name == format!("{name}.rs") || test.text.contains(&format!("{name}://"))
            })
        });
        if !is_tested {
            let what = format!("no test in {BACKEND_TESTS} uses {name}");
            problems.push(Problem::new(&file.path, 1, what));
        }
    }
    problems
}

fn changelog(tree: &Tree) -> Option<Problem> {
    let version = tree.get("Cargo.toml")?.text.lines().find_map(|line| {
        line.strip_prefix("version = \"").and_then(|rest| rest.strip_suffix('"'))
    })?;
    let headings = [format!("## {version}"), "## Unreleased".to_owned()];
    let changelog = tree.get("CHANGELOG.md")?;
    let is_current = |line: &str| headings.iter().any(|heading| line.starts_with(heading));
    if changelog.text.lines().any(is_current) {
        return None;
    }
    Some(Problem::new("CHANGELOG.md", 1, format!("no heading for {version} and no `Unreleased`")))
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let tree = Tree { root: "/nowhere".into(), files: files.iter().map(file).collect() };
        check(&tree).iter().map(ToString::to_string).collect()
    }

    /// A backend appears; until its page and its tests do, each is asked for.
    #[test]
    fn a_backend_needs_a_page_and_tests() {
        let source = ("crates/leasehold/src/backend/gcs.rs", "");
        let about_gcs = |files: &[(&str, &str)]| {
            problems(files).into_iter().filter(|p| p.contains("gcs")).collect::<Vec<_>>()
        };
        assert_eq!(about_gcs(&[source]).len(), 2);
        let headings = BACKEND_HEADINGS.join("\n\n");
        let page = ("docs/backends/gcs.md", headings.as_str());
        let tests = ("crates/leasehold/tests/it/gcs.rs", "");
        assert!(about_gcs(&[source, page, tests]).is_empty());
        let found = about_gcs(&[source, ("docs/backends/gcs.md", &headings[10..]), tests]);
        assert_eq!(found, ["docs/backends/gcs.md:1: no heading `## Example`"]);
    }

    /// The version moves on; the changelog has to follow.
    #[test]
    fn the_changelog_knows_the_version() {
        let manifest = ("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n");
        let about_it = |text| {
            let files = [manifest, ("CHANGELOG.md", text)];
            problems(&files).into_iter().filter(|p| p.starts_with("CHANGELOG.md")).count()
        };
        assert_eq!(about_it("# Changelog\n\n## 0.1.0\n"), 1);
        assert_eq!(about_it("# Changelog\n\n## 0.2.0\n"), 0);
        assert_eq!(about_it("# Changelog\n\n## Unreleased\n"), 0);
    }
}
