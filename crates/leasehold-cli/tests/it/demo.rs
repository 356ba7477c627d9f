//! A demo that goes wrong says so.

use leasehold_servers::gcs::{Fake, Fault, Rule, When};
use rustix::process::{Signal, kill_process};

use crate::world::{World, children, until};

/// On a store that ignores what a write is conditioned on, several win. The demo shows it and fails: one
/// that always says that all is well is no demo.
#[test]
fn on_a_store_that_lies_it_says_so() {
    let (world, server) = (World::new(), Fake::start());
    server.make_bucket("acme");
    server.script(Rule { when: When::Write, times: None, fault: Fault::IgnorePrecondition });
    let url = server.url("acme/prod");
    let words = ["demo", "--backend", &url, "--processes", "2", "--clients", "4"];
    let words = [&words[..], &["--rounds", "5", "--for", "100ms"]].concat();
    let seen = world.run(&words).expect(76);
    assert!(seen.out.contains("!!") && seen.out.contains("NOT as promised"), "{seen:?}");
}

/// One of the processes is killed while it races. The account says which one, and that this was not as
/// it should be; the demo ends all the same.
#[test]
fn a_process_that_dies_is_told() {
    let world = World::new();
    let words = ["demo", "--processes", "3", "--clients", "2", "--for", "1s", "--output", "lines"];
    let demo = world.start(&words);
    until("somebody writes", || world.read("lines").contains("round 1"));
    let racing = children(demo.pid());
    assert_eq!(racing.len(), 3, "{racing:?}");
    kill_process(racing[0].0, Signal::KILL).expect("it runs");
    let seen = demo.end().expect(76);
    assert!(seen.out.contains("!! process 1: it ended: signal: 9"), "{seen:?}");
}
