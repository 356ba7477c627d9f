//! `leasehold init`, from outside.

use serde_json::Value;

use crate::world::World;

/// Files need nothing: a script may call `init` for any store, and again.
#[test]
fn files_need_nothing() {
    let world = World::new();
    for words in [&["init", "--dry-run"][..], &["init"], &["init"]] {
        let seen = world.run(words).expect(0);
        let text = format!("{} needs nothing to be made", world.backend());
        assert!(seen.out.starts_with(&text), "{seen:?}");
    }
    let seen = world.run(&["init", "--dry-run", "--json"]).expect(0);
    let value: Value = serde_json::from_str(&seen.out).expect("JSON");
    assert_eq!((&value["ready"], &value["dry_run"]), (&true.into(), &true.into()), "{value}");
    assert_eq!(value["steps"], Value::Array(vec![]), "{value}");
}
