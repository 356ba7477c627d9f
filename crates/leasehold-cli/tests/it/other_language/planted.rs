//! Mistakes that are planted in the client in another language, for the vectors to catch.

use std::fs;

use super::{CLIENT, vectors};
use crate::world::World;

/// A mistake that an author of another client could make: what stands once in a file of it, and what
/// would stand there.
struct Mistake(&'static str, &'static str, &'static str);

const RECORD: &[Mistake] = &[
    Mistake(
        "a checkpoint is never written",
        r#" | {"checkpoint": base64.b64encode(checkpoint.encode()).decode()}"#,
        "",
    ),
    Mistake(
        "renewals do not begin anew after the highest",
        r#"0 if holder["renewals"] == MOST else holder["renewals"] + 1"#,
        r#"min(holder["renewals"] + 1, MOST)"#,
    ),
    Mistake("more than 64 earlier keys", "*earlier][:64]", "*earlier]"),
    Mistake(
        "no key is left out for the bytes",
        "while len(encode(record)) > MOST_BYTES - ROOM:",
        "while False:",
    ),
    Mistake("a record grows up to its bound", "> MOST_BYTES - ROOM:", "> MOST_BYTES:"),
    Mistake("a byte less is left to grow by", "ROOM = 64", "ROOM = 63"),
    Mistake("a byte more is left to grow by", "ROOM = 64", "ROOM = 65"),
    Mistake("the newest key is left out", r#"what["earlier"][:-1]"#, r#"what["earlier"][1:]"#),
    Mistake(
        "a token above the highest is written",
        "    \"token\": number(0, MOST - 1),\n    \"write\"",
        "    \"token\": number(0, MOST),\n    \"write\"",
    ),
    Mistake("unknown fields of the outcome are dropped", "new | unknown}", "new}"),
    Mistake(
        "unknown fields of the outcome go with the key",
        "if k not in OUTCOME} if old else {}",
        "if k not in OUTCOME} if old and old[\"key\"] == key else {}",
    ),
    Mistake(
        "failures are forgotten",
        r#"("failures", "ending", "checkpoint")"#,
        r#"("ending", "checkpoint")"#,
    ),
    Mistake(
        "what is done keeps its checkpoint",
        r#"("resumes", "checkpoint")}"#,
        r#"("resumes",)}"#,
    ),
    Mistake("a reset keeps the outcome", r#"after.items() if k != "outcome"}"#, "after.items()}"),
    Mistake(
        "a release drops unknown fields",
        r#"after = record | {"token": token"#,
        r#"after = {k: record[k] for k in RECORD if k in record} | {"token": token"#,
    ),
    Mistake(
        "a break keeps the token",
        r#"record["token"] + 1, None, now, ended="forced""#,
        r#"record["token"], None, now, ended="forced""#,
    ),
    Mistake(
        "giving up raises the token",
        r#"record and record["token"], first"#,
        r#"record and record["token"] + 1, first"#,
    ),
    Mistake(
        "a release raises the token",
        r#"record["token"], None, now, ended="released""#,
        r#"record["token"] + 1, None, now, ended="released""#,
    ),
    Mistake(
        "the second run that resumes names the first",
        r#"{"resumes": old["token"]}"#,
        r#"{"resumes": old.get("resumes", old["token"])}"#,
    ),
    Mistake(
        "what is done again resumes",
        r#"old["key"] == key and old["state"] != "done""#,
        r#"old["key"] == key"#,
    ),
    Mistake("a replaced key counts as done", r#" if old["state"] == "done" else {}"#, ""),
    Mistake(
        "failures go beyond the highest number",
        r#"min(what.get("failures", 0) + 1, MOST)"#,
        r#"what.get("failures", 0) + 1"#,
    ),
    Mistake(
        "an interrupted run has failed",
        "return fit(release(record, now))",
        r#"return complete(record, now, "failed", 1, "")"#,
    ),
    Mistake(
        "what is withdrawn stays begun",
        r#"({"outcome": was["outcome"]} if was and "outcome" in was else {})"#,
        r#"{"outcome": record["outcome"]}"#,
    ),
    Mistake(
        "the start of a once is given up as a mutex",
        " if once else after",
        " if False else after",
    ),
    Mistake(
        "a repair forgets the token",
        "token = max([first, *(token + 1 for token in tokens if token < MOST)])",
        "token = first",
    ),
    Mistake(
        "of two tokens the last counts",
        "for token in tokens if",
        "for token in tokens[-1:] if",
    ),
    Mistake("a token that is a text is not legible", "\"?([0-9]+)", "([0-9]+)"),
    Mistake("a repair keeps the token and does not raise it", "*(token + 1 for", "*(token for"),
    Mistake("a repair goes beyond the highest token", "min(token, MOST - 1)", "token"),
    Mistake(
        "a repair makes every name a mutex",
        r#"{"kind": kind, "past": past}"#,
        r#"{"past": past}"#,
    ),
    Mistake("a repair reads on for ever", "damaged = damaged[:MOST_BYTES]", "pass"),
    Mistake("a repair tells nobody", r#"{"kind": kind, "past": past}"#, r#"{"kind": kind}"#),
    Mistake(
        "of an unknown field that comes twice the first counts not",
        "found[key] = value if key in table else plain([key, value], depth)[1]",
        "found[key] = value",
    ),
];

const PLACE: &[Mistake] = &[
    Mistake("a path is taken literally", "path = decoded(path).decode()", "decoded(path).decode()"),
    Mistake("a directory is taken literally", "os.fsdecode(decoded(path))", "path"),
    Mistake("a value is taken literally", "decoded(value).decode()", "value"),
    Mistake(
        "a path is decoded twice",
        "path = decoded(path).decode()",
        "path = decoded(decoded(path).decode()).decode()",
    ),
    Mistake(
        "a plus sign is a space",
        "bytes([int(byte[1], 16)]), text.encode()",
        "bytes([int(byte[1], 16)]), text.replace('+', ' ').encode()",
    ),
    Mistake(
        "a hash begins a fragment",
        r#"rest.partition("?")"#,
        r##"rest.partition("#")[0].partition("?")"##,
    ),
    Mistake(
        "a percent sign alone is one",
        r#"raise ValueError("a % without two digits")"#,
        "return text.encode()",
    ),
    Mistake("two dots are a segment", r#"in ("", ".", "..")"#, r#"in ("", ".")"#),
    Mistake("an empty segment is one", r#"in ("", ".", "..")"#, r#"in (".", "..")"#),
    Mistake("a slash at the end counts", "found.pop()", "pass"),
    Mistake(
        "what is no UTF-8 is guessed at",
        "path = decoded(path).decode()",
        r#"path = decoded(path).decode(errors="replace")"#,
    ),
    Mistake("of two options the last counts", " or name in found:", ":"),
    Mistake("a directory's host is overlooked", "if host or not path", "if not path"),
    Mistake(
        "a scheme is told by its letters in either case",
        r#"rest = url.partition("://")"#,
        r#"rest = url.partition("://"); scheme = scheme.lower()"#,
    ),
    Mistake("white space at the ends is stripped", "if url != url.strip() or any(", "if any("),
    Mistake("hidden characters are let in", "if is_hidden(path) or any(", "if any("),
    Mistake("a table is overlooked", r#"said.get("table", "leasehold")"#, r#""leasehold""#),
    Mistake(
        "an endpoint is overlooked",
        r#"{"endpoint": said["endpoint"].rstrip("/")} if "endpoint" in said else {}"#,
        "{}",
    ),
    Mistake("a time needs no unit", r#""([0-9]+)(ms|s)""#, r#""([0-9]+)(ms|s|)""#),
];

/// The vectors are all that the author of another client can test with. Each of these mistakes makes a
/// client that others cannot work with, or that holds what they hold; each of them is caught by a vector.
#[test]
fn the_vectors_catch_every_planted_mistake() {
    let world = World::new();
    let exams =
        [("record.py", RECORD, vectors::records()), ("place.py", PLACE, vectors::places(&world))];
    let client = world.path("client");
    fs::create_dir(&client).expect("there is room");
    for file in ["answers.py", "files.py", "place.py", "record.py"] {
        fs::copy(format!("{CLIENT}/{file}"), client.join(file)).expect("it is there");
    }
    let words = client.to_str().expect("UTF-8");
    let mut unseen = vec![];
    for (file, mistakes, exam) in exams {
        let right = fs::read_to_string(client.join(file)).expect("it was copied");
        for Mistake(name, once, wrong) in mistakes {
            assert_eq!(right.matches(once).count(), 1, "where is the place for: {name}?");
            fs::write(client.join(file), right.replace(once, wrong)).expect("there is room");
            let Some(command) = exam.client(&world, words) else { return };
            let failures = exam.failures(&world, command).len();
            assert!(failures * 2 < exam.cases(), "this is no client at all: {name}");
            if failures == 0 {
                unseen.push(*name);
            }
        }
        fs::write(client.join(file), right).expect("there is room");
    }
    assert_eq!(unseen, [""; 0]);
}
