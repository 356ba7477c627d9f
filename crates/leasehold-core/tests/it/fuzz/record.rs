//! The target `record`: bytes that may stand in a store.

use leasehold_core::change;
use leasehold_core::edit::{self, Force};
use leasehold_core::once::{self, Completion, Report};
use leasehold_core::record::salvage_token;
use leasehold_core::record::{
    BadRecord, Ended, FencingToken, Holder, HolderId, Kind, Record, WriteId,
};
use leasehold_fuzz::Target;
use serde_json::Map;

use super::json::Json;
use super::reader::{self, KNOWN, Verdict};

const WORDS: &[&str] = &[
    "\"leasehold\":",
    "\"kind\":",
    "\"token\":",
    "\"write\":",
    "\"holders\":[",
    "\"past\":",
    "\"id\":",
    "\"label\":",
    "\"ttl_ms\":",
    "\"renewals\":",
    "\"acquired_unix_ms\":",
    "\"takeover_delay_ms\":",
    "\"ended\":",
    "\"unix_ms\":",
    "\"by\":",
    "\"reason\":",
    "\"mutex\"",
    "\"once\"",
    "\"semaphore\"",
    "\"released\"",
    "\"taken-over\"",
    "\"forced\"",
    "null",
    "true",
    "{\"mutex\":null}",
    "\"x\":",
    "[]",
    "{}",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\u00",
    "\\ud83d",
    "\\udd12",
    "\\n",
    "1.5",
    "1e308",
    "e-7",
    "0.30000000000000004",
    "\u{feff}",
    "é",
    "🔒",
    "00000000000000000000000000000001",
    "{\"leasehold\":1,\"kind\":\"once\",\"token\":7,\"holders\":[],\
     \"write\":\"00000000000000000000000000000001\",\"outcome\":{\"key\":\"v1\",\"token\":6,\
     \"state\":\"started\",\"resumes\":5,\"failures\":1,\"checkpoint\":\"cm93IDc=\",\
     \"ending\":{\"token\":5,\"by\":\"us\",\"unix_ms\":1,\"code\":1,\"text\":\"no\"},\
     \"earlier\":[{\"key\":\"v0\",\"done\":4},{\"key\":\"v\"}]}}",
    "\"outcome\":",
    "\"key\":",
    "\"state\":",
    "\"resumes\":",
    "\"failures\":",
    "\"ending\":",
    "\"checkpoint\":",
    "\"earlier\":",
    "\"code\":",
    "\"text\":",
    "\"done\"",
    "\"failed\"",
    "\"reset\"",
    "=",
    "==",
];

/// Whatever stands in a store, our reader and one written from the documentation alone agree on it,
/// so that clients in two languages share a lock; what we write back means what we read, and every
/// change of ours is a record again.
#[test]
fn record() {
    Target { name: "record", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let legible = salvage_token(bytes);
    let (read, by_the_book) = (Record::decode(bytes), reader::read(bytes));
    let record = match (read, by_the_book) {
        (Ok(record), Verdict::Good(json)) => {
            survives(&record, &json);
            record
        }
        (Err(BadRecord::NewerFormat(format)), Verdict::Newer | Verdict::NotJson) => {
            assert!(format > 1);
            return false;
        }
        (Err(BadRecord::Corrupt(why)), Verdict::Corrupt | Verdict::NotJson) => {
            let is_plain = |c: char| c.is_ascii() && !c.is_ascii_control();
            assert!(why.len() < 100 && why.chars().all(is_plain), "{why}");
            repaired(bytes, legible);
            return false;
        }
        (read, by_the_book) => panic!("we say {read:?}, the book says {by_the_book:?}"),
    };
    // A field that nobody knows may show a higher one.
    assert!(legible >= Some(record.token), "{legible:?}");
    changes(&record);
    true
}

/// What is written back means the same, field by field, and reads as the same.
fn survives(record: &Record, json: &Json) {
    let written = record.encode();
    let Some((b'\n', line)) = written.split_last() else { panic!("no line feed at the end") };
    let again = Json::read(str::from_utf8(line).expect("UTF-8")).expect("JSON");
    assert!(without_nothing(json).means(&without_nothing(&again)), "{json:?}\n{again:?}");
    // It may have grown beyond the bound: `1e9` is written in full.
    if written.len() <= leasehold_core::backend::MAX_RECORD_BYTES {
        assert_eq!(Record::decode(&written).as_ref(), Ok(record));
        assert_eq!(Record::decode(&written).expect("see above").encode(), written);
    }
    let Json::Object(fields) = again else { panic!("not an object") };
    let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) = names.iter().partition(|n| KNOWN.contains(n));
    assert!(names.starts_with(&known) && unknown.is_sorted(), "{names:?}");
}

