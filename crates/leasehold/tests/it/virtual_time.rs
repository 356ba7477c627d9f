//! Time-dependent behaviour of the production driver, on tokio's paused clock: hours pass in
//! milliseconds, and nothing depends on how busy the machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::BoxFuture;
use leasehold::core::deadline::{Moment, Now};
use leasehold::env::Env;
use leasehold::{Attempt, Client, ErrorKind};
use tokio::time::Instant;

/// Virtual time: the driver runs as a task of the test's own paused runtime.
#[derive(Debug)]
pub(crate) struct Virtual {
    start: Instant,
    ids: AtomicU64,
}

impl Default for Virtual {
    fn default() -> Virtual {
        Virtual { start: Instant::now(), ids: AtomicU64::new(1) }
    }
}

impl Env for Virtual {
    fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let unix_ms = 1_700_000_000_000 + u64::try_from(elapsed.as_millis()).unwrap();
        Now { moment: Moment { boot: elapsed, mono: elapsed }, unix_ms }
    }

    fn unique(&self) -> u128 {
        // Spread by a multiplication, so that jitter is not always the same.
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        tokio::spawn(driver);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn acquire_hold_release() {
    let backend = Arc::new(MemoryBackend::default());
    let env = Arc::new(Virtual::default());
    let a = Client::with_env(backend.clone(), env.clone()).unwrap();
    let b = Client::with_env(backend, env).unwrap();
    let guard = a.mutex("x").acquire().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(guard.is_held());
    let held = b.mutex("x").try_acquire().await.unwrap();
    assert!(matches!(&held, Attempt::Held(h) if h.token == guard.token() && h.renewals > 300), "{held:?}");
    let refused = b.mutex("x").with_timeout(Duration::from_secs(60)).acquire().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Timeout);
    let token = guard.token();
    guard.release().await.unwrap();
    let guard = b.mutex("x").acquire().await.unwrap();
    assert!(guard.token() > token);
}
