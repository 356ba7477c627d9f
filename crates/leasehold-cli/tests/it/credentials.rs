//! The program with credentials for Google Cloud Storage, of every kind that can be had without Google:
//! from a file, from whoever gives out tokens, over TLS to a bucket that asks for them.
//!
//! No test reaches beyond the loopback device: where a kind of credentials is not there, it is not asked
//! for at Google's either.

mod place;
mod renewal;
mod secrets;
mod trouble;

use std::fs;

use leasehold_servers::account::Account;
use leasehold_servers::tokens::Mode;
use serde_json::json;

use crate::world::end;
use place::{ACCOUNT, Place, SCOPE};

/// Somebody has logged in with gcloud: the login is turned into a token, and the lock is taken with it.
#[test]
fn a_users_login_works() {
    let place = Place::new();
    place.has_file(&place.login());
    let seen = end(place.leasehold(&["run", "deploy", "--", "echo", "done"])).expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("done\n", ""));
    place.assert_all_had("ya29.secret-token-0");
    let asked = place.tokens.asked();
    assert_eq!(asked.len(), 1, "a token is used again: {asked:?}");
    let form: serde_json::Value = serde_json::from_str(&asked[0].body).expect("it is JSON");
    assert_eq!(form["grant_type"], "refresh_token", "{form}");
    assert_eq!(form["refresh_token"], "1//secret-refresh", "{form}");
    assert_eq!(form["scopes"], SCOPE, "no wider one");
}

/// A job elsewhere has a token of its own provider in a file, as in GitHub Actions or Kubernetes. It is
/// exchanged for one of Google's.
#[test]
fn workload_identity_federation_works() {
    let place = Place::new();
    place.has_file(&place.federation(None));
    end(place.leasehold(&["run", "deploy", "--", "true"])).expect(0);
    place.assert_all_had("ya29.secret-token-0");
    let asked = place.tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let scope = "scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdevstorage.read_write";
    // In any order.
    let pairs: Vec<&str> = asked[0].body.split('&').collect();
    assert!(pairs.contains(&scope), "no wider one: {asked:?}");
    assert!(pairs.contains(&"subject_token=secret-subject"), "{asked:?}");
}

/// The same with a service account behind it, which is what Google's guide for GitHub Actions makes: the
/// exchanged token is only good for asking for the account's.
#[test]
fn federation_with_a_service_account_works() {
    let place = Place::new();
    place.has_file(&place.federation(Some(&place.tokens.impersonation_url(ACCOUNT))));
    end(place.leasehold(&["run", "deploy", "--", "true"])).expect(0);
    place.assert_all_had("ya29.secret-token-1");
    let asked = place.tokens.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1].authorization.as_deref(), Some("Bearer ya29.secret-token-0"));
    let body: serde_json::Value = serde_json::from_str(&asked[1].body).expect("it is JSON");
    assert_eq!(body["scope"], json!([SCOPE]), "no wider one");
}

/// `gcloud auth application-default login --impersonate-service-account` leaves such a file.
#[test]
fn a_users_login_as_a_service_account_works() {
    let place = Place::new();
    let file = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": place.tokens.impersonation_url(ACCOUNT),
        "source_credentials": place.login(),
        "delegates": [],
    });
    place.has_file(&file);
    end(place.leasehold(&["run", "deploy", "--", "true"])).expect(0);
    place.assert_all_had("ya29.secret-token-1");
}

/// On a virtual machine there is no file, but a server that answers for the machine's account.
#[test]
fn the_metadata_server_works() {
    let place = Place::new();
    let mut command = place.leasehold(&["run", "deploy", "--", "true"]);
    command.env("GCE_METADATA_HOST", place.tokens.address().to_string());
    end(command).expect(0);
    place.assert_all_had("ya29.secret-token-0");
    let asked = place.tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let query = "?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdevstorage.read_write";
    assert!(asked[0].target.ends_with(query), "no wider one: {asked:?}");
}

