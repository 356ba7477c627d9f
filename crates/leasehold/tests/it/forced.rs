//! Taking a lock away from a store that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Written,
};
use leasehold::{Client, ErrorKind, Forced};
use tokio::sync::Mutex;

/// What happens between the first write and the loss of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    TheNextHolds,
    TheNextHasHeld,
    /// The write never arrived, and the holder ended by itself.
    NotDoneAndGivenBack,
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
