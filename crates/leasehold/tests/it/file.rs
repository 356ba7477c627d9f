//! The conformance kit on `file://`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::backend::file::FileBackend;
use leasehold::core::backend::{Backend, BoxFuture};
use leasehold_conformance::{Fixture, Missing, Store};

struct File;

/// A directory that is removed at the end of a case.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("file-{}-{n}", std::process::id());
        Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A request that is still under way finds nothing here any more, or puts one thing more
        // into what it has open.
        let gone = self.0.with_extension("gone");
        let _ = std::fs::rename(&self.0, &gone);
        let _ = (0..100).find(|_| std::fs::remove_dir_all(&gone).is_ok());
    }
}

impl Fixture for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
        Box::pin(async {
            let scratch = Scratch::new();
            let backend = FileBackend::open(scratch.0.clone(), false);
            let backend = Arc::new(backend.unwrap_or_else(|e| panic!("{e}")));
            let shared_url = Some(backend.url());
            Ok(Store { backend, shared_url, keep: Box::new(scratch) })
        })
    }

    fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>> {
        let path = url.strip_prefix("file://").unwrap_or_else(|| panic!("{url}"));
        assert!(!path.contains('%'), "{path} is escaped: move the target directory");
        Box::pin(async move {
            let backend = FileBackend::open(path.into(), false);
            Arc::new(backend.unwrap_or_else(|e| panic!("{e}"))) as Arc<dyn Backend>
        })
    }
}

leasehold_conformance::backend!(File);
