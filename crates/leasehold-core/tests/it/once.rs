//! The record of `once`: its bounds, whatever is put into it.

use leasehold_core::backend::MAX_RECORD_BYTES;
use leasehold_core::change;
use leasehold_core::edit::{self, Force};
use leasehold_core::once::{self, Completion, Report};
use leasehold_core::record::{
    FencingToken, Holder, HolderId, Kind, MAX_CHECKPOINT_BYTES, MAX_EARLIER, MAX_ENDING_BYTES,
    MAX_KEY_BYTES, Record, WriteId, bounded, tail,
};

fn us(label: &str) -> Holder {
    Holder {
        id: HolderId(1),
        label: bounded(label),
        ttl_ms: 86_400_000,
        renewals: 0,
        acquired_unix_ms: 1_700_000_000_000,
        takeover_delay_ms: 60_000,
        extra: serde_json::Map::new(),
    }
}

fn begun(before: Option<&Record>, key: &str, label: &str) -> Record {
    let first = FencingToken(1_700_000_000_000);
    let mut record =
        change::enter(before, (Kind::Mutex, first), us(label), WriteId(1), 1_700_000_000_000);
    once::start(&mut record, before, key);
    fine(&record);
    record
}

fn ended(mut before: Record, completion: &Completion, label: &str) -> Record {
    before.holders[0].renewals = FencingToken::MAX.0;
    fine(&before);
    let first = FencingToken(1);
    let mut record = change::leave(
        Some(&before),
        (Kind::Mutex, first),
        HolderId(1),
        WriteId(2),
        1_700_000_000_000,
    );
    once::complete(&mut record, completion, label, 1_700_000_000_000);
    fine(&record);
    record
}

/// What is written can be read.
fn fine(record: &Record) {
    let bytes = record.encode();
    assert!(bytes.len() <= MAX_RECORD_BYTES, "{} bytes", bytes.len());
    assert_eq!(Record::decode(&bytes).as_ref(), Ok(record));
}

fn key(n: usize) -> String {
    format!("{n:0>MAX_KEY_BYTES$}")
}

/// Everybody uses all the room there is: long labels, the longest keys, checkpoints and errors. At no
/// time is a record written that nobody could read or renew any more; the oldest keys make way.
#[test]
fn a_record_never_outgrows_its_bounds() {
    for label in ["l".repeat(300), "\u{1}".repeat(300)] {
        let report = Report { code: Some(255), text: "\"".repeat(2000) };
        let force = Force { by: label.clone(), reason: label.clone(), unix_ms: 1 };
        let mut record = begun(None, &key(0), &label);
        for n in 1..200 {
            record = ended(record, &Completion::Done(report.clone()), &label);
            record = begun(Some(&record), &key(n), &label);
            let mut saved = change::renew(&record, WriteId(3));
            once::save(&mut saved, &[0xFF; MAX_CHECKPOINT_BYTES]);
            fine(&saved);
            let broken = edit::force_release(&saved, &force, WriteId(4));
            fine(&broken);
            fine(&edit::force_release(&broken, &force, WriteId(5)));
            let failed = ended(saved, &Completion::Failed(report.clone()), &label);
            let again = begun(Some(&failed), &key(n), &label);
            fine(&again);
            let mut withdrawn = change::leave(
                Some(&again),
                (Kind::Mutex, FencingToken(1)),
                HolderId(1),
                WriteId(6),
                1,
            );
            once::withdraw(&mut withdrawn, failed.outcome.clone());
            fine(&withdrawn);
            fine(&edit::reset(&again, &label, &label, 1, WriteId(7)));
        }
        let earlier = record.outcome.unwrap().earlier;
        assert!(earlier.len() <= MAX_EARLIER && earlier.len() > 20, "{}", earlier.len());
        assert!(earlier.iter().enumerate().all(|(at, e)| e.key == key(198 - at)), "newest first");
    }
}

/// A number that is at its end stays there, and makes no record that nobody can read.
#[test]
fn failures_are_counted_up_to_the_last_number() {
    let mut record = begun(None, "k", "us");
    record.outcome.as_mut().unwrap().failures = FencingToken::MAX.0;
    let record = ended(record, &Completion::Failed(Report::default()), "us");
    assert_eq!(record.outcome.unwrap().failures, FencingToken::MAX.0);
}

/// What a run says of its end is cleaned of what would move a terminal's cursor, and cut to the last
/// bytes, at a character: errors end with what matters.
#[test]
fn the_tail_of_an_error_is_kept() {
    assert_eq!(tail("\u{1b}[31mno\tspace\r\n left\n\n"), "[31mno\tspace\n left");
    let long = format!("{}the end", "🔒".repeat(1000));
    let kept = tail(&long);
    assert!(kept.len() <= MAX_ENDING_BYTES && kept.len() > MAX_ENDING_BYTES - 4);
    assert!(kept.ends_with("🔒the end"));
}

/// The end of a run is put on top of its start and of nothing else: without one there is no end.
#[test]
fn there_is_no_end_without_a_start() {
    let mut record = change::enter(None, (Kind::Mutex, FencingToken(5)), us("us"), WriteId(1), 1);
    let before = record.clone();
    once::complete(&mut record, &Completion::Done(Report::default()), "us", 1);
    once::save(&mut record, &[1]);
    assert_eq!(record, before);
}
