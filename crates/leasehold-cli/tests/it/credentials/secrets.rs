//! What must not get out: secrets into an output or a record, and credentials to whom they are not for.

use std::io::{Read, Write};
use std::net::TcpStream;

use leasehold_servers::account::Account;
use leasehold_servers::tokens::Mode;
use serde_json::json;

use super::place::{ACCOUNT, Place};
use crate::world::end;

/// What all secrets of these tests have in them, and what a key has.
const SECRET: [&str; 3] = ["secret-", "ya29", "PRIVATE"];

#[track_caller]
fn assert_no_secret(text: &str) {
    let found = SECRET.iter().find(|secret| text.contains(**secret));
    assert_eq!(found, None, "{text}");
}

/// Whatever is asked of the program, and whatever goes wrong, no secret is printed or stored.
#[test]
fn no_secret_is_told() {
    let place = Place::new();
    let tell = |words: &[&str]| {
        let mut command = place.leasehold(words);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        let seen = end(command);
        assert_no_secret(&format!("{seen:?}"));
        seen
    };
    let all = |code: i32| {
        for words in [
            &["run", "x", "--ttl", "1s", "--", "env"][..],
            &["status", "x", "--json"],
            &["list", "--json"],
        ] {
            assert_eq!(tell(words).code(), code, "{words:?}");
        }
    };
    place.has_file(&place.login());
    all(0);
    tell(&["doctor", "--json"]).expect(0);
    place.gcs.accept(|_| false);
    all(77);
    // One who repeats what was asked.
    let echo = r#"{"error":"invalid_grant","refresh_token":"1//secret-refresh"} secret-subject"#;
    place.tokens.set(Mode::Refuse(400, echo.to_owned()));
    all(77);
    place.has_file(&place.federation(None));
    all(77);
    place.tokens.set(Mode::Give);
    place.gcs.accept(place.tokens.check());
    all(0);
    assert_no_secret(&record(&place, "x"));
}

/// The record as it stands in the bucket.
fn record(place: &Place, name: &str) -> String {
    place.gcs.accept(|_| true);
    let request = format!(
        "GET /storage/v1/b/acme/o/locks%2F{name}?alt=media HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer any\r\nConnection: close\r\n\r\n"
    );
    let mut connection = TcpStream::connect(place.gcs.address()).expect("it listens");
    connection.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("token"), "{answer}");
    answer
}

/// Files with a mistake in them: the mistake is told, and not what stands there.
#[test]
fn a_bad_file_is_not_repeated() {
    let place = Place::new();
    let mut login = place.login();
    login["token_uri"] = json!(["secret-a"]);
    let mut key: serde_json::Value =
        serde_json::from_str(&Account::new(ACCOUNT).key_file()).expect("it is JSON");
    let pem = key["private_key"].as_str().expect("text").replace("PRIVATE", "EC PRIVATE");
    key["private_key"] = json!(pem);
    let cases = [
        json!("secret-string").to_string(),
        json!(["secret-array"]).to_string(),
        json!({ "type": ["secret-type"] }).to_string(),
        json!({ "type": "authorized_user", "client_id": { "secret-key": 1 } }).to_string(),
        json!({ "type": "service_account", "client_email": "a", "private_key_id": "b",
                "project_id": "c", "private_key": "secret-key" })
        .to_string(),
        json!({ "type": "external_account", "audience": "a", "subject_token_type": "b",
                "token_url": "c", "credential_source": "secret-source" })
        .to_string(),
        "{\"type\":\"authorized_user\",\"client_secret\":\"secret-line\nsecret-next\"}".to_owned(),
        login.to_string(),
        key.to_string(),
    ];
    for text in cases {
        place.has_text(&text);
        let seen = end(place.leasehold(&["run", "x", "--", "true"]));
        assert_no_secret(&format!("{seen:?}"));
        assert!(seen.expect(77).err.contains("cannot get credentials"), "{text}");
    }
}

/// An endpoint without TLS, which may be anybody: it gets no credentials, though there are some.
#[test]
fn no_credentials_are_sent_in_clear() {
    let place = Place::new();
    place.has_file(&place.login());
    let mut command = place.leasehold(&["run", "x", "--", "true"]);
    end({
        command.env("LEASEHOLD_BACKEND", place.gcs.url("acme/locks"));
        command
    })
    .expect(77);
    let seen = place.gcs.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| !seen.authorized), "{seen:?}");
    assert_eq!(place.tokens.asked(), [], "none are even asked for");
}

/// A server whose certificate nobody vouches for. It is told so, in the time that a store which is away
/// gets, and nothing was sent there.
#[test]
fn a_server_that_is_not_trusted_gets_nothing() {
    let place = Place::new();
    place.has_file(&place.login());
    let stranger = Place::new();
    place.world.write("ca.pem", stranger.tls.authority());
    let seen = end(place.leasehold(&["run", "x", "--ttl", "1s", "--", "true"])).expect(69);
    assert!(seen.err.contains("certificate"), "{seen:?}");
    assert_eq!(place.gcs.seen(), []);
}
