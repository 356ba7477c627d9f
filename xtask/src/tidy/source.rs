//! The rules for one file: its size, its lines, its functions, its words.

use std::path::Path;

use super::{File, Problem};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CODE_COLUMNS_MAX: usize = 100;
const COMMENT_COLUMNS_MAX: usize = 110;

// The forbidden words are written in two halves, so that this file does not break its own rules.
const UNFINISHED_WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const UNFINISHED_CODE: [&str; 3] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("#[ign", "ore")];
const SLEEPS: [&str; 2] = [concat!("thread::", "sleep"), concat!("time::", "sleep")];
const VAGUE_NAMES: [&str; 3] = ["utils.rs", "helpers.rs", "manager.rs"];
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// Turns that a reader has to think about, and what is said instead. The glossary is in ARCHITECTURE.md.
const RIDDLES: [(&str, &str); 5] = [
    (concat!("to be ", "had"), "free, can be acquired, can be installed"),
    (concat!("none of ", "ours"), "name what it is"),
    (concat!("nothing of ", "ours"), "name the write or the entry"),
    (concat!("to be done ", "once"), "`once`, a run of `once`"),
    (concat!("what is done ", "once"), "`once`, the outcome of `once`"),
];

pub(super) fn check(file: &File) -> Vec<Problem> {
    let mut problems = portable(file);
    let kind = Path::new(&file.path).extension();
    if kind.is_some_and(|kind| kind == "rs" || kind == "md") {
        problems.extend(words(file));
    }
    if kind.is_some_and(|kind| kind == "md") {
        problems.extend(page(file));
    }
    let is_ours =
        ["crates/", "xtask/", "examples/"].iter().any(|folder| file.path.starts_with(folder));
    if is_ours && kind.is_some_and(|kind| kind == "rs") {
        problems.extend(whole_file(file));
        problems.extend(lines(file));
        problems.extend(functions(file));
    }
    problems
}

/// Nothing in the repository may know the machine it was written on.
fn portable(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| starts_a_path(line, path)) {
            let what = format!("`{path}` is a path of one machine");
            problems.push(Problem::new(&file.path, number, what));
        }
        // The lock file must name the default registry, which is checked with the manifests.
        if file.path.ends_with("Cargo.lock") {
            continue;
        }
        if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(*host)) {
            let what = format!("`{host}` is a registry: which one is used is the machine's matter");
            problems.push(Problem::new(&file.path, number, what));
        }
    }
    problems
}

/// The width of a page. A table and what stands in a fence have the width that they need, and so has a word
/// that cannot be broken, such as an address.
fn page(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut fenced = false;
    for (number, line) in numbered(&file.text) {
        let text = line.trim_start();
        let is_fence = text.starts_with("```");
        fenced ^= is_fence;
        let columns = line.chars().count();
        let breaks = text.trim_start_matches(['-', '*', '>', ' ']).contains(' ');
        if columns > CODE_COLUMNS_MAX && breaks && !fenced && !text.starts_with('|') {
            let what = format!("{columns} columns, more than {CODE_COLUMNS_MAX}");
            problems.push(Problem::new(&file.path, number, what));
        }
    }
    problems
}

/// Plain words in comments, messages and pages.
fn words(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in numbered(&file.text) {
        let line = line.to_lowercase();
        if let Some((turn, plain)) = RIDDLES.iter().find(|(turn, _)| line.contains(turn)) {
            let what = format!("`{turn}` is a riddle: say it plainly ({plain})");
            problems.push(Problem::new(&file.path, number, what));
        }
    }
    problems
}

fn whole_file(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !file.text.starts_with("//!") {
        let what = "a source file starts with a `//!` line that says what it is for";
        problems.push(Problem::new(&file.path, 1, what));
    }
    let count = file.text.lines().count();
    if count > FILE_LINES_MAX {
        let what = format!("{count} lines, more than {FILE_LINES_MAX}: split the file");
        problems.push(Problem::new(&file.path, count, what));
    }
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if VAGUE_NAMES.contains(&name) {
        let what = format!("`{name}` says nothing: name the file after what is in it");
        problems.push(Problem::new(&file.path, 1, what));
    }
    problems
}

