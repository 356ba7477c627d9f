//! Programs that say they are `leasehold` and are not: the harness must convict each, of what it did.

use std::fs;

use crate::harness::{Said, impostor, run};

/// What every impostor does first: find the name, and the command behind `--`.
const COMMAND: &str = r#"
[ "$1" = run ] || { echo '{'; echo '  "outcome": "was-free"'; echo '}'; exit 0; }
name=$2
while [ "$1" != -- ]; do shift; done
shift
LEASEHOLD_HOLDER=$$; export LEASEHOLD_HOLDER
"#;

#[track_caller]
fn convict(name: &str, script: &str, of: &str) -> Said {
    let program = impostor(name, &format!("{COMMAND}\n{script}"));
    let program = program.to_str().expect("a path of ours");
    let words =
        ["--for", "1s", "--names", "1", "--ttl", "1s", "--no-freeze", "--leasehold", program];
    let said = run(&words);
    assert_eq!(said.code, Some(1), "{name} was acquitted: {}", said.out);
    assert!(said.out.contains(of), "{name} was not convicted of {of:?}: {}", said.out);
    // What a person needs to go on: the logs, and the command to repeat it.
    let logs = said.logs();
    assert!(
        logs.join("chaos-0.log").exists() && said.out.contains("cargo xtask chaos --for 1000ms")
    );
    fs::remove_dir_all(logs).expect("the logs were kept");
    said
}

/// It runs the command and locks nothing.
#[test]
fn no_lock_at_all_is_an_overlap() {
    let script = "LEASEHOLD_TOKEN=$(date +%s%N); export LEASEHOLD_TOKEN; exec \"$@\"";
    let said = convict("no-lock", script, "sections overlap");
    assert!(said.count("overlaps") > 0, "{}", said.out);
}

/// It locks, by the kernel's lock, and every holder has the same token.
#[test]
fn a_token_for_two_is_seen() {
    let script = r#"
exec 9>"$TMPDIR/../$name"; flock 9
LEASEHOLD_TOKEN=7; export LEASEHOLD_TOKEN; exec "$@""#;
    convict("same-token", script, "token 7 was given twice");
}

/// It locks, and counts its tokens down.
#[test]
fn a_token_that_falls_is_seen() {
    let script = r#"
exec 9>"$TMPDIR/../$name"; flock 9
n=$(cat "$TMPDIR/../$name.n" 2>/dev/null || echo 1000000)
echo $((n - 1)) >"$TMPDIR/../$name.n"
LEASEHOLD_TOKEN=$n; export LEASEHOLD_TOKEN; exec "$@""#;
    convict("falling-token", script, "the token went back");
}

/// It locks and counts, and says that all went well whatever the command said.
#[test]
fn a_swallowed_exit_code_is_seen() {
    let script = r#"
exec 9>"$TMPDIR/../$name"; flock 9
LEASEHOLD_TOKEN=$(date +%s%N); export LEASEHOLD_TOKEN; "$@"; exit 0"#;
    convict("swallowed-code", script, "exit code 0, and its command ended with");
}

/// It locks and counts, and lets the command live on when it is told to end.
#[test]
fn a_command_that_is_left_running_is_seen() {
    let script = r#"
exec 9>"$TMPDIR/../$name"; flock 9
LEASEHOLD_TOKEN=$(date +%s%N); export LEASEHOLD_TOKEN; "$@" & sleep 0.1; exit 79"#;
    convict("left-running", script, "and left");
}

/// It locks and counts, and leaves a file behind each time.
#[test]
fn files_that_pile_up_are_seen() {
    let script = r#"
exec 9>"$TMPDIR/../$name"; flock 9; : >"$TMPDIR/left-$$"
LEASEHOLD_TOKEN=$(date +%s%N); export LEASEHOLD_TOKEN; exec "$@""#;
    convict("litter", script, "/tmp/left-");
}
