//! Taking a lock away from a store that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Written,
};
use leasehold::{Begun, Client, ErrorKind, FencingToken, Forced, Ran, Reset};
use tokio::sync::Mutex;

/// What happens between the first write and the loss of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    TheNextHolds,
    TheNextHasHeld,
    /// The write never arrived, and the holder ended by itself.
    NotDoneAndGivenBack,
    /// Another has done it since, once.
    DoneAgain,
}

/// A store that loses its first answer.
#[derive(Debug)]
struct Lossy {
    store: Arc<MemoryBackend>,
    meanwhile: Meanwhile,
    has_lost: AtomicBool,
    held: Mutex<Option<leasehold::Guard>>,
}

impl Lossy {
    async fn lose(&self, key: &Key, expected: &Expected, bytes: &[u8]) -> BackendError {
        let mut held = self.held.lock().await;
        if self.meanwhile == Meanwhile::NotDoneAndGivenBack {
            held.take().expect("it is held").release().await.expect("it is given back");
        } else {
            self.store.write(key, expected, bytes).await.expect("it is done");
        }
        if self.meanwhile == Meanwhile::DoneAgain {
            let next = Client::new(Arc::clone(&self.store) as Arc<dyn Backend>).expect("a client");
            let ran = next.once(key.as_str()).run(async |_| Ok::<_, String>(())).await;
            assert!(matches!(ran, Ok(Ran::Now(()))), "{ran:?}");
        }
        if matches!(self.meanwhile, Meanwhile::TheNextHolds | Meanwhile::TheNextHasHeld) {
            let next = Client::new(Arc::clone(&self.store) as Arc<dyn Backend>).expect("a client");
            let guard = next.mutex(key.as_str()).acquire().await.expect("it is free");
            match self.meanwhile {
                Meanwhile::TheNextHolds => *held = Some(guard),
                _ => guard.release().await.expect("it is released"),
            }
        }
        BackendError::unknown(Trouble::Unavailable, "no answer".to_owned())
    }
}

impl Backend for Lossy {
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
        self.store.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        if self.has_lost.swap(true, Ordering::SeqCst) {
            return self.store.write(key, expected, bytes);
        }
        Box::pin(async move { Err(self.lose(key, expected, bytes).await) })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.store.delete(key, version)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.store.list(prefix)
    }
}

/// A store in which the lock changes hands just before the first write.
#[derive(Debug)]
struct Hurried {
    store: Arc<MemoryBackend>,
    guard: Mutex<Option<leasehold::Guard>>,
}

impl Backend for Hurried {
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
        self.store.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            if let Some(guard) = self.guard.lock().await.take() {
                guard.release().await.expect("it is released");
                let next = Client::new(Arc::clone(&self.store) as Arc<dyn Backend>);
                let mutex = next.expect("a client").mutex(key.as_str()).with_label("next");
                // It goes on.
                std::mem::forget(mutex.acquire().await.expect("it is free"));
            }
            self.store.write(key, expected, bytes).await
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.store.delete(key, version)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.store.list(prefix)
    }
}

/// An operator takes a lock away, and the store loses the answer. What the operator is told must be
/// true of what was done, also when others had the lock before it could be looked at again. Before,
/// it was said that nobody had held it, while a section was still at work. Found by chaos.
#[tokio::test]
async fn a_lost_answer_is_not_taken_for_a_free_lock() -> Result<(), leasehold::Error> {
    for meanwhile in [
        Meanwhile::Nothing,
        Meanwhile::TheNextHolds,
        Meanwhile::TheNextHasHeld,
        Meanwhile::NotDoneAndGivenBack,
    ] {
        let store = Arc::new(MemoryBackend::default());
        let holder = Client::new(Arc::clone(&store) as Arc<dyn Backend>)?;
        let held = Mutex::new(Some(holder.mutex("x").acquire().await?));
        let lossy = Arc::new(Lossy { store, meanwhile, has_lost: AtomicBool::new(false), held });
        let operator = Client::new(Arc::clone(&lossy) as Arc<dyn Backend>)?;
        let forced = operator.force_release("x", "a test").await;
        match (meanwhile, &forced) {
            // Where the token did not rise our write has not landed, nor can it any more.
            (Meanwhile::Nothing, Ok(Forced::Released { .. }))
            | (Meanwhile::NotDoneAndGivenBack, Ok(Forced::WasFree)) => {}
            (Meanwhile::TheNextHolds | Meanwhile::TheNextHasHeld, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(error.to_string().contains("not known"), "{error}");
            }
            _ => panic!("{meanwhile:?}: {forced:?}"),
        }
    }
    Ok(())
}

