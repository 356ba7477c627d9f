//! Short runs in which the runner of `leasehold once` is killed, again and again.

use std::fs;

use leasehold_servers::gcs::Fake;

use crate::harness::{Said, impostor, leasehold, run};

fn hurt(program: &str, more: &[&str]) -> Said {
    let words = ["--once", "--processes", "6", "--ttl", "1s,2s", "--leasehold", program];
    run(&[&words[..], more].concat())
}

#[track_caller]
fn acquitted(said: &Said) {
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert_eq!(said.count("violations"), 0);
    assert!(said.row("sections").split("resumed ").any(|n| n != "0"), "{}", said.out);
    assert!(said.count("completions") > 0, "{}", said.out);
    assert!(!said.logs().exists(), "nothing is kept of a run in which nothing was violated");
}

/// Whoever does the work is killed twenty times, alone, with its keeper, and with all that is its. Each
/// next one goes on where it died: no step is done twice but the one in flight, each key is completed
/// once, and whoever asks later finds it done.
#[test]
fn killed_twenty_times_each_key_is_completed_once() {
    let program = leasehold().to_str().expect("a path of ours");
    let said = hurt(program, &["--kills", "20", "--seed", "31"]);
    acquitted(&said);
    assert_eq!(said.count("kills of the runner"), 20);
}

/// The same on a bucket, where nobody sees a process die and the lease has to run out.
#[test]
fn on_a_bucket_too() {
    let fake = Fake::start();
    fake.make_bucket("chaos");
    let program = leasehold().to_str().expect("a path of ours");
    let url = fake.url("chaos/once");
    let said = hurt(program, &["--kills", "3", "--seed", "32", "--backend", &url]);
    acquitted(&said);
    assert_eq!(said.count("kills of the runner"), 3);
}

/// Says that it is `leasehold`: locks, by the kernel's lock, counts tokens, and does what is said of it.
#[track_caller]
fn convict(name: &str, checkpoint: &str, run_it: &str, of: &str) {
    let script = format!(
        r#"
if [ "$1" = checkpoint ]; then {checkpoint}; fi
key=$4; shift 7
exec 9>lock; flock 9
n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n >n
LEASEHOLD_TOKEN=$n; LEASEHOLD_ATTEMPT=1; LEASEHOLD_KEY=$key
export LEASEHOLD_TOKEN LEASEHOLD_ATTEMPT LEASEHOLD_KEY
{run_it}"#
    );
    let program = impostor(name, &script);
    let said = hurt(program.to_str().expect("a path of ours"), &["--kills", "2", "--seed", "33"]);
    assert_eq!(said.code, Some(1), "{name} was acquitted: {}", said.out);
    assert!(said.out.contains(of), "{name} was not convicted of {of:?}: {}", said.out);
    fs::remove_dir_all(said.logs()).expect("the logs were kept");
}

/// It runs one after the other, and does not remember that it was done.
#[test]
fn who_does_it_again_is_convicted() {
    let checkpoint = r#"[ "$2" = set ]; exit"#;
    convict("once-again", checkpoint, r#""$@""#, "ran again at");
}

/// It remembers what was done, and not how far a run came that died.
#[test]
fn who_begins_anew_is_convicted() {
    let checkpoint = r#"[ "$2" = set ]; exit"#;
    let run_it = r#"
[ -e "done-$key" ] && exit 0
[ -e "begun-$key" ] && { LEASEHOLD_RESUMED=$(cat "begun-$key"); export LEASEHOLD_RESUMED; }
echo $n >"begun-$key"
"$@" && : >"done-$key""#;
    convict("once-anew", checkpoint, run_it, "goes on at step 1 after step");
}
