//! Taking a lock away from a store that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Written,
};
use leasehold::{Begun, Client, ErrorKind, Forced, Ran, Reset};
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
            // Where the token did not rise nothing of ours has landed, nor can it any more.
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
        once.run(async |_| Ok::<_, String>(())).await?;
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
    assert_eq!(client.reset("x", "a test").await?, Reset::Nothing);
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
