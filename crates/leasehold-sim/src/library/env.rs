//! The environment of a client: its host's clocks, ids from the seed, timers in the world's queue.

use std::sync::Arc;
use std::time::Duration;

use leasehold::core::backend::BoxFuture;
use leasehold::core::deadline::Now;
use leasehold::env::Env;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::state::{Caller, Happening, World};

/// What one process gets time and chance from.
#[derive(Debug)]
pub(super) struct SimEnv {
    pub(super) world: Arc<World>,
    pub(super) caller: Caller,
    /// The runtime of its driver, which the world runs.
    pub(super) runtime: Handle,
}

impl Env for SimEnv {
    fn now(&self) -> Now {
        let state = self.world.lock();
        state.places[self.caller.who].host.now(state.time)
    }

    fn unique(&self) -> u128 {
        self.world.lock().places[self.caller.who].chance.id()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.world.lock();
            let time = state.time;
            let place = &mut state.places[self.caller.who];
            let late = place.chance.from(0, 3000);
            let due = place.host.moment(time).mono.saturating_add(span);
            // Nobody here sleeps for longer than a world lasts.
            let after = place.host.takes(span.min(Duration::from_hours(1))) + late;
            let to = self.caller;
            state.later(after, Happening::Timer { to, due, tell });
        }
        Box::pin(heard(told))
    }

    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        drop(self.runtime.spawn(driver));
        Ok(())
    }
}

/// Returns when it is told, and never where the teller is gone: that is a process that died.
pub(super) async fn heard<T>(told: oneshot::Receiver<T>) -> T {
    match told.await {
        Ok(value) => value,
        Err(_) => std::future::pending().await,
    }
}
