//! Looking at many names at once, and forgetting those that nobody uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Written,
};
use leasehold::{Begun, Client, ErrorKind, Forgotten, Ran, State};

/// A store that takes a moment for each read, refuses one name, and may lose the answer of a deletion.
#[derive(Debug, Default)]
struct Slow {
    store: MemoryBackend,
    reading: AtomicUsize,
    most: AtomicUsize,
    loses: AtomicBool,
}

impl Backend for Slow {
    fn facts(&self) -> Facts {
        self.store.facts()
    }

    fn url(&self) -> String {
        self.store.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.store.locate(key)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            let now = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.reading.fetch_sub(1, Ordering::SeqCst);
            if key.as_str() == "name-007" {
                return Err(BackendError::not_sent(Trouble::Denied, "403"));
            }
            self.store.read(key).await
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        self.store.write(key, expected, bytes)
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let deleted = self.store.delete(key, version).await;
            if self.loses.swap(false, Ordering::SeqCst) {
                return Err(BackendError::unknown(Trouble::Unavailable, "no answer"));
            }
            deleted
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.store.list(prefix)
    }
}

/// Somebody lists two hundred locks of a store that takes a moment for each, and may not read one of them.
/// They are read many at a time, but not all at once; each has its row, in order, and the one that could
/// not be read says why.
#[tokio::test]
async fn a_list_reads_many_at_once_and_hides_none() -> Result<(), leasehold::Error> {
    let store = Arc::new(Slow::default());
    for n in 0..200 {
        let key = Key::new(format!("name-{n:03}")).expect("a name");
        let made = store.store.write(&key, &Expected::Absent, b"damaged").await;
        assert!(matches!(made, Ok(Written::Applied(_))));
    }
    let client = Client::new(Arc::clone(&store) as Arc<dyn Backend>)?;
    let all = client.list("name-").await?;
    assert_eq!(store.most.load(Ordering::SeqCst), 32);
    assert_eq!(all.len(), 200);
    for (n, status) in all.iter().enumerate() {
        assert_eq!(status.name, format!("name-{n:03}"));
        let refused = n == 7;
        assert_eq!(status.state, if refused { State::Unknown } else { State::Unreadable });
        assert_eq!(status.error.as_ref().map(leasehold::Error::kind).is_some(), refused);
    }
    assert_eq!(all[7].error.as_ref().map(leasehold::Error::kind), Some(ErrorKind::Denied));
    assert_eq!(client.names("name-19").await?.len(), 10);
    Ok(())
}

/// A name is forgotten when nobody holds it, on the condition that it is still as it was read, also when
/// the store loses the answer. A holder keeps it, and what `once` knows is kept unless it is said.
#[tokio::test]
async fn only_what_nobody_needs_is_forgotten() -> Result<(), leasehold::Error> {
    let store = Arc::new(Slow::default());
    let client = Client::new(Arc::clone(&store) as Arc<dyn Backend>)?;
    assert_eq!(client.forget("x").await?, Forgotten::Absent);
    let guard = client.mutex("x").with_label("me").acquire().await?;
    let token = guard.token();
    let held = client.forget("x").await?;
    assert!(matches!(held, Forgotten::Held { holder } if holder.label == "me"));
    assert!(guard.is_held());
    guard.release().await?;
    let year = std::time::Duration::from_hours(365 * 24);
    assert_eq!(client.forget("x").older_than(year).await?, Forgotten::Young);
    store.loses.store(true, Ordering::SeqCst);
    // The token is the time of its making, which has to be over.
    let forgotten = loop {
        match client.forget("x").await? {
            Forgotten::Ahead { .. } => {}
            forgotten => break forgotten,
        }
    };
    assert_eq!(forgotten, Forgotten::Removed { token });
    assert_eq!(client.status("x").await?.state, State::Absent);

    let once = client.once("x");
    let Begun::Section(section) = once.begin().await? else { panic!("it is ours") };
    section.done(None).await?;
    assert!(matches!(client.forget("x").await?, Forgotten::Once { .. }));
    let forgotten = client.forget("x").even_once().token_may_fall().await?;
    assert!(matches!(forgotten, Forgotten::Removed { .. }));

    let last = b"{\"leasehold\":1,\"kind\":\"mutex\",\"token\":9007199254740990,\
        \"write\":\"00000000000000000000000000000001\",\"holders\":[]}";
    let key = Key::new("spent").expect("a name");
    let made = store.store.write(&key, &Expected::Absent, last).await;
    assert!(matches!(made, Ok(Written::Applied(_))));
    assert!(matches!(client.forget("spent").await?, Forgotten::Ahead { .. }));
    let forgotten = client.forget("spent").token_may_fall().await?;
    assert!(matches!(forgotten, Forgotten::Removed { .. }));
    let damaged = store.store.write(&key, &Expected::Absent, b"damaged").await;
    assert!(matches!(damaged, Ok(Written::Applied(_))));
    let error = client.forget("spent").await.expect_err("it is not known what it is");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    Ok(())
}

/// A service shows its locks on a page of its own. What the library tells serializes to the shapes that the
/// program prints.
#[tokio::test]
async fn what_is_told_serializes() -> Result<(), leasehold::Error> {
    let client = Client::new(Arc::new(MemoryBackend::default()) as Arc<dyn Backend>)?;
    let fields = |value: Result<serde_json::Value, _>| -> Vec<String> {
        let value = value.expect("it is JSON");
        value.as_object().expect("it is an object").keys().cloned().collect()
    };
    let status = fields(serde_json::to_value(client.status("x").await?));
    let expected =
        ["holder", "kind", "location", "name", "once", "past", "problem", "state", "token"];
    assert_eq!(status, expected);
    let once = client.once("x").with_max_attempts(1);
    let ran = once.run(async |_| Err::<(), _>("no such table")).await?;
    let Ran::GaveUp(failed) = ran else { panic!("it has failed") };
    let failed = fields(serde_json::to_value(failed));
    assert_eq!(failed, ["at", "at_unix_ms", "attempts", "by", "code", "text"]);
    drop(client.once("y").run(async |_| Ok::<_, String>(())).await?);
    let ran = client.once("y").run(async |_| Ok::<_, String>(())).await?;
    let Ran::Before(done) = ran else { panic!("it was done before") };
    let done = fields(serde_json::to_value(done));
    assert_eq!(done, ["at", "at_unix_ms", "by", "code", "text", "token"]);
    Ok(())
}