/// The object without the known fields that say nothing, which may be left out.
fn without_nothing(json: &Json) -> Json {
    const OPTIONAL: [&str; 10] = [
        "past",
        "id",
        "by",
        "reason",
        "outcome",
        "resumes",
        "ending",
        "checkpoint",
        "code",
        "done",
    ];
    let Json::Object(fields) = json else { return json.clone() };
    let says = |(name, value): &&(String, Json)| match value {
        Json::Null => !OPTIONAL.contains(&&**name),
        Json::Number(zero) => !["takeover_delay_ms", "failures"].contains(&&**name) || zero != "0",
        Json::Text(nothing) => name != "text" || !nothing.is_empty(),
        Json::Array(nothing) => name != "earlier" || !nothing.is_empty(),
        _ => true,
    };
    let inner = |(name, value): &(String, Json)| {
        let value = match (&**name, value) {
            ("past" | "outcome" | "ending", inner) => without_nothing(inner),
            ("holders" | "earlier", Json::Array(all)) => {
                Json::Array(all.iter().map(without_nothing).collect())
            }
            (_, other) => other.clone(),
        };
        (name.clone(), value)
    };
    Json::Object(fields.iter().filter(says).map(inner).collect())
}

/// Every change that the protocol makes to a record is a record again, with a token that never goes
/// back and rises with every change of holder, and with the fields that nobody knows.
fn changes(before: &Record) {
    let (write, first) = (WriteId(7), FencingToken(1));
    let us = Holder {
        id: HolderId(9),
        label: "us".into(),
        ttl_ms: 1000,
        renewals: 0,
        acquired_unix_ms: 1,
        takeover_delay_ms: 0,
        extra: Map::new(),
    };
    let force = Force { by: "us".into(), reason: "why".into(), unix_ms: 1 };
    let made = [
        (change::enter(Some(before), (Kind::Mutex, first), us.clone(), write, 1), true),
        (change::renew(before, write), false),
        (change::leave(Some(before), (Kind::Mutex, first), HolderId(9), write, 1), false),
        (edit::force_release(before, &force, write), true),
        (edit::reset(before, "us", "why", 1, write), true),
    ];
    for key in ["v1", "v0", "new"] {
        let mut run = change::enter(Some(before), (Kind::Mutex, first), us.clone(), write, 1);
        once::start(&mut run, Some(before), key);
        once::save(&mut run, b"so far");
        let mut made = vec![run.clone()];
        for end in [Completion::Done(Report::default()), Completion::Failed(Report::default())] {
            let mut ended = change::leave(Some(&run), (Kind::Mutex, first), us.id, write, 1);
            once::complete(&mut ended, &end, "us", 1);
            assert!(once::is_recorded(&ended, key, run.token, &end), "from {before:?}");
            made.push(ended);
        }
        let earlier = |r: &Record| r.outcome.as_ref().map_or(0, |o| o.earlier.len());
        for after in made.into_iter().filter(|_| !before.token.is_last()) {
            let bytes = after.encode().len();
            if bytes <= leasehold_core::backend::MAX_RECORD_BYTES {
                assert_eq!(Record::decode(&after.encode()), Ok(after), "from {before:?}");
            } else {
                assert_eq!(earlier(&after), 0, "it was not made to fit");
            }
        }
    }
    // What leaves no token for the next holder is given to nobody.
    let spent = before.token.is_last();
    for (after, rises) in made.into_iter().filter(|(_, rises)| !(spent && *rises)) {
        assert!(after.token >= before.token && (after.token > before.token) == rises);
        assert_eq!((after.write, &after.extra), (write, &before.extra));
        let is_reset = after.past.as_ref().is_some_and(|p| p.ended == Ended::Reset);
        assert!(after.kind == before.kind || is_reset && after.kind == Kind::Once);
        let written = after.encode();
        if written.len() <= leasehold_core::backend::MAX_RECORD_BYTES {
            assert_eq!(Record::decode(&written), Ok(after), "from {before:?}");
        }
    }
}

/// Whatever is damaged can be replaced, by a record with a higher token where one was legible and a
/// higher one exists.
fn repaired(bytes: &[u8], legible: Option<FencingToken>) {
    let force = Force { by: "us".into(), reason: "why".into(), unix_ms: 1 };
    let record = edit::repair(bytes, FencingToken(5), &force, WriteId(7));
    assert!(record.token > legible.unwrap_or(FencingToken(0)) || record.token.is_last());
    assert!(Some(record.token) >= legible);
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}