/// A service account's key signs its own tokens, and asks nobody. A key that is not the account's is
/// refused, which shows that the signature is looked at.
#[test]
fn a_service_accounts_key_works() {
    let place = Place::new();
    let account = Account::new(ACCOUNT);
    place.gcs.accept(account.check(SCOPE));
    place.has_text(&account.key_file());
    end(place.leasehold(&["run", "deploy", "--", "true"])).expect(0);
    assert_eq!(place.tokens.asked(), []);
    assert!(place.gcs.seen().iter().all(|seen| seen.status != Some(401)), "{:?}", place.gcs.seen());
    place.has_text(&Account::new(ACCOUNT).key_file());
    end(place.leasehold(&["run", "deploy", "--", "true"])).expect(77);
}

/// What is wrong with the file is said at once and with the way out, not after a ttl of waiting.
#[test]
fn a_file_that_is_of_no_use_is_77() {
    let place = Place::new();
    let mut lacking = place.login();
    lacking.as_object_mut().expect("an object").remove("refresh_token");
    let cases = [
        (String::new(), "EOF"),
        ("not json".to_owned(), "expected"),
        ("{}".to_owned(), "type"),
        (json!({ "type": "magic" }).to_string(), "magic"),
        (lacking.to_string(), "refresh_token"),
    ];
    for (text, word) in cases {
        place.has_text(&text);
        let seen = end(place.leasehold(&["run", "deploy", "--", "true"])).expect(77);
        for word in [word, "cannot get credentials", "GOOGLE_APPLICATION_CREDENTIALS"] {
            assert!(seen.err.contains(word), "{text:?} lacks {word}: {seen:?}");
        }
    }
    fs::remove_file(place.file()).expect("it is there");
    let mut command = place.leasehold(&["run", "deploy", "--", "true"]);
    let seen = end({
        command.env("GOOGLE_APPLICATION_CREDENTIALS", place.file());
        command
    })
    .expect(77);
    assert!(seen.err.contains(&place.file().display().to_string()), "{seen:?}");
    assert_eq!(place.gcs.seen(), [], "nothing is sent without credentials");
}

/// A machine without a file, and without a metadata server that answers. Such a server may be late, as in
/// a pod that has just been started, so it gets the time that a store gets; then the way out is told.
#[test]
fn no_credentials_at_all_is_69() {
    let place = Place::new();
    let seen = end(place.leasehold(&["run", "x", "--ttl", "1s", "--", "true"])).expect(69);
    for word in ["127.0.0.1:1/computeMetadata", "refused", "GOOGLE_APPLICATION_CREDENTIALS"] {
        assert!(seen.err.contains(word), "{word}: {seen:?}");
    }
    assert_eq!(place.gcs.seen(), [], "nothing is sent without credentials");
}

/// The login was withdrawn: the one who gives out tokens says so, and that is what is told.
#[test]
fn a_login_that_was_withdrawn_is_77() {
    let place = Place::new();
    place.has_file(&place.login());
    let body = r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
    place.tokens.set(Mode::Refuse(400, body.to_owned()));
    let seen = end(place.leasehold(&["run", "deploy", "--", "true"])).expect(77);
    for word in ["invalid_grant", "cannot get credentials", "application-default login"] {
        assert!(seen.err.contains(word), "{word}: {seen:?}");
    }
    assert_eq!(place.gcs.seen(), [], "nothing is sent without credentials");
}

/// The bucket does not accept the token that was given: 77, and what to do.
#[test]
fn a_token_that_is_refused_is_77() {
    let place = Place::new();
    place.has_file(&place.login());
    place.gcs.accept(|_| false);
    for words in [&["run", "deploy", "--", "true"][..], &["status", "deploy"], &["list"]] {
        let seen = end(place.leasehold(words)).expect(77);
        assert!(seen.err.contains("401") && seen.err.contains("auth"), "{seen:?}");
    }
    let seen = place.gcs.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.status == Some(401)), "{seen:?}");
}
