//! A search through all orders: too slow for anything but a few operations, and plain to see through.

use std::collections::BTreeSet;

use leasehold_conformance::{Asked, History, Operation, Refusals, Seen, Told};
use leasehold_core::backend::{Expected, Version};

/// The register while an order is tried.
#[derive(Clone)]
struct Register {
    /// What is stored: a version, where it has a name in the history, and bytes.
    record: Option<(Option<Version>, Vec<u8>)>,
    /// The versions that were used.
    used: Vec<Version>,
}

/// Whether some order of these operations is right.
pub(crate) fn exist(history: &History, refusals: Refusals) -> bool {
    let operations = history.operations();
    // A refused write may be two copies: one that is refused and one that nobody hears of.
    let copies = operations.iter().filter(|o| matches!(o.told, Some((_, Told::Refused(_)))));
    let copies: Vec<_> = copies.map(|o| Operation { told: None, ..o.clone() }).collect();
    let more = if refusals == Refusals::MayBeOfASecondCopy { copies } else { vec![] };
    let all: Vec<_> = operations.iter().chain(&more).collect();
    let versions: Vec<Version> = all.iter().filter_map(|o| told(o)).map(|s| s.version).collect();
    let open = (0..all.len()).filter(|n| !is_void(all[*n])).collect();
    complete(&all, &versions, &open, &Register { record: None, used: vec![] })
}

/// Whether it neither does nor says anything.
fn is_void(operation: &Operation) -> bool {
    match &operation.told {
        Some((_, told)) => *told == Told::NotSent,
        None => operation.asked == Asked::Read,
    }
}

/// Whether the open operations can follow this state of the register.
fn complete(
    all: &[&Operation],
    versions: &[Version],
    open: &BTreeSet<usize>,
    register: &Register,
) -> bool {
    let ends = open.iter().filter_map(|n| all[*n].told.as_ref().map(|(at, _)| *at));
    let Some(first_end) = ends.min() else { return true };
    open.iter().filter(|n| all[**n].called <= first_end).any(|n| {
        let mut rest = open.clone();
        rest.remove(n);
        let mut nexts = next(all[*n], versions, register);
        if all[*n].told.is_none() {
            // It never happens.
            nexts.push(register.clone());
        }
        nexts.iter().any(|next| complete(all, versions, &rest, next))
    })
}

/// What the register can be after this operation, if the answer to it was true.
fn next(operation: &Operation, versions: &[Version], register: &Register) -> Vec<Register> {
    let told = operation.told.as_ref().map(|(_, told)| told);
    let is_at = |expected: &Expected| match (expected, &register.record) {
        (Expected::Absent, record) => record.is_none(),
        (Expected::Version(version), record) => {
            record.as_ref().is_some_and(|(stored, _)| stored.as_ref() == Some(version))
        }
    };
    let is_shown = |seen: &Option<Seen>| match (seen, &register.record) {
        (None, record) => record.is_none(),
        (Some(seen), record) => *record == Some((Some(seen.version.clone()), seen.bytes.clone())),
    };
    let stays = |is_true: bool| if is_true { vec![register.clone()] } else { vec![] };
    let becomes = |version: Option<&Version>, bytes: &[u8]| {
        let mut next = register.clone();
        next.record = Some((version.cloned(), bytes.to_vec()));
        next.used.extend(version.cloned());
        next
    };
    match (&operation.asked, told) {
        (Asked::Read, Some(Told::Shown(seen))) => stays(is_shown(seen)),
        (Asked::Write { expected, .. }, Some(Told::Refused(seen))) => {
            stays(!is_at(expected) && (seen.is_none() || is_shown(seen)))
        }
        (Asked::Delete { version }, Some(Told::Refused(_))) => {
            stays(!is_at(&Expected::Version(version.clone())))
        }
        (Asked::Write { expected, bytes }, told) if is_at(expected) => match told {
            Some(Told::Landed(Expected::Version(version))) => {
                let is_new = !register.used.contains(version);
                if is_new { vec![becomes(Some(version), bytes)] } else { vec![] }
            }
            _ => {
                let new = versions.iter().filter(|version| !register.used.contains(version));
                let named = new.map(|version| becomes(Some(version), bytes));
                named.chain([becomes(None, bytes)]).collect()
            }
        },
        (Asked::Delete { version }, _) if is_at(&Expected::Version(version.clone())) => {
            vec![Register { record: None, used: register.used.clone() }]
        }
        _ => vec![],
    }
}

/// The version that an answer tells.
fn told(operation: &Operation) -> Option<Seen> {
    match (&operation.told.as_ref()?.1, &operation.asked) {
        (Told::Shown(seen) | Told::Refused(seen), _) => seen.clone(),
        (Told::Landed(Expected::Version(version)), Asked::Write { bytes, .. }) => {
            Some(Seen { version: version.clone(), bytes: bytes.clone() })
        }
        _ => None,
    }
}