fn lines(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut in_tests = file.path.contains("/tests/");
    for (number, line) in numbered(&file.text) {
        let mut problem = |what: String| problems.push(Problem::new(&file.path, number, what));
        let is_comment = line.trim_start().starts_with("//");
        let limit = if is_comment { COMMENT_COLUMNS_MAX } else { CODE_COLUMNS_MAX };
        let columns = line.chars().count();
        if columns > limit {
            problem(format!("{columns} columns, more than {limit}"));
        }
        if let Some(word) = UNFINISHED_WORDS.iter().find(|word| contains_word(line, word)) {
            problem(format!("`{word}`: finish it, or open an issue"));
        }
        if let Some(code) = UNFINISHED_CODE.iter().find(|code| line.contains(*code)) {
            problem(format!("`{code}`: nothing unfinished and no ignored test"));
        }
        in_tests |= line == "#[cfg(test)]";
        if in_tests && let Some(sleep) = SLEEPS.iter().find(|sleep| line.contains(*sleep)) {
            problem(format!("`{sleep}` in a test: wait for the event itself"));
        }
    }
    problems
}

fn functions(file: &File) -> Vec<Problem> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut problems = Vec::new();
    for start in 0..lines.len() {
        if !starts_function(lines[start]) {
            continue;
        }
        let count = function_lines(&lines[start..]);
        if count > FUNCTION_LINES_MAX {
            let what = format!("a function of {count} lines, more than {FUNCTION_LINES_MAX}");
            problems.push(Problem::new(&file.path, start + 1, what));
        }
    }
    problems
}

fn starts_function(line: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    let is_qualifier = |word: &str| {
        ["pub", "const", "async", "unsafe", "extern"].contains(&word)
            || word.starts_with("pub(")
            || word.starts_with('"')
            || word.ends_with(')') && !word.contains('(')
    };
    while words.next_if(|word| is_qualifier(word)).is_some() {}
    words.next() == Some("fn") && words.next().is_some()
}

