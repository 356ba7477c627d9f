//! A broken promise as a value: which, where, and how to see it again.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::fault::{Options, Strike, Struck};
use crate::trace::Trace;

/// Something that must always hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// A short name.
    pub name: &'static str,
    /// What is promised, in a sentence.
    pub says: &'static str,
}

/// Nothing in the code under test panics.
pub const NO_PANIC: Promise =
    Promise { name: "no-panic", says: "the code under test never panics" };

/// What a world that kept every promise tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report<T> {
    /// What happened.
    pub tally: T,
    /// What struck.
    pub struck: Struck,
    /// How many events there were.
    pub events: u64,
    /// How much time went by in it, in microseconds.
    pub span: u64,
    /// A hash of everything that came out of the code under test.
    pub digest: u64,
    /// The trace, if the world was told.
    pub trace: Trace,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which world: `protocol` or `library`.
    pub world: &'static str,
    /// Its seed.
    pub seed: u64,
    /// How it differed from what the seed says.
    pub options: Options,
    /// The true time, in microseconds.
    pub time: u64,
    /// Which promise.
    pub promise: Promise,
    /// What was seen.
    pub why: String,
    /// The trace, if the world was told.
    pub trace: Trace,
    /// The faults that had struck, if the world was told.
    pub strikes: Vec<Strike>,
}

impl Violation {
    /// The command that shows it again.
    pub fn replay(&self) -> String {
        let world = if self.world == "protocol" { "" } else { " --world library" };
        #[cfg(feature = "planted")]
        let plant = leasehold_core::planted::Bug::planted()
            .map_or_else(String::new, |bug| format!(" --plant {}", bug.name()));
        #[cfg(not(feature = "planted"))]
        let plant = "";
        format!("cargo xtask sim{world}{plant} --seed {}{}", self.seed, self.options)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.time / 1000;
        writeln!(f, "broken: {}: {}", self.promise.name, self.promise.says)?;
        writeln!(f, "after {}.{:03} s: {}", ms / 1000, ms % 1000, self.why)?;
        write!(f, "see it again: {}", self.replay())
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a world. A panic in it is an error that says where, and prints nothing.
pub(crate) fn guarded<T>(world: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
                PLACE.set(place.unwrap_or_default());
            } else {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(world));
    QUIET.set(false);
    result.map_err(|panic| format!("{}: {}", PLACE.take(), said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}
