//! What the fake refuses, and in which words.

use leasehold_servers::gcs::When;

use crate::client::{Call, Connection};
use crate::store::fake;

/// Somebody has mistyped a bucket, another a lock: the two must be told apart, by words alone where bytes
/// were asked for.
#[test]
fn a_missing_bucket_is_no_missing_object() {
    let fake = fake();
    let call = |call: Call| call.on(fake.address());
    let object = call(Call::read("p/x", ""));
    assert_eq!((object.code, object.text()), (404, "No such object: bkt/p/x"));
    assert_eq!(object.header("content-type"), Some("text/html; charset=UTF-8"));
    let object = call(Call::new("GET", "/storage/v1/b/bkt/o/x")).json();
    assert_eq!(object["error"]["message"], "No such object: bkt/x");
    assert_eq!(object["error"]["code"], 404);
    for missing in [
        Call::new("GET", "/storage/v1/b/c/o/x?alt=media"),
        Call::new("GET", "/storage/v1/b/c"),
        Call::new("GET", "/storage/v1/b/c/o"),
        Call::new("GET", "/storage/v1/b/c/iam/testPermissions?permissions=x"),
        Call::new("DELETE", "/storage/v1/b/c/o/x?ifGenerationMatch=1"),
        Call::new("POST", "/upload/storage/v1/b/c/o?uploadType=media&name=x").with_body("1"),
    ] {
        let reply = call(missing);
        assert_eq!(reply.code, 404);
        assert!(reply.header("date").is_some(), "{reply:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["message"], "The specified bucket does not exist.");
        assert_eq!(error["errors"][0]["reason"], "notFound");
    }
}

/// Broken requests of every sort are refused, and the server lives on. None counts as a read or a write.
#[test]
fn nonsense_is_refused() {
    let fake = fake();
    let upload = "/upload/storage/v1/b/bkt/o?uploadType=multipart";
    let related = |kind: &str, body: &str| {
        Call::new("POST", upload).with_header("Content-Type", kind).with_body(body)
    };
    let name = "{\"name\":\"x\"}";
    let long = "x".repeat(1025);
    let calls = [
        (404, Call::new("GET", "/")),
        (404, Call::new("PUT", "/storage/v1/b/bkt/o/x")),
        (404, Call::new("GET", "/storage/v1/b/bkt/o/p/x?alt=media")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o/%zz?alt=media")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o/%f?alt=media")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o/%ff?alt=media")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o/?alt=media")),
        (400, Call::new("GET", format!("/storage/v1/b/bkt/o/{long}?alt=media"))),
        (400, Call::read("x", "&ifGenerationMatch=-1")),
        (400, Call::read("x", "&ifGenerationMatch=")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o?maxResults=all")),
        (400, Call::new("GET", "/storage/v1/b/bkt/o?pageToken=mine")),
        (400, Call::new("POST", "/storage/v1/b?project=p").with_body("[]")),
        (400, Call::new("POST", "/storage/v1/b?project=p").with_body("{}")),
        (400, Call::new("POST", "/storage/v1/b?project=p").with_body("{\"name\":\"Locks\"}")),
        (400, Call::new("POST", "/storage/v1/b?project=p").with_body("{\"name\":\"lo\"}")),
        (400, Call::new("POST", "/upload/storage/v1/b/bkt/o?uploadType=resumable&name=x")),
        (400, Call::new("POST", "/upload/storage/v1/b/bkt/o?uploadType=media").with_body("1")),
        (400, related("application/json", name)),
        (400, related("multipart/related", name)),
        (400, related("multipart/related; boundary=", name)),
        (400, related("multipart/related; boundary=a", name)),
        (400, related("multipart/related; boundary=a", "--a\r\n\r\n{}\r\n--a\r\n\r\n1\r\n--a--")),
        (400, related("multipart/related; boundary=a", "--a\r\n\r\n{\r\n--a\r\n\r\n1\r\n--a--")),
        (400, related("multipart/related; boundary=a", "--a\r\n\r\n{\"name\":\"x\"}\r\n--a--")),
    ];
    for (code, call) in calls {
        let reply = call.on(fake.address());
        assert_eq!(reply.code, code, "{call:?}: {}", reply.text());
    }
    assert!(fake.seen().iter().all(|seen| seen.when == When::Any), "{:#?}", fake.seen());
    assert_eq!(Call::create("x", b"1").on(fake.address()).code, 200);
}

/// A body beyond the bound is refused before it is all here, and the connection with it.
#[test]
fn a_body_has_a_bound() {
    let fake = fake();
    let largest = Call::new("POST", "/upload/storage/v1/b/bkt/o?uploadType=media&name=x");
    assert_eq!(largest.clone().with_body(vec![b' '; 1 << 20]).on(fake.address()).code, 200);
    let mut connection = Connection::to(fake.address());
    let reply = connection.call(&largest.with_body(vec![b' '; (1 << 20) + 1])).unwrap();
    assert_eq!((reply.code, reply.header("connection")), (413, Some("close")));
    assert_eq!(fake.seen().len(), 1);
}

/// A client must not give its credentials to a server that it reaches without TLS; the fake tells whether it
/// did.
#[test]
fn credentials_are_noticed() {
    let fake = fake();
    Call::read("x", "").on(fake.address());
    Call::read("x", "").with_header("Authorization", "Bearer secret").on(fake.address());
    let authorized: Vec<_> = fake.seen().iter().map(|seen| seen.authorized).collect();
    assert_eq!(authorized, [false, true]);
    assert!(!format!("{fake:?}").contains("secret"));
}
