//! We are killed or stopped at random moments, and never do two sections overlap.

use rustix::process::Signal;

use crate::world::{Running, World, moment};

/// A section that notes all its processes, one of which left group and family.
const VICTIM: &str = "
    echo $$ >>pids
    (setsid sh -c 'echo $$ >>pids; echo up; exec sleep 1000' &)
    sh -c 'echo $$ >>pids; exec sleep 1000' &
    wait";

/// A section that looks whether any of them runs.
const RIVAL: &str = r#"
    for pid in $(cat pids 2>/dev/null); do
        state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' /proc/$pid/status 2>/dev/null)
        case $state in ''|Z|X) ;; *) echo "alive: $pid $state" ;; esac
    done
    echo looked"#;

fn try_once(world: &World, ttl: &str, signal: Signal, after_ms: u32, await_up: bool) {
    let _ = std::fs::remove_file(world.path("pids"));
    let mut victim = world.start(&["run", "x", "--ttl", ttl, "--", "sh", "-c", VICTIM]);
    if await_up {
        victim.await_line("up");
    }
    let rival = Running::of(world.leasehold(&["run", "x", "-w", "50s", "--", "sh", "-c", RIVAL]));
    moment(after_ms);
    victim.signal(signal);
    let seen = rival.end().expect(0);
    assert_eq!(seen.out, "looked\n", "after {after_ms} ms: {seen:?}");
    victim.kill();
}

#[test]
fn killed_at_any_moment_nothing_of_us_outlives_the_lock() {
    let world = World::new();
    // Without waiting for `up` the signal may hit any step of the start.
    for round in 0..24 {
        try_once(&world, "20s", Signal::KILL, round * 2, false);
    }
    for round in 0..8 {
        try_once(&world, "20s", Signal::KILL, round * 5, true);
    }
}

#[test]
fn stopped_at_any_moment_nothing_of_us_outlives_the_lease() {
    let world = World::new();
    for round in 0..4 {
        try_once(&world, "1s", Signal::STOP, round * 11, false);
        try_once(&world, "1s", Signal::STOP, round * 150, true);
    }
}

#[test]
fn many_processes_count_to_the_right_number() {
    // Each reads the number and writes the next one: two at a time would lose a count.
    // A debug build is slow, and thousands of its starts try everybody's patience.
    let (processes, rounds) = (32, if cfg!(debug_assertions) { 10 } else { 50 });
    let world = World::new();
    world.write("count", "0\n");
    let script = format!(
        "for i in $(seq {rounds}); do
            leasehold run counter -- sh -c 'read n <count; echo $((n + 1)) >count' || exit
        done"
    );
    let all: Vec<_> = (0..processes).map(|_| Running::of(world.script("sh", &script))).collect();
    for one in all {
        one.end().expect(0);
    }
    assert_eq!(world.read("count").trim(), (processes * rounds).to_string());
}
