//! Records that are not ours to use: refused with the place and the reason, never overwritten.

use leasehold::{Client, ErrorKind, FencingToken, Forced, State};
use leasehold_core::backend::{MAX_RECORD_BYTES, Reading, Version, Versioned};
use leasehold_core::record::Record;

use super::{acquired, got, plant, record, released, stored};
use crate::setup::{Setup, key, pass, secs, soon};
use crate::{Call, Fault, Peer};

/// What may stand under a key: what it is called here, its bytes, and a word of the error.
fn damages() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let newer = br#"{"leasehold":2,"kind":"mutex","token":7,"lease":"in new words"}"#;
    let two =
        br#"{"leasehold":1,"kind":"mutex","token":7,"write":"00000000000000000000000000000001"}"#;
    vec![
        ("newer", newer.to_vec(), "newer"),
        ("foreign", br#"{"ID":"c1a7","Operation":"OperationTypeApply"}"#.to_vec(), "not one of"),
        ("incomplete", two.to_vec(), "field is missing"),
        ("cut", br#"{"leasehold":1,"kind":"mut"#.to_vec(), "cut off"),
        ("binary", vec![0xFF, 0x00, 0x1B, b'[', b'2', b'J'], "JSON"),
        ("text", b"locked by bob\n".to_vec(), "JSON"),
        ("long", vec![b' '; MAX_RECORD_BYTES], "cut off"),
    ]
}

/// Acquiring on a record that cannot be read is an error at once, which names the place and what is
/// wrong, without repeating what a stranger may have put there. Nothing is overwritten, whatever is
/// tried but `force_release`, and the token goes on from there.
pub(crate) async fn is_refused_and_repaired(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    for (name, bytes, word) in damages() {
        let token = {
            let guard = got(&client, name).await;
            let token = guard.token();
            released(guard).await;
            token
        };
        let version = plant(&s.backend(), name, &bytes).await;
        pass(secs(1)).await;
        for error in [
            client.mutex(name).acquire().await.err(),
            client.mutex(name).try_acquire().await.err(),
            client.mutex(name).wait_until_free().await.err(),
        ] {
            let error = error.unwrap_or_else(|| panic!("{name} was used"));
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
            let text = error.to_string();
            let place = s.backend().locate(&key(name));
            assert!(text.contains(&place) && text.contains(word), "{name}: {text}");
            assert!(!text.contains('\u{1b}') && !text.contains("bob"), "{name}: {text}");
        }
        let status = client.status(name).await.expect("an answer");
        assert_eq!(status.state, State::Unreadable);
        assert!(status.problem.is_some_and(|p| p.contains(word)), "{name}");
        let after = stored(&s.backend(), name).await.expect("a record");
        assert_eq!((&after.version, after.bytes), (&version, bytes), "{name} was overwritten");
        let forced = if name == "newer" {
            newer_is_left_alone(&client, name).await;
            assert_eq!(stored(&s.backend(), name).await.expect("a record").version, version);
            client.force(name, "a test").even_newer().release().await.expect("replaced")
        } else {
            client.force_release(name, "a test").await.expect("repaired")
        };
        let Forced::Repaired { token: repaired } = forced else { panic!("{name}: {forced:?}") };
        let guard = got(&client, name).await;
        assert!(guard.token() > token && guard.token() > repaired, "{name}");
    }
}

/// What a newer leasehold wrote is no damage: nothing here replaces it, and no message says that it
/// should be.
async fn newer_is_left_alone(client: &Client, name: &str) {
    for error in [
        client.force_release(name, "a test").await.err(),
        client.reset(name, "a test").await.err(),
        client.mutex(name).acquire().await.err(),
    ] {
        let error = error.expect("a newer record was used");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let text = error.to_string();
        assert!(text.contains("use a newer leasehold"), "{text}");
        assert!(!text.contains("repair"), "{text}");
    }
}

/// A token that is still legible in a damaged record is not gone below, even if it lies in the
/// future: the clock that made it may have been wrong.
pub(crate) async fn legible_token_is_kept(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    let future = 9_000_000_000_000_u64;
    let bytes = format!(r#"{{"leasehold":1,"kind":"mutex","token":{future},"holders":3}}"#);
    plant(&s.backend(), "x", bytes.as_bytes()).await;
    drop(client.force_release("x", "a test").await.expect("repaired"));
    assert!(got(&client, "x").await.token() > FencingToken(future));
}

/// A holder whose record is overwritten with something else has lost it, says so, and leaves what is
/// there alone.
pub(crate) async fn holder_is_told(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    let guard = acquired(&client, "x").await;
    let version = plant(&s.backend(), "x", b"locked by bob\n").await;
    let error = soon("the holder notices", guard.lost()).await;
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("overwritten"), "{error}");
    assert_eq!(guard.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
    pass(secs(100)).await;
    assert_eq!(stored(&s.backend(), "x").await.expect("a record").version, version);
}

/// A megabyte stands there, of which the backend hands out just enough to see that it is too much.
pub(crate) async fn too_much_is_refused(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let record = Versioned {
        bytes: vec![b'{'; MAX_RECORD_BYTES + 1],
        version: Version::new("too-much"),
        age: None,
        orphaned: false,
    };
    let reading = Reading { record: Some(record), unix_ms: None };
    store.when(move |r| (r.call == Call::Read).then(|| Fault::Answer(reading.clone())));
    let error = client.mutex("x").acquire().await.expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("16384"), "{error}");
    assert_eq!(store.counts().writes, 0);
}

/// The name is used as something else: a mutex must not take over an election, and says so.
pub(crate) async fn wrong_kind_is_refused(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    for kind in ["rwlock", "semaphore", "election", "once"] {
        released(got(&client, kind).await).await;
        let free = stored(&s.backend(), kind).await.expect("a record").bytes;
        let free = String::from_utf8(free).expect("a record is text");
        let bytes = free.replace(r#""kind":"mutex""#, &format!(r#""kind":"{kind}""#));
        assert_ne!(bytes, free);
        let version = plant(&s.backend(), kind, bytes.as_bytes()).await;
        let writes = store.counts().writes;
        let other = s.peer().await;
        let error = other.client.mutex(kind).acquire().await.expect_err("another kind");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(kind), "{error}");
        assert_eq!(stored(&s.backend(), kind).await.expect("a record").version, version);
        assert_eq!(store.counts().writes, writes);
    }
}

/// Fields that a later version added survive acquiring, renewing and releasing by this one: an old
/// program in a mixed fleet must not strip what a new one relies on.
pub(crate) async fn unknown_fields_survive(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    released(got(&client, "x").await).await;
    let bytes = stored(&s.backend(), "x").await.expect("a record").bytes;
    let text = String::from_utf8(bytes).expect("a record is text");
    let text = text.replacen('{', r#"{"shade":{"of":["blue",1.5,null]},"#, 1);
    plant(&s.backend(), "x", text.as_bytes()).await;
    // A client that remembers the state before loses the race and reads.
    let guard = soon("acquired", acquired(&client, "x")).await;
    pass(secs(60)).await;
    assert!(guard.is_held());
    released(guard).await;
    let record: Record = record(&s.backend(), "x").await.expect("a record");
    let shade = record.extra.get("shade").map(ToString::to_string);
    assert_eq!(shade.as_deref(), Some(r#"{"of":["blue",1.5,null]}"#));
}

/// Names that cannot be names are refused before anything is sent, and the error says why.
pub(crate) async fn bad_names_are_refused(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let long = "x".repeat(201);
    for name in
        ["", " x", "x ", "a//b", "/a", "a/", ".", "..", "a/../b", "a\nb", "a\u{202E}b", &long]
    {
        let errors = [
            client.mutex(name).acquire().await.err(),
            client.mutex(name).try_acquire().await.err(),
            client.status(name).await.err(),
            client.force_release(name, "a test").await.err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{name:?} was taken"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            let text = error.to_string();
            assert!(
                text.contains("cannot be used") && !text.contains(['\n', '\u{202E}']),
                "{text}"
            );
        }
    }
    assert_eq!((store.counts().reads, store.counts().writes), (0, 0));
}
