//! `leasehold wait`: wait until a lock is free, without taking it.

use serde_json::json;

use crate::cli::Wait;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::signals::Signals;
use crate::{place, show, waiting};

/// The whole command.
pub(crate) async fn wait(options: Wait, backend: Option<&str>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen(true)
        .map_err(|e| Failure::new(Exit::NotExecutable, format!("cannot listen to signals: {e}")))?;
    let client = place::connect(backend).await?;
    let (report, reports) = waiting::channel();
    let mut mutex = client.mutex(&*options.name).on_wait(report);
    if let Some(wait) = options.wait {
        mutex = mutex.with_timeout(wait);
    }
    let waited = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        waited = waiting::shown(&options.name, mutex.wait_until_free(), reports) => waited,
    };
    let is_free = match waited {
        Ok(()) => true,
        Err(error) if error.kind() == leasehold::ErrorKind::Timeout => {
            show::say(&error.to_string());
            false
        }
        Err(error) => return Err(error.into()),
    };
    if options.output.json {
        show::print(&format!("{}\n", json!({ "name": options.name, "free": is_free })));
    }
    Ok(if is_free { Exit::Done } else { Exit::NotAcquired(NOT_ACQUIRED) })
}
