//! The completion of a run of `once`, on a bucket that lies about what it did. Nothing is
//! done twice, and nothing that was done is ever taken for failed.

use std::process::Stdio;
use std::time::Duration;

use leasehold_servers::gcs::{Fake, Fault, Rule, When};

use crate::store::{BUCKET, Store};
use crate::world::{Running, World};

#[test]
fn a_completion_whose_answer_is_lost_is_done() {
    let faults = [
        Fault::LoseAnswer,
        Fault::Truncate,
        Fault::Close,
        Fault::Hang { done: true },
        Fault::Late(Duration::from_millis(300)),
        Fault::Answer { code: 500, retry_after: None, done: true },
        Fault::Answer { code: 429, retry_after: Some(1), done: true },
        Fault::Answer { code: 412, retry_after: None, done: true },
        Fault::Answer { code: 503, retry_after: None, done: false },
    ];
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let fake = Fake::start();
                fake.make_bucket(BUCKET);
                let world = World::on(Store::in_bucket(fake.address()));
                for (end, code) in [("exit 0", 0), ("exit 3", 3)] {
                    let script = format!("echo $LEASEHOLD_ATTEMPT; read line; {end}");
                    let words = ["once", end, "--max-attempts", "1", "--ttl", "6s", "--"];
                    let mut command =
                        world.leasehold(&[&words[..], &["sh", "-c", &script]].concat());
                    command.stdin(Stdio::piped());
                    let mut run = Running::of(command);
                    run.await_line("1");
                    let rule = Rule { when: When::Overwrite, times: Some(1), fault: fault.clone() };
                    fake.script(rule);
                    run.write("\n");
                    run.end().expect(code);
                    let seen = world.run(&["status", end]).expect(0);
                    let (state, failed) = if code == 0 { ("done", 0) } else { ("failed", 1) };
                    assert!(
                        seen.out.contains(&format!("state      {state}")),
                        "{fault:?}: {seen:?}"
                    );
                    assert!(
                        seen.out.contains(&format!("({failed} failed)")),
                        "{fault:?}: {seen:?}"
                    );
                }
            });
        }
    });
}
