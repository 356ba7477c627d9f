//! The clock of Windows, and who this process is there.

use std::fs::File;
use std::io::PipeWriter;
use std::os::windows::io::OwnedHandle;
use std::sync::OnceLock;
use std::time::Instant;

use leasehold_core::deadline::Moment;

/// Now, counted from the first call in this process: for a span, which is all that is ever compared.
///
/// `Instant` is the performance counter, which goes on while the machine sleeps: a holder's right ends in
/// time. The clock that stands still in sleep can be read by unsafe code alone, so a waiter's patience
/// counts its own sleep too. That is real time as well, so no holder is cut short; but a clock that
/// jumped would not be noticed.
pub(super) fn moment() -> Moment {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let since = FIRST.get_or_init(Instant::now).elapsed();
    Moment { boot: since, mono: since }
}

/// The name of this host.
pub(super) fn node() -> String {
    told("COMPUTERNAME")
}

/// Our user's name.
pub(super) fn user() -> String {
    told("USERNAME")
}

fn told(name: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// A pipe's end as a file.
pub(super) fn as_file(writer: PipeWriter) -> File {
    File::from(OwnedHandle::from(writer))
}
