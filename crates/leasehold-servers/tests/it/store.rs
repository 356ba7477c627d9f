//! The fake without a fault: the store that Google documents.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use leasehold_servers::gcs::{Fake, When};
use serde_json::json;

use crate::client::{Call, Connection, escaped};

pub(crate) fn fake() -> Fake {
    let fake = Fake::start();
    fake.make_bucket("bkt");
    fake
}

/// A lock's whole life on one connection: created, refused to a second creator, read, read again at no cost,
/// renewed, refused to who is behind, deleted. A write of the wrong generation must change nothing.
#[test]
fn one_conversation() {
    let fake = fake();
    let mut connection = Connection::to(fake.address());
    let mut call = |call: Call| connection.call(&call).unwrap();

    let bytes = b"{\"a\": 1}\r\n\0\xff--part";
    let first = call(Call::create("p/x", bytes)).generation();
    assert_eq!(call(Call::create("p/x", b"other")).code, 412);

    let read = call(Call::read("p/x", ""));
    assert_eq!((read.code, read.body.as_slice()), (200, bytes.as_slice()));
    assert_eq!(read.header("x-goog-generation"), Some(first.to_string().as_str()));
    assert_eq!(read.header("x-goog-metageneration"), Some("1"));
    assert_eq!(read.header("content-type"), Some("application/json"));
    let date = |name: &str| httpdate::parse_http_date(read.header(name).unwrap()).unwrap();
    assert!(date("last-modified") <= date("date"), "{read:?}");

    let unchanged = call(Call::read("p/x", &format!("&ifGenerationNotMatch={first}")));
    assert_eq!((unchanged.code, unchanged.body.len()), (304, 0));
    assert!(unchanged.header("date").is_some(), "{unchanged:?}");
    assert_eq!(call(Call::read("p/x", &format!("&ifGenerationMatch={}", first + 1))).code, 412);

    let second = call(Call::overwrite("p/x", first, b"2")).generation();
    assert!(second > first);
    let behind = call(Call::overwrite("p/x", first, b"3"));
    assert_eq!(behind.json()["error"]["errors"][0]["reason"], "conditionNotMet");
    assert!(behind.header("date").is_some(), "{behind:?}");
    let changed = call(Call::read("p/x", &format!("&ifGenerationNotMatch={first}")));
    assert_eq!((changed.code, changed.body.as_slice()), (200, b"2".as_slice()));

    let unless = format!("&ifGenerationNotMatch={second}");
    assert_eq!(call(Call::write("p/x", &unless, b"3")).code, 304);
    assert_eq!(call(Call::delete("p/x", first)).code, 412);
    assert_eq!(call(Call::delete("p/x", second)).code, 204);
    assert_eq!(call(Call::delete("p/x", second)).code, 404);
    assert_eq!(call(Call::overwrite("p/x", second, b"4")).code, 412);
    assert_eq!(call(Call::read("p/x", "")).code, 404);
    assert!(fake.seen().iter().all(|seen| seen.outcome == seen.status && seen.outcome.is_some()));
}

/// Sixteen clients create one object at once, then overwrite what they read, round after round. Each time one
/// wins, and what is stored is the winner's: a check apart from its write would have two winners some day.
#[test]
fn a_race_has_one_winner() {
    let fake = fake();
    let mut generation = 0;
    for round in 0..20 {
        let racers: Vec<_> = (0..16u8)
            .map(|racer| {
                let (address, call) =
                    (fake.address(), Call::overwrite("x", generation, &[round, racer]));
                thread::Builder::new().spawn(move || (racer, call.on(address))).unwrap()
            })
            .collect();
        let replies: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        let winners: Vec<_> = replies.iter().filter(|(_, reply)| reply.code == 200).collect();
        let [(winner, reply)] = winners.as_slice() else { panic!("winners: {winners:?}") };
        assert!(replies.iter().all(|(_, reply)| [200, 412].contains(&reply.code)));
        assert_eq!(Call::read("x", "").on(fake.address()).body, [round, *winner]);
        generation = reply.generation();
    }
    let kinds: BTreeSet<_> = fake.seen().iter().map(|seen| format!("{:?}", seen.when)).collect();
    assert_eq!(kinds, BTreeSet::from(["Create", "Overwrite", "Read"].map(str::to_owned)));
}

/// An object is deleted and made anew, over and over within one microsecond or many: its generation rises, so
/// that a write which waited all the while for an old one still fails.
#[test]
fn generations_rise_over_deletion() {
    let fake = fake();
    let mut connection = Connection::to(fake.address());
    let mut last = 0;
    for _ in 0..50 {
        let next = connection.call(&Call::create("x", b"1")).unwrap().generation();
        assert!(next > last, "{next} after {last}");
        assert_eq!(connection.call(&Call::delete("x", next)).unwrap().code, 204);
        last = next;
    }
}