/// An operator resets what was done, and the store loses the answer. One call resets once: what another has
/// done since is not forgotten with it, and the operator is told so.
#[tokio::test]
async fn a_lost_answer_does_not_reset_twice() -> Result<(), leasehold::Error> {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::DoneAgain] {
        let store = Arc::new(MemoryBackend::default());
        let client = Client::new(Arc::clone(&store) as Arc<dyn Backend>)?;
        let once = client.once("x");
        drop(once.run(async |_| Ok::<_, String>(())).await?);
        let before = client.status("x").await?.token.expect("there is a record");
        let (has_lost, held) = (AtomicBool::new(false), Mutex::new(None));
        let lossy = Lossy { store, meanwhile, has_lost, held };
        let operator = Client::new(Arc::new(lossy) as Arc<dyn Backend>)?;
        let reset = operator.reset("x", "a test").await;
        let status = client.status("x").await?;
        if meanwhile == Meanwhile::Nothing {
            assert!(matches!(reset, Ok(Reset::Forgotten { token, .. }) if token > before));
            assert_eq!(status.outcome, None);
        } else {
            let error = reset.expect_err("nobody can know");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("not known"), "{error}");
            assert!(matches!(once.run(async |_| Err::<(), _>("again")).await?, Ran::Before(_)));
        }
    }
    Ok(())
}

/// Whoever runs it now is not disturbed. Who was interrupted is: nobody holds it.
#[tokio::test]
async fn a_run_that_goes_on_is_not_reset() -> Result<(), leasehold::Error> {
    let client = Client::new(Arc::new(MemoryBackend::default()) as Arc<dyn Backend>)?;
    assert_eq!(client.reset("x", "a test").await?, Reset::Absent);
    let once = client.once("x").keyed("v1").with_label("me");
    let Begun::Section(section) = once.begin().await? else { panic!("it is ours") };
    section.save(b"row 7").await?;
    let reset = client.reset("x", "a test").await?;
    assert!(matches!(reset, Reset::Running { holder } if holder.label == "me"));
    section.save(b"row 8").await?;
    section.interrupted().await?;
    let reset = client.reset("x", "a test").await?;
    let Reset::Forgotten { outcome, .. } = reset else { panic!("{reset:?}") };
    assert_eq!(outcome.checkpoint.map(|c| c.0), Some(b"row 8".to_vec()));
    assert_eq!(client.reset("x", "a test").await?, Reset::Nothing);
    let Begun::Section(section) = once.begin().await? else { panic!("it is ours") };
    assert_eq!((section.resumed(), section.checkpoint()), (None, None));
    drop(section);
    client.mutex("lock").acquire().await?.release().await?;
    let error = client.reset("lock", "a test").await.expect_err("it is a mutex");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    Ok(())
}

/// An operator looks, thinks, and breaks the lock of the one that was seen; meanwhile it has changed
/// hands. The one that holds it now is left alone, by its token or by its id, and the operator is told
/// who that is; or that nobody has it, and how the one that was seen ended.
#[tokio::test]
async fn only_the_one_that_was_seen_is_broken() -> Result<(), leasehold::Error> {
    let client = Client::new(Arc::new(MemoryBackend::default()) as Arc<dyn Backend>)?;
    let forcing = || client.force("x", "a test");
    assert_eq!(forcing().only_token(FencingToken(7)).release().await?, Forced::Absent);
    let seen = client.mutex("x").with_label("seen").acquire().await?;
    let (token, id) = (seen.token(), client.status("x").await?.holder.expect("it is held").id);
    seen.release().await?;
    for gone in [forcing().only_token(token), forcing().only_holder(id)] {
        let Forced::Gone { token: now, past } = gone.release().await? else { panic!("not gone") };
        assert_eq!((now, past.map(|past| past.label).as_deref()), (token, Some("seen")));
    }
    let next = client.mutex("x").with_label("next").acquire().await?;
    let next_id = client.status("x").await?.holder.expect("it is held").id;
    for other in [
        forcing().only_token(token),
        forcing().only_holder(id),
        // Both have to be right.
        forcing().only_token(next.token()).only_holder(id),
    ] {
        let Forced::Changed { now } = other.release().await? else { panic!("not changed") };
        assert_eq!((now.label.as_str(), now.token), ("next", next.token()));
    }
    assert!(next.is_held());
    let forced = forcing().only_token(next.token()).only_holder(next_id).release().await?;
    assert!(matches!(forced, Forced::Released { holder, .. } if holder.id == next_id));
    next.lost().await;
    Ok(())
}

/// Between the look of a conditional break and its write the lock changes hands. The write is
/// conditioned on the state that was judged, so the next holder keeps it.
#[tokio::test]
async fn the_check_and_the_write_are_one() -> Result<(), leasehold::Error> {
    let store = Arc::new(MemoryBackend::default());
    let holder = Client::new(Arc::clone(&store) as Arc<dyn Backend>)?;
    let guard = holder.mutex("x").with_label("seen").acquire().await?;
    let token = guard.token();
    let hurried = Hurried { store: Arc::clone(&store), guard: Mutex::new(Some(guard)) };
    let operator = Client::new(Arc::new(hurried) as Arc<dyn Backend>)?;
    let forced = operator.force("x", "a test").only_token(token).release().await?;
    let Forced::Changed { now } = forced else { panic!("{forced:?}") };
    assert_eq!(now.label, "next");
    assert_eq!(holder.status("x").await?.holder.map(|holder| holder.label), Some("next".into()));
    Ok(())
}
