//! Whether worlds that are said to be alike are alike: the space is finite only because of that, and
//! a difference that is overlooked would hide schedules.

use std::collections::{BTreeSet, HashMap, VecDeque};

use leasehold_model::{Bounds, World, essence};

/// What can come next, up to likeness.
fn nexts(world: &World, bounds: &Bounds) -> BTreeSet<(u64, bool)> {
    let next = |action| {
        let after = world.after(action, bounds);
        (essence(&after, bounds), after.broken.is_some())
    };
    world.actions(bounds).into_iter().map(next).collect()
}

/// Meets every world on every way, not only the first of those that are alike, and compares what can
/// happen next in each with what can happen next in the first.
fn compare(bounds: &Bounds) -> usize {
    let first = World::new(bounds);
    let mut known = HashMap::from([(essence(&first, bounds), nexts(&first, bounds))]);
    let mut queue = VecDeque::from([first]);
    while let Some(world) = queue.pop_front() {
        for action in world.actions(bounds) {
            let after = world.after(action, bounds);
            assert_eq!(after.broken, None);
            let number = essence(&after, bounds);
            let comes = nexts(&after, bounds);
            match known.get(&number) {
                None => {
                    known.insert(number, comes);
                    queue.push_back(after);
                }
                Some(other) => {
                    let alike = *other == comes;
                    assert!(alike, "after {action:?} two worlds are not alike: {after:#?}");
                }
            }
        }
    }
    known.len()
}

/// A field of an acquisition matters and the description leaves it out, or a span is cut too short.
/// Then two worlds with one description go different ways.
#[test]
fn worlds_that_are_said_to_be_alike_go_the_same_ways() {
    let quiet = Bounds { memory: true, ..Bounds::CALM };
    let more = Bounds { never_sent: true, hints: true, looks: true, ..quiet };
    for bounds in [quiet, more] {
        assert!(compare(&bounds) > 10_000);
    }
}
