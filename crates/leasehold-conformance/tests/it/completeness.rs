//! The check against a search through all orders.

use leasehold_conformance::{History, Refusals};

use crate::generate::{Chance, Shape, history};
use crate::orders;

/// A check that takes a right history for wrong convicts an honest backend, and one that takes a
/// wrong one for right lets a liar pass. On thousands of small histories, right and wrong, of every
/// shape, it must say what a search through all orders says.
#[test]
fn says_what_all_orders_say() {
    let shapes = [
        // Mostly changes, then mostly deletes and creates, then writes with the same bytes.
        Shape { operations: 5, longest: 3, alike: 0, deletes: 2, bent: 1 },
        Shape { operations: 6, longest: 4, alike: 0, deletes: 0, bent: 2 },
        Shape { operations: 5, longest: 5, alike: 0, deletes: 4, bent: 1 },
        Shape { operations: 6, longest: 6, alike: 0, deletes: 5, bent: 1 },
        Shape { operations: 5, longest: 5, alike: 6, deletes: 5, bent: 1 },
    ];
    let mut chance = Chance(1);
    for shape in shapes {
        for refusals in [Refusals::Prove, Refusals::MayBeOfASecondCopy] {
            let (mut right, mut wrong) = (0, 0);
            for _ in 0..3_000 {
                let history = history(&mut chance, shape);
                let said = history.check(refusals);
                let is_right = orders::exist(&history, refusals);
                assert_eq!(said.is_ok(), is_right, "{refusals:?} {said:?}\n{}", text(&history));
                *(if is_right { &mut right } else { &mut wrong }) += 1;
            }
            println!("{right} right and {wrong} wrong");
            assert!(right >= 600 && wrong >= 300, "{right} right and {wrong} wrong");
        }
    }
}

fn text(history: &History) -> String {
    let operations = history.operations();
    let lines: Vec<_> = operations.iter().map(|operation| format!("{operation:?}")).collect();
    lines.join("\n")
}
