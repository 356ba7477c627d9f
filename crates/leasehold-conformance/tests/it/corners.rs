//! Corners of the check that small histories by chance seldom reach.

use std::time::Duration;

use leasehold_conformance::{Asked, History, Operation, Refusals, Seen, Told};
use leasehold_core::backend::{Expected, Key, Version};

use crate::orders;

/// An operation that is called and answered at these moments.
fn operation(called: u64, answered: u64, asked: Asked, told: Option<Told>) -> Operation {
    let told = told.map(|told| (Duration::from_micros(answered), told));
    let (client, key) = (format!("client {called}"), Key::new("x").expect("a name"));
    Operation { client, key, asked, called: Duration::from_micros(called), told }
}

fn create(bytes: &str) -> Asked {
    Asked::Write { expected: Expected::Absent, bytes: bytes.into() }
}

fn delete(version: &str) -> Asked {
    Asked::Delete { version: Version::new(version) }
}

fn shown(version: &str, bytes: &str) -> Told {
    let seen = Seen { version: Version::new(version), bytes: bytes.into() };
    Told::Shown(Some(seen))
}

fn deleted() -> Told {
    Told::Landed(Expected::Absent)
}

fn is_right(operations: Vec<Operation>) -> bool {
    let history: History = operations.into_iter().collect();
    let is_right = history.check(Refusals::Prove).is_ok();
    assert_eq!(is_right, orders::exist(&history, Refusals::Prove), "what all orders say");
    is_right
}

/// Two creates with the same bytes have no answer, and two deletes of their record neither. It is
/// seen and goes; then something refuses a create, and goes too. It cannot have been the record that
/// came back by the second create: a version never does.
#[test]
fn a_second_create_does_not_bring_a_version_back() {
    let mut operations = vec![
        operation(0, 0, create("same"), None),
        operation(1, 0, create("same"), None),
        operation(2, 0, delete("1"), None),
        operation(3, 0, delete("1"), None),
        operation(4, 5, Asked::Read, Some(shown("1", "same"))),
        operation(6, 7, Asked::Read, Some(Told::Shown(None))),
        operation(8, 9, create("third"), Some(Told::Refused(None))),
    ];
    assert!(is_right(operations.clone()));
    operations.push(operation(10, 11, Asked::Read, Some(Told::Shown(None))));
    assert!(!is_right(operations));
}

/// Two creates with the same bytes, one record that is seen and deleted, and then a third create is
/// refused. That is right: the second create can have made what nobody saw.
#[test]
fn a_second_create_explains_a_refusal() {
    assert!(is_right(vec![
        operation(0, 0, create("same"), None),
        operation(1, 0, create("same"), None),
        operation(2, 3, Asked::Read, Some(shown("1", "same"))),
        operation(4, 5, delete("1"), Some(deleted())),
        operation(6, 7, create("third"), Some(Told::Refused(None))),
    ]));
}

/// A create without answer may have landed early or late, and only late explains the refusal at the
/// end. A check that uses it up as soon as it can convicts an honest backend.
#[test]
fn what_may_land_late_is_not_used_up_early() {
    assert!(is_right(vec![
        operation(0, 0, create("late"), None),
        operation(1, 0, delete("1"), None),
        operation(2, 90, Asked::Read, Some(shown("1", "late"))),
        operation(3, 10, create("other"), Some(Told::Landed(Expected::Version(Version::new("9"))))),
        operation(11, 20, delete("9"), Some(deleted())),
        operation(21, 30, Asked::Read, Some(Told::Shown(None))),
        operation(31, 40, create("third"), Some(Told::Refused(None))),
    ]));
}
