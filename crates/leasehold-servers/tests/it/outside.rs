//! Another's opinion: one conversation with fake-gcs-server and with the fake, and where the two differ.
//!
//! The differences are listed, so that a reader knows what a test against fake-gcs-server can say, and so
//! that a new version of it, or a change of the fake, that differs elsewhere is noticed.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;

use leasehold_servers::gcs;

use crate::client::{Call, Connection, Reply};
use crate::store::fake;

/// What was asked, what the fake said, and what fake-gcs-server 1.55 said where that is another thing.
///
/// It ignores conditions but on uploads, knows no rights, and does not tell a missing bucket from a missing
/// object.
const CONVERSATION: [(&str, &str, Option<&str>); 16] = [
    ("read what is not there", r#"404 dated "No such object: bkt/X""#, Some(NOT_FOUND_TEXT)),
    ("write what is not there", FAILED, Some(FAILED_THERE)),
    ("create", "200 dated json", None),
    ("create again", FAILED, Some(FAILED_THERE)),
    ("read", READ, Some(READ_THERE)),
    ("read unless known", "304 generation metageneration modified dated", Some(READ_THERE)),
    ("read unless other", READ, Some(READ_THERE)),
    ("read if other", FAILED_READ, Some(READ_THERE)),
    ("overwrite", "200 dated json", None),
    ("overwrite again", FAILED, Some(FAILED_THERE)),
    ("delete the old", FAILED, Some("200 dated json")),
    ("delete", "204 dated", Some(NOT_FOUND)),
    ("delete again", "404 dated notFound: No such object: bkt/X", Some(NOT_FOUND)),
    ("read without a bucket", NO_BUCKET, Some(NOT_FOUND_TEXT)),
    ("write without a bucket", NO_BUCKET, Some(NOT_FOUND)),
    ("ask for rights", "200 dated json", Some(NOT_FOUND_TEXT)),
];
const READ: &str = r#"200 generation metageneration modified dated "1""#;
const READ_THERE: &str = r#"200 generation modified dated "1""#;
const FAILED: &str = "412 dated conditionNotMet: At least one of the pre-conditions you specified \
                      did not hold.";
const FAILED_READ: &str = "412 generation metageneration modified dated conditionNotMet: At least \
                           one of the pre-conditions you specified did not hold.";
const FAILED_THERE: &str = "412 dated conditionNotMet: Precondition failed";
const NO_BUCKET: &str = "404 dated notFound: The specified bucket does not exist.";
const NOT_FOUND: &str = "404 dated notFound: Not Found";
const NOT_FOUND_TEXT: &str = r#"404 dated "Not Found""#;

/// The fake says what the list has.
#[test]
fn the_fake_differs_as_listed() {
    let said = converse(fake().address());
    assert_eq!(said, CONVERSATION.map(|(_, fake, _)| fake));
}

/// fake-gcs-server says the same, but for what the list has.
#[test]
fn fake_gcs_server_differs_as_listed() {
    let server = match gcs::outside() {
        Ok(server) => server,
        Err(why) => return skipped(&why),
    };
    let address = server.strip_prefix("http://").and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("not http://IP:PORT: {server}"));
    let make = Call::new("POST", "/storage/v1/b?project=p").with_body(r#"{"name":"bkt"}"#);
    let code = make.on(address).code;
    assert!(code == 200 || code == 409, "{code}");
    let said = converse(address);
    assert_eq!(said, CONVERSATION.map(|(_, fake, there)| there.unwrap_or(fake)));
}

/// Asks what the list has, and puts each answer into words.
fn converse(address: SocketAddr) -> Vec<String> {
    let x = &format!("conversation/{}", std::process::id());
    let mut connection = Connection::to(address);
    let mut said = Vec::new();
    let mut ask = |call: Call| {
        let reply = connection.call(&call).unwrap_or_else(|e| panic!("{e}: {call:?}"));
        said.push(words(&reply).replace(x, "X"));
        reply
    };
    let elsewhere =
        |call: Call| call.with_target(|target| target.replace("/b/bkt/", "/b/bkt-not/"));

    ask(Call::read(x, ""));
    ask(Call::overwrite(x, 5, b"0"));
    let first = ask(Call::create(x, b"1")).generation();
    ask(Call::create(x, b"2"));
    ask(Call::read(x, ""));
    ask(Call::read(x, &format!("&ifGenerationNotMatch={first}")));
    ask(Call::read(x, "&ifGenerationNotMatch=5"));
    ask(Call::read(x, "&ifGenerationMatch=5"));
    let second = ask(Call::overwrite(x, first, b"3")).generation();
    assert!(second > first);
    ask(Call::overwrite(x, first, b"4"));
    ask(Call::delete(x, first));
    ask(Call::delete(x, second));
    ask(Call::delete(x, second));
    ask(elsewhere(Call::read(x, "")));
    ask(elsewhere(Call::create(x, b"1")));
    ask(Call::new("GET", "/storage/v1/b/bkt/iam/testPermissions?permissions=storage.objects.get"));
    said
}

/// What a client can build on: the status, the headers, the error.
fn words(reply: &Reply) -> String {
    let mut words = vec![reply.code.to_string()];
    for (header, word) in [
        ("x-goog-generation", "generation"),
        ("x-goog-metageneration", "metageneration"),
        ("last-modified", "modified"),
        ("date", "dated"),
    ] {
        words.extend(reply.header(header).map(|_| word.to_owned()));
    }
    let kind = reply.header("content-type").unwrap_or_default();
    let is_read = reply.header("x-goog-generation").is_some() && reply.code == 200;
    if kind.starts_with("application/json") && !is_read {
        let error = &reply.json()["error"];
        words.push(match error["message"].as_str() {
            None => "json".to_owned(),
            Some(what) => {
                format!("{}: {what}", error["errors"][0]["reason"].as_str().unwrap_or("?"))
            }
        });
    } else if !reply.body.is_empty() {
        words.push(format!("{:?}", reply.text().trim_end()));
    }
    words.join(" ")
}

/// Tells `cargo xtask test`, which tells it at its end.
pub(crate) fn skipped(why: &str) {
    let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") else { return };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("SKIPPED: {why}\n").as_bytes()));
    written.expect("a skip can be told");
}