/// How many lines the function takes that starts on the first of `lines`. It leans on rustfmt: a body of
/// more than one line ends with a `}` at the indent of its first line.
fn function_lines(lines: &[&str]) -> usize {
    let margin = indent(lines[0]);
    let mut in_body = false;
    for (at, line) in lines.iter().enumerate() {
        let ends_here = if in_body {
            indent(line) == margin && line.trim_start().starts_with('}')
        } else {
            // A declaration without a body, or a body on one line.
            line.ends_with(';') || line.ends_with('}')
        };
        if ends_here {
            return at + 1;
        }
        in_body |= line.ends_with('{');
    }
    lines.len()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn contains_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// Whether `line` has `path` where an absolute path starts, not in the middle of a longer one.
fn starts_a_path(line: &str, path: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_.-~})".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).iter().map(ToString::to_string).collect()
    }

    fn function_of(lines: usize) -> String {
        let body = "    work();\n".repeat(lines - 2);
        format!("//! A file.\npub(crate) async fn long() {{\n{body}}}\n")
    }

    /// A function at the limit passes, one line more does not, and the message says where it starts.
    #[test]
    fn a_long_function_is_found() {
        assert!(problems("crates/a/src/b.rs", &function_of(FUNCTION_LINES_MAX)).is_empty());
        let found = problems("crates/a/src/b.rs", &function_of(FUNCTION_LINES_MAX + 1));
        assert_eq!(found, ["crates/a/src/b.rs:2: a function of 71 lines, more than 70"]);
    }

    /// The shapes rustfmt leaves: on one line, without a body, with the body far below the name.
    #[test]
    fn functions_of_every_shape_are_measured() {
        let count = |text: &str| function_lines(&text.lines().collect::<Vec<_>>());
        assert_eq!(count("fn a() {}\nfn b() {\n}"), 1);
        assert_eq!(count("    fn a(&self) -> u8;\n    fn b();"), 1);
        assert_eq!(count("    fn a(\n        &self,\n    ) -> u8;\n\n    fn b() {\n    }"), 3);
        assert_eq!(count("fn a<T>(t: T)\nwhere\n    T: Copy,\n{\n    if t {\n    }\n}\n}"), 7);
    }

    /// What starts a function, and what only talks about one.
    #[test]
    fn functions_are_recognised() {
        for line in ["fn a() {", "    pub(super) const fn a() {", "pub async unsafe fn a<T>("] {
            assert!(starts_function(line), "{line}");
        }
        for line in ["// fn a() {", "let f: fn(u8) = g;", "    work: impl Fn() -> T,", "fn"] {
            assert!(!starts_function(line), "{line}");
        }
    }

    /// Comments may be a little wider than code; characters are counted, not bytes.
    #[test]
    fn wide_lines_are_found() {
        let file = |line: &str| format!("//! A file.\n{line}\n");
        let comment = |columns: usize| file(&format!("// {}", "é".repeat(columns - 3)));
        let code = |columns: usize| file(&format!("{};", "é".repeat(columns - 1)));
        assert!(problems("xtask/src/b.rs", &code(100)).is_empty());
        assert!(problems("xtask/src/b.rs", &comment(110)).is_empty());
        let found = problems("xtask/src/b.rs", &code(101));
        assert_eq!(found, ["xtask/src/b.rs:2: 101 columns, more than 100"]);
        let found = problems("xtask/src/b.rs", &comment(111));
        assert_eq!(found, ["xtask/src/b.rs:2: 111 columns, more than 110"]);
    }

    /// A word is a word, not a part of one.
    #[test]
    fn unfinished_work_is_found() {
        let [word, ..] = UNFINISHED_WORDS;
        assert_eq!(problems("crates/a/src/b.rs", &format!("//! {word}: later\n")).len(), 1);
        assert!(problems("crates/a/src/b.rs", &format!("//! {word}S and MA{word}\n")).is_empty());
        for code in UNFINISHED_CODE {
            assert_eq!(problems("crates/a/src/b.rs", &format!("//! A\n{code}\n")).len(), 1);
        }
    }

    /// Sleeping is for the library to do, in one place; a test waits for what it waits for.
    #[test]
    fn sleep_is_found_in_tests_only() {
        let [sleep, _] = SLEEPS;
        let text = format!("//! A\n{sleep}();\n");
        assert!(problems("crates/a/src/env.rs", &text).is_empty());
        assert_eq!(problems("crates/a/tests/it/main.rs", &text).len(), 1);
        let text = format!("//! A\n#[cfg(test)]\n{sleep}();\n");
        assert_eq!(problems("crates/a/src/b.rs", &text).len(), 1);
    }

    /// Prose that runs on is found; a table, a command and an address may be as wide as they are.
    #[test]
    fn wide_prose_is_found() {
        let wide = "word ".repeat(21);
        let count = |text: String| page(&File { path: "docs/a.md".into(), text }).len();
        assert_eq!(count(format!("{wide}\n")), 1);
        assert_eq!(count(format!("```sh\n{wide}\n```\n{wide}\n")), 1);
        assert_eq!(count(format!("| {wide} |\n")), 0);
        assert_eq!(count(format!("- {}\n", "x".repeat(120))), 0);
    }

    /// A turn of old is found in a page and in a comment, at the start of a sentence too.
    #[test]
    fn riddles_are_found() {
        for (path, line) in [("docs/a.md", "Nothing of "), ("crates/a/src/b.rs", "/// nothing of ")]
        {
            let found = words(&File { path: path.into(), text: format!("{line}ours is left.\n") });
            assert_eq!(found.len(), 1, "{path}");
        }
        let plain = File { path: "docs/a.md".into(), text: "The lock is free.\n".into() };
        assert!(words(&plain).is_empty());
    }

    /// A folder that happens to have the name is no machine's path.
    #[test]
    fn machine_paths_are_found_in_every_file() {
        let [path, _] = MACHINE_PATHS;
        assert_eq!(problems("docs/a.md", &format!("see {path}x\n")).len(), 1);
        assert_eq!(problems("docs/a.md", &format!("file://{path}x\n")).len(), 1);
        assert!(problems("docs/a.md", &format!("see the{path}x\n")).is_empty());
    }
}
