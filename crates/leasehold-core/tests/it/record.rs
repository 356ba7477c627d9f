//! The record's encoding against the vectors of `docs/record-vectors.json`, which other languages can
//! run too, and against bytes that no one has thought of.

use leasehold_core::backend::MAX_RECORD_BYTES;
use leasehold_core::change;
use leasehold_core::edit::{self, Force};
use leasehold_core::once::{self, Completion, Report};
use leasehold_core::record::{BadRecord, FencingToken, Holder, HolderId, Kind, MAX_TEXT_BYTES};
use leasehold_core::record::{Record, WriteId, bounded, salvage_token};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: Vec<String>,
    good: Vec<Good>,
    alike: Vec<Alike>,
    bad: Vec<Bad>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Good {
    name: String,
    record: String,
    token: u64,
    holder: Option<HolderId>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alike {
    name: String,
    record: String,
    #[serde(rename = "as")]
    same: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Newer,
    Corrupt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    name: String,
    verdict: Verdict,
    #[serde(default)]
    record: Text,
    #[serde(default)]
    hex: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
    #[serde(rename = "change")]
    kind: String,
    #[serde(default)]
    before: Option<Text>,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    was: Option<Text>,
    #[serde(default)]
    once: bool,
    after: Option<Text>,
}

/// A text, or pieces of a long one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Pieces(Vec<Piece>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Once(String),
    Repeated(String, usize),
}

impl Default for Text {
    fn default() -> Text {
        Text::Whole(String::new())
    }
}

impl Text {
    fn whole(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Once(text) => text.clone(),
            Piece::Repeated(text, times) => text.repeat(*times),
        };
        match self {
            Text::Whole(text) => text.clone(),
            Text::Pieces(pieces) => pieces.iter().map(piece).collect(),
        }
    }
}

/// The bytes of a vector: digits, or a text.
fn bytes(hex: &str, text: &Text) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap());
    bytes.chain(text.whole().into_bytes()).collect()
}

