//! Records that are not ours to use, and what of them is not ours to change.

use leasehold::ErrorKind;

use super::{begun, found_done, run_now};
use crate::Peer;
use crate::mutex::{plant, stored};
use crate::setup::{Setup, key, secs};

async fn text(s: &Setup, name: &str) -> String {
    let bytes = stored(&s.backend(), name).await.expect("a record").bytes;
    String::from_utf8(bytes).expect("a record is text")
}

/// A mutex must not take a name of `once` for a free lock, and a run of `once` must not begin on a name
/// that is a mutex: that would run it beside the holder's section, or lose what is done. Both are
/// refused with the kind, and nothing is written.
pub(crate) async fn wrong_kind_is_refused(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    run_now(&a.client, "done", "").await;
    drop(begun(&a.client.once("begun")).await);
    a.client.mutex("free").acquire().await.expect("the lock").release().await.expect("released");
    let _held = a.client.mutex("held").acquire().await.expect("the lock");
    let state = async |name: &str| stored(&s.backend(), name).await.map(|state| state.version);
    a.client.clone().close().await;
    for client in [&a.client, &b.client] {
        for (name, kind) in [("done", "once"), ("begun", "once"), ("free", "mutex")] {
            let before = state(name).await;
            let refused = match kind {
                "once" => client.mutex(name).acquire().await.err(),
                _ => client.once(name).begin().await.err(),
            };
            let error = refused.unwrap_or_else(|| panic!("{name} was used"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(kind), "{error}");
            assert_eq!(state(name).await, before, "{name}");
        }
    }
    let held = b.client.once("held").with_timeout(secs(0)).begin().await.expect_err("a mutex");
    assert!(matches!(held.kind(), ErrorKind::Invalid | ErrorKind::Timeout), "{held}");
    assert!(b.store.counts().writes == 0, "{:?}", b.store.counts());
}

/// What stands for the outcome is damaged, or a later version's. It is refused with the place, and
/// nobody runs anything on it: it may have been done.
pub(crate) async fn is_refused_and_untouched(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    let section = begun(&client.once("model")).await;
    section.save(b"row 1").await.expect("saved");
    section.failed(Some(3), "no disk").await.expect("recorded");
    let model = text(s, "model").await;
    let damages = [
        ("state", r#""state":"failed""#, r#""state":"nearly""#),
        ("no-state", r#""state":"failed","#, ""),
        ("no-key", r#""key":"","#, ""),
        ("checkpoint", r#""checkpoint":""#, r#""checkpoint":"!"#),
        ("failures", r#""failures":1"#, r#""failures":-1"#),
        ("code", r#""code":3"#, r#""code":300"#),
        ("format", r#""leasehold":1"#, r#""leasehold":9"#),
        ("cut", r#"{"leasehold""#, r#"{"outcome":{"leasehold""#),
    ];
    for (name, good, bad) in damages {
        let bytes = model.replacen(good, bad, 1);
        assert_ne!(bytes, model, "{name}: {good} is not in {model}");
        let version = plant(&s.backend(), name, bytes.as_bytes()).await;
        let refused = client.once(name).begin().await;
        let error = refused.err().unwrap_or_else(|| panic!("{name} was used"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        let place = s.backend().locate(&key(name));
        assert!(error.to_string().contains(&place), "{name}: {error}");
        let after = stored(&s.backend(), name).await.expect("a record").version;
        assert_eq!(after, version, "{name} was overwritten");
    }
}

/// Fields that a later version added to the outcome survive a run of this one, its saving and its
/// end.
pub(crate) async fn unknown_fields_survive(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    let section = begun(&client.once("x")).await;
    section.interrupted().await.expect("let go");
    let old = text(s, "x").await;
    let new = old.replacen(r#""outcome":{"#, r#""outcome":{"shade":["blue",1.5],"#, 1);
    assert_ne!(new, old);
    plant(&s.backend(), "x", new.as_bytes()).await;
    let other = s.peer().await;
    let section = begun(&other.client.once("x")).await;
    section.save(b"row 1").await.expect("saved");
    section.done(None).await.expect("recorded");
    found_done(&client.once("x")).await;
    let kept = text(s, "x").await;
    assert!(kept.contains(r#""shade":["blue",1.5]"#), "{kept}");
}

/// Keys that cannot be keys are refused before anything is sent; odd ones that can be are kept apart.
pub(crate) async fn bad_keys_are_refused(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let (long, longest) = ("é".repeat(65), "é".repeat(64));
    for bad in ["a\nb", "\u{1b}[2J", "a\u{202E}b", &long] {
        let error = client.once("x").keyed(bad).begin().await.expect_err("not a key");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!error.to_string().contains(['\n', '\u{1b}', '\u{202E}']), "{error}");
    }
    assert_eq!((store.counts().reads, store.counts().writes), (0, 0));
    for good in ["", " ", "v1", "V1", "v1 ", "\"}],\\", "../x", &longest] {
        run_now(&client, "x", good).await;
    }
    let section = begun(&client.once("y")).await;
    let error = section.save(&[0; 4097]).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    section.save(&[0xFF; 4096]).await.expect("saved");
    drop(section);
    client.clone().close().await;
    let section = begun(&client.once("y")).await;
    assert_eq!(section.checkpoint(), Some(&[0xFF; 4096][..]));
}
