//! We are killed or stopped at random moments, and never do two sections overlap.

use leasehold::env::{Env, Host};
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

/// A moment nobody chose, up to this many milliseconds.
fn random(below: u32) -> u32 {
    u32::try_from(Host.unique() % u128::from(below)).expect("below a u32")
}

/// Does the same in a few worlds at once, because each time takes as long as a lease where a death is
/// not noticed.
fn at_once(worlds: usize, act: impl Fn(&World) + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..worlds {
            scope.spawn(|| {
                let Some(world) = super::world() else { return };
                act(&world);
            });
        }
    });
}

/// A lock whose holder was killed is taken over at once, where the store notices it, so whatever of it
/// still runs would run beside the next section. No peer of ours survives this.
#[test]
fn killed_at_any_moment_nothing_of_us_outlives_the_lock() {
    let Some(world) = super::world() else { return };
    // Without waiting for `up` the signal may hit any step of the start.
    let kill = |world: &World, rounds: u32, start_ms: u32| {
        for round in 0..rounds {
            let ready = round % 3 == 2;
            let after_ms = random(if ready { 40 } else { start_ms });
            try_once(world, world.mortal_ttl(), Signal::KILL, after_ms, ready);
        }
    };
    match world.notices_deaths() {
        true => kill(&world, 72, 60),
        // The start takes longer there.
        false => at_once(6, |world| kill(world, 3, 150)),
    }
}

/// A holder that is stopped renews nothing and kills nothing: its keeper has to, before the ttl lets
/// the next one in.
#[test]
fn stopped_at_any_moment_nothing_of_us_outlives_the_lease() {
    let Some(world) = super::world() else { return };
    let rounds = if world.notices_deaths() { 7 } else { 4 };
    at_once(4, |world| {
        for round in 0..rounds {
            let ready = round % 2 == 0;
            let after_ms = random(if ready { 700 } else { 60 });
            try_once(world, "2s", Signal::STOP, after_ms, ready);
        }
    });
}

/// Each section reads the number and writes the next one, so two at a time would lose a count; and
/// each notes its token and when it began and ended, by one clock. Half of them share nothing with
/// the other half but the store, as on another host.
#[test]
fn many_processes_count_to_the_right_number() {
    let Some(world) = super::world() else { return };
    // Where nobody is told that the lock is free, all ask again and again.
    let (processes, rounds) = if world.notices_deaths() { (32, 50) } else { (8, 10) };
    world.write("count", "0\n");
    world.write(
        "section",
        "begun=$(date +%s%N)
        read n <count; echo $((n + 1)) >count
        echo $LEASEHOLD_TOKEN $begun $(date +%s%N) >>log\n",
    );
    let script =
        format!("for i in $(seq {rounds}); do leasehold run counter -- sh ./section || exit; done");
    let host = |n: usize| {
        let mut command = world.script("sh", &script);
        let runtime = world.path(["run", "run-of-another-host"][n % 2]);
        std::fs::create_dir_all(&runtime).expect("there is room");
        command.env("XDG_RUNTIME_DIR", runtime);
        command
    };
    let all: Vec<_> = (0..processes).map(|n| Running::of(host(n))).collect();
    for one in all {
        one.end().expect(0);
    }
    assert_eq!(world.read("count").trim(), (processes * rounds).to_string());
    let log = world.read("log");
    let sections: Vec<Vec<u64>> = log
        .lines()
        .map(|line| line.split(' ').map(|n| n.parse().expect("a number")).collect())
        .collect();
    assert_eq!(sections.len(), processes * rounds);
    for pair in sections.windows(2) {
        let [before, after] = pair else { unreachable!("windows of two") };
        assert!(after[0] > before[0], "tokens do not rise: {pair:?}");
        assert!(after[1] >= before[2], "two sections overlap: {pair:?}");
    }
}