impl Bad {
    fn bytes(&self) -> Vec<u8> {
        bytes(&self.hex, &self.record)
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../../docs/record-vectors.json")).unwrap()
}

fn verdict(bytes: &[u8]) -> Option<Verdict> {
    match Record::decode(bytes) {
        Ok(_) => None,
        Err(BadRecord::NewerFormat(_)) => Some(Verdict::Newer),
        Err(BadRecord::Corrupt(_) | BadRecord::Spent) => Some(Verdict::Corrupt),
    }
}

fn decode(name: &str, text: &str) -> Record {
    Record::decode(text.as_bytes()).unwrap_or_else(|bad| panic!("{name}: {bad}"))
}

fn text(record: &Record) -> String {
    String::from_utf8(record.encode()).unwrap()
}

/// A good record means what the vector says, and is written back byte for byte. Were it not, a
/// library in another language and ours would fight over spelling.
#[test]
fn good_records_are_written_back_byte_for_byte() {
    for Good { name, record: wanted, token, holder, ttl_ms } in vectors().good {
        let record = decode(&name, &wanted);
        assert_eq!(text(&record), wanted, "{name}");
        assert_eq!(record.token, FencingToken(token), "{name}");
        assert_eq!(record.holder().map(|h| h.id), holder, "{name}");
        assert_eq!(record.holder().map(|h| h.ttl_ms), ttl_ms, "{name}");
    }
}

/// What differs in spelling only is the same record.
#[test]
fn other_spellings_mean_the_same() {
    for Alike { name, record, same } in vectors().alike {
        assert_eq!(decode(&name, &record), decode(&name, &same), "{name}");
    }
}

/// Anything may stand in a store. It is refused with the right verdict: "newer" asks for an upgrade,
/// "corrupt" for a person. The words never repeat what stands there.
#[test]
fn bad_records_are_refused_with_the_right_verdict() {
    for bad in vectors().bad {
        let bytes = bad.bytes();
        assert_eq!(verdict(&bytes), Some(bad.verdict), "{}", bad.name);
        let words = Record::decode(&bytes).unwrap_err().to_string();
        assert!(words.len() < 200 && !words.contains(char::is_control), "{}: {words}", bad.name);
        let secrets = ["hello", "Gateway", "ada", "d3f0"];
        assert!(!secrets.iter().any(|s| words.contains(s)), "{}: {words}", bad.name);
    }
}

/// Every change that the protocol makes to a record, byte for byte, unknown fields and all. What would
/// leave the bounds is a record that nobody could read, and is not made.
#[test]
fn changes_are_made_byte_for_byte() {
    for vector in vectors().changes {
        let name = &vector.name;
        let made = made(&vector);
        let wanted = vector.after.as_ref().map(Text::whole);
        assert_eq!(wanted.is_some(), Record::decode(&made.encode()).is_ok(), "{name}");
        if let Some(after) = wanted {
            assert_eq!(text(&made), after, "{name}");
            assert_eq!(decode(name, &after), made, "{name}");
        }
    }
}

/// What a vector's change makes of its record.
fn made(vector: &Change) -> Record {
    let (write, now, first) = (WriteId(7), 1_700_000_100_000, FencingToken(1_700_000_099_999));
    let us = Holder {
        id: "0102030405060708090a0b0c0d0e0f10".parse().unwrap(),
        label: "bob@web-2 pid 12".into(),
        ttl_ms: 30_000,
        renewals: 0,
        acquired_unix_ms: now,
        takeover_delay_ms: 0,
        extra: serde_json::Map::new(),
    };
    let force = Force { by: "ops@desk".into(), reason: "host is gone".into(), unix_ms: now };
    if vector.kind == "repair" {
        let damaged = bytes(&vector.hex, vector.before.as_ref().unwrap_or(&Text::default()));
        return edit::repair(&damaged, first, &force, write);
    }
    let read = |text: &Option<Text>| text.as_ref().map(|t| decode(&vector.name, &t.whole()));
    let (before, was) = (read(&vector.before), read(&vector.was));
    let before = before.as_ref();
    let released = || {
        let holder = before.unwrap().holder().unwrap().id;
        change::leave(before, (Kind::Mutex, first), holder, write, now)
    };
    let mut record = match vector.kind.as_str() {
        "acquire" | "start" => change::enter(before, (Kind::Mutex, first), us, write, now),
        "renew" | "save" => change::renew(before.unwrap(), write),
        "release" | "done" | "fail" | "interrupt" | "withdraw" => released(),
        "give up" => change::leave(before, (Kind::Mutex, first), us.id, write, now),
        "break" => edit::force_release(before.unwrap(), &force, write),
        "reset" => edit::reset(before.unwrap(), &force.by, &force.reason, now, write),
        _ => panic!("{}: no such change", vector.name),
    };
    let label = before.and_then(|b| Some(b.holder()?.label.clone())).unwrap_or_default();
    let report = |code, text: &str| Report { code: Some(code), text: text.into() };
    match vector.kind.as_str() {
        "start" => once::start(&mut record, before, "v2"),
        "save" => once::save(&mut record, b"row 7"),
        "done" => {
            let done = Completion::Done(report(0, "42 rows"));
            once::complete(&mut record, &done, &label, now);
        }
        "fail" => {
            let failed = Completion::Failed(report(1, "disk full"));
            once::complete(&mut record, &failed, &label, now);
        }
        "withdraw" => once::withdraw(&mut record, was.and_then(|was| was.outcome)),
        // The outcome is left as it is.
        "interrupt" | "give up" if vector.once || vector.kind == "interrupt" => {
            let outcome = record.outcome.take();
            once::withdraw(&mut record, outcome);
        }
        _ => {}
    }
    record
}

/// Fields of a later version survive every change that this version makes, wherever they stand.
#[test]
fn unknown_fields_survive_a_renewal() {
    let vectors = vectors();
    let vector = vectors.good.iter().find(|v| v.name.starts_with("fields of a later")).unwrap();
    let renewed = change::renew(&decode(&vector.name, &vector.record), WriteId(1));
    let wanted = vector.record.replace(r#""renewals":0"#, r#""renewals":1"#);
    assert_eq!(text(&renewed), wanted);
}

/// A record cut off anywhere, or with one byte changed into any other, never panics; whatever is
/// still accepted is within all bounds and can be written and read again.
#[test]
fn no_prefix_and_no_changed_byte_does_harm() {
    let vectors = vectors();
    let mut all: Vec<Vec<u8>> = vec![];
    all.extend(vectors.good.into_iter().map(|v| v.record.into_bytes()));
    all.extend(vectors.bad.iter().map(Bad::bytes));
    let (mut refused, mut accepted) = (0_u32, 0_u32);
    for bytes in all.into_iter().filter(|b| b.len() < 600) {
        for end in 0..bytes.len() {
            check(&bytes[..end]);
        }
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            // Another digit or letter, no ASCII, and what means something in JSON.
            let others = [bytes[at] ^ 1, bytes[at] ^ 0x80].into_iter().chain(*b"\"\\{}],-9 ");
            for other in others {
                changed[at] = other;
                let fine = check(&changed);
                refused += u32::from(!fine);
                accepted += u32::from(fine);
            }
            changed[at] = bytes[at];
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

/// Reads bytes that may be anything. True if they are a record.
fn check(bytes: &[u8]) -> bool {
    let _ = salvage_token(bytes);
    let Ok(record) = Record::decode(bytes) else { return false };
    let shown = String::from_utf8_lossy(bytes);
    assert!(record.token <= FencingToken::MAX, "{shown}");
    assert!(record.kind != Kind::Mutex || record.holders.len() <= 1, "{shown}");
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record), "{shown}");
    assert!(change::renew(&record, WriteId(1)).encode().len() < MAX_RECORD_BYTES);
    true
}

/// A repair of a damaged record goes above what is still legible of its token: of one that was cut
/// off, of one with something behind it, and wherever the number stands. Where it was ahead of the
/// clock, a repair that overlooked it would give tokens out twice.
#[test]
fn a_repair_goes_above_the_legible_token() {
    let force = Force { by: "ops".into(), reason: "damaged".into(), unix_ms: 5 };
    let repaired = |bytes: &[u8]| {
        let record = edit::repair(bytes, FencingToken(1000), &force, WriteId(3));
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
        (record.token.0, record.kind)
    };
    let held = vectors().good.into_iter().find(|v| v.name == "once, begun").unwrap().record;
    let number = held.find("17000").unwrap();
    for end in 0..held.len() {
        let (token, kind) = repaired(&held.as_bytes()[..end]);
        let whole = end >= number + 13;
        assert!(!whole || token == 1_700_000_000_003, "cut after {end}: {token}");
        assert_eq!(kind == Kind::Once, end > held.find("once\"").unwrap() + 4, "cut after {end}");
    }
    for (bytes, token) in [
        (&br#"{"token":5000,"rest":"lost"}"#[..], 5001),
        (br#"{"token":5}"#, 1000),
        (br#"{"token":5000}{"token":4000}"#, 5001),
        (br#"{"token":5000,"token":7000,"token":6000}"#, 7001),
        (b"\xff\"token\"\t:\r\n\"5000\"\0\0", 5001),
        (br#"{"label":"\"token\":5000"}"#, 1000),
        (br#"{"tokens":5000,"token":"x","token":-5000,"token" 5000}"#, 1000),
        (br#"{"token":9007199254740989}"#, 9_007_199_254_740_990),
        (br#"{"token":9007199254740990}"#, 9_007_199_254_740_990),
        (br#"{"token":9007199254740991}"#, 1000),
        (br#"{"token":99999999999999999999999}"#, 1000),
        (b"", 1000),
        (b"{", 1000),
        (br#""token":"#, 1000),
    ] {
        let (found, kind) = repaired(bytes);
        assert_eq!((found, kind), (token, Kind::Mutex), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(repaired(br#"{"kind":"semaphore","kind":"once""#).1, Kind::Semaphore);
    assert_eq!(repaired(br#"{"kind":"barrier","kind":"once""#).1, Kind::Once);
}

/// Texts of people are cut to what a record may hold, never inside a character.
#[test]
fn long_texts_are_cut_at_a_character() {
    assert_eq!(bounded("short"), "short");
    assert_eq!(bounded(&"x".repeat(300)).len(), MAX_TEXT_BYTES);
    let cut = bounded(&"🔒".repeat(65));
    assert_eq!(cut.len(), MAX_TEXT_BYTES);
    assert_eq!(bounded(&format!("a{}", "🔒".repeat(65))).len(), 253);
    let force = Force { by: "b".repeat(999), reason: "\u{1}".repeat(999), unix_ms: 0 };
    let record = edit::repair(b"", FencingToken(1), &force, WriteId(3));
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

/// An id is 32 lower-case hexadecimal digits and nothing else: two spellings of one id would be two
/// holders to whoever compares texts.
#[test]
fn ids_have_one_spelling() {
    let id = WriteId(0xabc);
    assert_eq!(id.to_string(), format!("{:0>32}", "abc"));
    assert_eq!(id.to_string().parse(), Ok(id));
    let zeros = "0".repeat(31);
    for bad in ["", "abc", &"A".repeat(32), &format!("+{zeros}"), &format!("{zeros}g")] {
        assert!(bad.parse::<WriteId>().is_err(), "{bad}");
    }
}

/// `[2]` is no record of a later format, and whoever finds it need not look for a newer program.
/// Found by fuzzing.
#[test]
fn an_array_is_not_newer() {
    assert_eq!(verdict(b"[2]"), Some(Verdict::Corrupt));
    assert_eq!(verdict(b" {\"leasehold\":2}"), Some(Verdict::Newer));
}

/// Serde takes `{"mutex":null}` for the word "mutex", which no client in another language does. Both
/// must refuse it, or one would hold where the other reports damage. Found by fuzzing.
#[test]
fn a_word_is_a_text() {
    let good = vectors().good.into_iter().find(|v| v.name == "free, after being forced").unwrap();
    for (word, object) in [("\"mutex\"", "{\"mutex\":null}"), ("\"forced\"", "{\"forced\":null}")] {
        let bad = good.record.replace(word, object);
        assert_ne!(bad, good.record);
        assert_eq!(verdict(bad.as_bytes()), Some(Verdict::Corrupt), "{bad}");
    }
}

/// A field of a later version has a number that needs all digits of a double. It is written back as
/// the number that was read, not as a neighbour. Found by fuzzing.
#[test]
fn doubles_of_others_survive() {
    let vectors = vectors();
    let good = vectors.good.iter().find(|v| v.name == "free, never held").unwrap();
    let with = |number: &str| good.record.replace("[]}", &format!("[],\"x\":{number}}}"));
    let alike = ("123456789012347890123", "1.234567890123479e+20");
    for (number, wanted) in
        [alike, ("5e-324", "5e-324"), ("0.30000000000000004", "0.30000000000000004")]
    {
        assert_eq!(text(&decode(number, &with(number))), with(wanted));
    }
}

/// After the highest number of renewals comes 0, and not a number that nobody can read. Found by
/// fuzzing.
#[test]
fn renewals_begin_anew_after_the_highest() {
    let vectors = vectors();
    let bounds = vectors.good.iter().find(|v| v.name == "the bounds").unwrap();
    let renewed = change::renew(&decode(&bounds.name, &bounds.record), WriteId(1));
    assert_eq!(renewed.holders[0].renewals, 0);
    assert_eq!(Record::decode(&renewed.encode()), Ok(renewed));
}
