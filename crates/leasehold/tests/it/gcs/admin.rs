//! A bucket is made, looked at, and asked for one's rights.

use leasehold_core::admin::{Step, StepState};
use leasehold_core::backend::{BackendError, Trouble};
use leasehold_servers::gcs::{Fake, Fault, Rule, When};

use super::open;

async fn init(server: &Fake, place: &str, more: &str) -> Result<Vec<Step>, BackendError> {
    let backend = open(&format!("{}{more}", server.url(place)));
    backend.admin().expect("a bucket can be made").init(false).await
}

/// What is wrong with a bucket, in words.
async fn wrong(server: &Fake, place: &str) -> Vec<String> {
    let steps = init(server, place, "").await.expect("the bucket is there");
    let wrong = steps.into_iter().filter_map(|step| match step.state {
        StepState::Wrong(why) => Some(why),
        _ => None,
    });
    wrong.collect()
}

/// A bucket that is not there is planned, made once, and then found as it should be: a lock can be held
/// in it at once.
#[tokio::test]
async fn a_bucket_is_made_once() {
    let server = Fake::start();
    let url = format!("{}&project=acme&location=EU", server.url("fresh/prod"));
    let backend = open(&url);
    let admin = backend.admin().expect("a bucket can be made");
    let planned = admin.init(true).await.expect("a plan");
    assert!(planned.iter().all(|step| step.state == StepState::Planned), "{planned:?}");
    assert!(planned[0].what.contains("fresh") && planned[0].what.contains("EU"), "{planned:?}");
    let again = admin.init(true).await.expect("a plan");
    assert_eq!(again, planned, "to plan is not to make");
    let made = admin.init(false).await.expect("made");
    assert!(made.iter().all(|step| step.state == StepState::Made), "{made:?}");
    let found = admin.init(false).await.expect("found");
    assert!(found.iter().all(|step| step.state == StepState::Found), "{found:?}");
    let client = leasehold::connect(&url).await.expect("a client");
    let guard = client.mutex("x").acquire().await.expect("the lock");
    guard.release().await.expect("released");
}

/// What in a bucket's settings breaks locks is told, with what mends it; what does not is not.
#[tokio::test]
async fn a_bucket_that_breaks_locks_is_told() {
    let uniform = r#""iamConfiguration":{"uniformBucketLevelAccess":{"enabled":true}}"#;
    let rule = |condition: &str| {
        let rule = format!(r#"{{"action":{{"type":"Delete"}},"condition":{condition}}}"#);
        format!(r#"{{{uniform},"lifecycle":{{"rule":[{rule}]}}}}"#)
    };
    for (settings, word) in [
        (format!("{{{uniform}}}"), None),
        ("{}".into(), Some("--uniform-bucket-level-access")),
        (rule(r#"{"age":30}"#), Some("lifecycle")),
        (rule(r#"{"age":30,"matchesPrefix":["pro"]}"#), Some("lifecycle")),
        (rule(r#"{"age":30,"matchesPrefix":["prod/deploy"]}"#), Some("lifecycle")),
        (rule(r#"{"age":30,"matchesPrefix":["logs/"]}"#), None),
        (rule(r#"{"age":30,"matchesStorageClass":["STANDARD"]}"#), Some("lifecycle")),
        (rule(r#"{"numNewerVersions":0}"#), Some("lifecycle")),
        (rule(r#"{"isLive":true}"#), Some("lifecycle")),
        // What cannot meet the newest version of an object that we wrote.
        (rule(r#"{"isLive":false}"#), None),
        (rule(r#"{"numNewerVersions":3}"#), None),
        (rule(r#"{"daysSinceNoncurrentTime":1}"#), None),
        (rule(r#"{"noncurrentTimeBefore":"2026-01-01"}"#), None),
        (rule(r#"{"daysSinceCustomTime":3}"#), None),
        (rule(r#"{"customTimeBefore":"2026-01-01"}"#), None),
        (rule(r#"{"age":30,"matchesStorageClass":["ARCHIVE"]}"#), None),
        (rule(r#"{"age":30}"#).replace("Delete", "SetStorageClass"), None),
        (rule(r#"{"age":30}"#).replace("Delete", "AbortIncompleteMultipartUpload"), None),
        (format!(r#"{{{uniform},"objectRetention":{{"mode":"Enabled"}}}}"#), None),
        (
            format!(r#"{{{uniform},"defaultEventBasedHold":true}}"#),
            Some("--no-default-event-based-hold"),
        ),
        (format!(r#"{{{uniform},"defaultEventBasedHold":false}}"#), None),
        (
            format!(r#"{{{uniform},"retentionPolicy":{{"retentionPeriod":"9","isLocked":true}}}}"#),
            Some("use another bucket"),
        ),
        (
            format!(r#"{{{uniform},"retentionPolicy":{{"retentionPeriod":"3600"}}}}"#),
            Some("--clear-retention-period"),
        ),
    ] {
        let server = Fake::start();
        server.make_bucket_as("acme", &settings);
        let wrong = wrong(&server, "acme/prod").await;
        match word {
            Some(word) => {
                assert!(wrong.len() == 1 && wrong[0].contains(word), "{settings}: {wrong:?}");
            }
            None => assert!(wrong.is_empty(), "{settings}: {wrong:?}"),
        }
    }
}

/// Whoever cannot make or see a bucket learns what is missing: the project, a right, another name.
#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let server = Fake::start();
    let error = init(&server, "fresh", "").await.expect_err("no project");
    assert!(error.trouble == Trouble::Invalid && error.message.contains("?project=ID"), "{error}");
    for (code, trouble, word) in [
        (403, Trouble::Denied, "storage.buckets.create"),
        (409, Trouble::Invalid, "choose another"),
    ] {
        let backend = open(&format!("{}&project=acme", server.url("fresh")));
        // The first request only looks.
        let look = Fault::Answer { code: 404, retry_after: None, done: false };
        server.script(Rule { when: When::Bucket, times: Some(1), fault: look });
        let fault = Fault::Answer { code, retry_after: None, done: false };
        server.script(Rule { when: When::Bucket, times: Some(1), fault });
        let error = backend.admin().expect("a bucket").init(false).await.expect_err("refused");
        assert!(error.trouble == trouble && error.message.contains(word), "{code}: {error}");
    }
    let fault = Fault::Answer { code: 403, retry_after: None, done: false };
    server.script(Rule { when: When::Bucket, times: Some(1), fault });
    let error = init(&server, "fresh", "").await.expect_err("somebody else's");
    assert!(error.trouble == Trouble::Denied && error.message.contains("storage.buckets.get"));
}

/// Which rights one has. Of those that may be given for some names only, the bucket cannot tell that they
/// are missing.
#[tokio::test]
async fn rights_are_told() {
    let server = Fake::start();
    server.make_bucket("acme");
    server.allow(Some(vec!["storage.objects.get".into()]));
    for (place, others) in [("acme", Some(false)), ("acme/prod", None)] {
        let backend = open(&server.url(place));
        let rights = backend.admin().expect("rights").rights().await.expect("an answer");
        for right in rights {
            let expected = if right.name == "storage.objects.get" { Some(true) } else { others };
            assert_eq!(right.is_held, expected, "{place}: {}", right.name);
        }
    }
    let error = open(&server.url("amce")).admin().expect("rights").rights().await;
    assert_eq!(error.expect_err("no bucket").trouble, Trouble::Invalid);
}
