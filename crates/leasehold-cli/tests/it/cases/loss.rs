//! The lock is lost while the command runs: it is over before the lease is.

use std::os::unix::process::ExitStatusExt;

use rustix::process::{Signal, kill_process};

use crate::world::{keeper, moment, runs, until};

#[test]
fn break_ends_the_command_with_79() {
    let Some(world) = super::world() else { return };
    let script = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = world.start(&["run", "x", "--ttl", "3s", "--", "sh", "-c", script]);
    run.await_line("up");
    world.run(&["break", "x", "--reason", "evil \x1b]0;owned\x07 reason"]).expect(0);
    run.await_line("asked");
    let seen = run.end().expect(79);
    assert!(seen.err.contains("force-released") && !seen.err.contains('\x1b'), "{seen:?}");
}

#[test]
fn what_does_not_end_is_killed_with_all_it_started() {
    // Deaf to SIGTERM; one grandchild left the group and the family, another is stopped.
    let Some(world) = super::world() else { return };
    let script = "
        trap '' TERM
        (setsid sh -c 'echo $$; exec sleep 1000' &)
        sh -c 'echo $$; kill -STOP $$' &
        echo $$
        while :; do sleep 1000; done";
    let words = ["run", "x", "--ttl", "2s", "--grace", "0.2", "--", "sh", "-c", script];
    let mut run = world.start(&words);
    let pids = [run.line(), run.line(), run.line()];
    world.run(&["break", "x", "--reason", "test"]).expect(0);
    run.end().expect(79);
    assert_eq!(pids.iter().filter(|pid| runs(pid)).count(), 0, "{pids:?}");
}

#[test]
fn everybody_has_the_grace_to_clean_up() {
    // The command dies of SIGTERM at once, its child needs a moment to clean up.
    let Some(world) = super::world() else { return };
    let script = r#"
        sh -c 'trap "sleep 0.2; echo clean; exit" TERM; echo up; while :; do sleep 0.01; done' &
        wait"#;
    let mut run = world.start(&["run", "x", "--ttl", "6s", "--", "sh", "-c", script]);
    run.await_line("up");
    world.run(&["break", "x", "--reason", "test"]).expect(0);
    run.await_line("clean");
    run.end().expect(79);
}

#[test]
fn a_store_that_goes_away_ends_the_command_in_time() {
    // No renewal gets through any more.
    let Some(world) = super::world() else { return };
    let script = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done";
    // There is time for a renewal to fail before the command is asked to end.
    let words = ["run", "x", "--ttl", "6s", "--grace", "1s", "--", "sh", "-c", script];
    let mut run = world.start(&words);
    run.await_line("up");
    world.store().take_away();
    run.await_line("asked");
    let seen = run.end().expect(79);
    // It says why: of a directory what is wrong with it, of a server that it does not answer.
    let why = seen.err.split_once("not be renewed in time: ").map_or("", |(_, why)| why);
    let what = if world.notices_deaths() { "store" } else { "no answer within" };
    assert!(why.contains(what), "{seen:?}");
}

#[test]
fn a_stop_beyond_the_lease_kills_the_command_while_we_are_stopped() {
    let Some(world) = super::world() else { return };
    let script = "sh -c 'echo $$; exec sleep 1000' & echo $$; wait";
    let mut run = world.start(&["run", "x", "--ttl", "1s", "--", "sh", "-c", script]);
    let pids = [run.line(), run.line()];
    run.signal(Signal::STOP);
    until("the command is dead", || !pids.iter().any(|pid| runs(pid)));
    // The rival gets the lock by the end of the lease, while we are still stopped.
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
    run.signal(Signal::CONT);
    let seen = run.end().expect(79);
    assert!(!seen.err.is_empty());
}

#[test]
fn a_short_stop_does_no_harm() {
    let Some(world) = super::world() else { return };
    let mut run =
        world.start(&["run", "x", "--ttl", "5s", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    run.await_line("up");
    run.signal(Signal::STOP);
    moment(100);
    run.signal(Signal::CONT);
    run.signal(Signal::TERM);
    run.end().expect(143);
}

#[test]
fn without_its_keeper_no_command_runs() {
    let Some(world) = super::world() else { return };
    let mut run = world.start(&["run", "x", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    run.await_line("up");
    kill_process(keeper(&run), Signal::KILL).expect("it runs");
    let seen = run.end().expect(79);
    assert!(seen.err.contains("keeper"), "{seen:?}");
    world.run(&["run", "-n", "x", "--", "true"]).expect(0);
}

#[test]
fn the_end_of_the_outer_section_is_the_end_of_the_inner_one() {
    // The inner lock's processes have another holder id and, here, no parent that lives.
    let Some(world) = super::world() else { return };
    let inner = "(setsid sh -c 'echo $$; exec sleep 1000' &) ; echo up; exec sleep 1000";
    let outer = format!("leasehold run inner -- sh -c \"{}\"", inner.replace('$', "\\$"));
    let mut run = world.start(&["run", "outer", "--ttl", "3s", "--", "sh", "-c", &outer]);
    let lines = [run.line(), run.line()];
    let pid = lines.iter().find(|line| *line != "up").expect("a pid").clone();
    let status = run.kill();
    assert_eq!(status.signal(), Some(9));
    // Whoever gets the outer lock finds nothing running of either section.
    let check =
        format!("grep -q '^State:[[:space:]]*[^ZX[:space:]]' /proc/{pid}/status && echo alive");
    let seen = world.run(&["run", "outer", "-w", "50s", "--", "sh", "-c", &check]);
    assert_eq!(seen.out, "", "{seen:?}");
}