/// A writer is too fast for Google: it is told so before its condition is looked at, nothing is written, and
/// its refused attempts do not count. Another object is not concerned. A deletion counts as a write.
#[test]
fn one_write_per_interval() {
    let fake = fake();
    let call = |call: Call| call.on(fake.address());
    fake.limit_writes(Some(Duration::from_hours(1)));
    let generation = call(Call::create("x", b"1")).generation();
    for refused in [
        Call::overwrite("x", generation, b"2"),
        Call::create("x", b"3"),
        Call::delete("x", generation),
    ] {
        let reply = call(refused);
        assert_eq!(reply.code, 429, "{}", reply.text());
        assert_eq!(reply.json()["error"]["errors"][0]["reason"], "rateLimitExceeded");
    }
    assert_eq!(call(Call::read("x", "")).body, b"1");
    assert_eq!(call(Call::create("y", b"1")).code, 200);

    fake.advance_clock(Duration::from_hours(1));
    assert_eq!(call(Call::delete("x", generation)).code, 204);
    assert_eq!(call(Call::create("x", b"4")).code, 429);
    fake.limit_writes(None);
    assert_eq!(call(Call::create("x", b"4")).code, 200);
}

/// A list comes in pages whose tokens must be escaped, names what has the prefix and still exists, each once,
/// with the characters that were put in.
#[test]
fn a_list_has_pages() {
    let fake = fake();
    let names = ["p/a", "p/b+c", "p/d e", "p/f&g=%41", "p/\u{e9}\u{1f512}"];
    for name in names.iter().chain(&["o", "p", "q/z", "p/gone"]) {
        let generation = Call::create(name, b"1").on(fake.address()).generation();
        if *name == "p/gone" {
            Call::delete(name, generation).on(fake.address());
        }
    }
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let target = format!("/storage/v1/b/bkt/o?prefix=p%2F&maxResults=2{token}");
        let page = Call::new("GET", target).on(fake.address()).json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        found.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={}", escaped(next)),
            None => break,
        }
    }
    assert_eq!((found, pages), (names.map(str::to_owned).to_vec(), 3));
    let none = Call::new("GET", "/storage/v1/b/bkt/o?prefix=nothing").on(fake.address());
    assert_eq!(none.json(), json!({ "kind": "storage#objects" }));
}

/// The operator's side: a bucket is made once, with the settings that were asked for; rights are all there
/// until some are taken away.
#[test]
fn buckets_and_rights() {
    let fake = fake();
    let call = |call: Call| call.on(fake.address());
    let settings = json!({ "name": "new", "lifecycle": { "rule": [{ "action": "Delete" }] } });
    let make = |target: &str| Call::new("POST", target).with_body(settings.to_string());
    assert_eq!(call(make("/storage/v1/b")).code, 400, "a project is needed");
    assert_eq!(call(make("/storage/v1/b?project=p")).code, 200);
    assert_eq!(call(make("/storage/v1/b?project=p")).code, 409);
    let about = call(Call::new("GET", "/storage/v1/b/new")).json();
    assert_eq!(about["lifecycle"], settings["lifecycle"]);
    let uniform = &call(Call::new("GET", "/storage/v1/b/bkt")).json()["iamConfiguration"];
    assert_eq!(uniform["uniformBucketLevelAccess"]["enabled"], true);

    let ask = "/storage/v1/b/bkt/iam/testPermissions?permissions=storage.objects.get\
               &permissions=storage.objects.create";
    let rights =
        |fake: &Fake| Call::new("GET", ask).on(fake.address()).json()["permissions"].clone();
    assert_eq!(rights(&fake), json!(["storage.objects.get", "storage.objects.create"]));
    fake.allow(Some(vec!["storage.objects.create".to_owned(), "other".to_owned()]));
    assert_eq!(rights(&fake), json!(["storage.objects.create"]));
    fake.allow(Some(vec![]));
    assert_eq!(rights(&fake), json!(null));
    let last = fake.seen().pop().unwrap();
    assert_eq!((last.when, last.bucket.as_str(), last.status), (When::Bucket, "bkt", Some(200)));
}

/// A record grows an hour old in no time: its age, by the server's own clock, says so.
#[test]
fn the_clock_moves_on() {
    let fake = fake();
    let first = Call::create("x", b"1").on(fake.address()).generation();
    fake.advance_clock(Duration::from_hours(1));
    let read = Call::read("x", "").on(fake.address());
    let date = |name: &str| httpdate::parse_http_date(read.header(name).unwrap()).unwrap();
    let age = date("date").duration_since(date("last-modified")).unwrap();
    assert!(age >= Duration::from_hours(1), "{age:?}");
    let second = Call::overwrite("x", first, b"2").on(fake.address()).generation();
    assert!(second - first >= 3_600_000_000, "generations are microseconds of that clock");
}
