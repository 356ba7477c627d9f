//! A distributed mutex for any store that can compare-and-swap a small record.
//!
//! ```
//! # async fn put_report(_: leasehold::FencingToken) -> Result<(), leasehold::Error> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leasehold::Error> {
//! let client = leasehold::connect("memory://").await?;
//!
//! let guard = client.mutex("nightly-report").acquire().await?; // waits; renewed until released
//! put_report(guard.token()).await?; // storage that refuses older tokens is safe for ever
//! guard.release().await?; // or drop: best effort, and the ttl if that fails
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! At most one guard of a name says [`is_held`](Guard::is_held) at any moment, on all hosts, as long
//! as clock *rates* differ by less than 11 %; clocks need not agree. A dead holder's lock is taken
//! over within its ttl. A holder is told [before](Guard::lost) it stops holding. The
//! [token](Guard::token) rises at every change of holder, for the whole life of the name.
//!
//! # What it does not promise
//!
//! That a process that is frozen *between* asking `is_held` and acting does not act late. No lock
//! with a lease can. Give the token to what you write to, and let it refuse a lower one.
//!
//! # Where things are
//!
//! [`connect`] gives a [`Client`], which makes a [`Mutex`], which gives a [`Guard`]; or a [`Once`], which
//! runs a [`Section`] in one place and tells the result everywhere. The protocol is in
//! [`leasehold_core`]; the stores are in [`backend`].

/// A line of a wrong variant of the library, of which nothing is compiled without the feature
/// `planted`: see the macro of the same name in `leasehold_core`.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident: let $right:ident = $wrong:expr) => {
        let $right =
            if $crate::planted::is_planted($crate::planted::Bug::$bug) { $wrong } else { $right };
    };
    ($bug:ident: $wrong:stmt) => {
        if $crate::planted::is_planted($crate::planted::Bug::$bug) {
            $wrong
        }
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($($nothing:tt)*) => {};
}

#[cfg(all(feature = "file", not(unix)))]
compile_error!(
    "the feature `file` needs Unix: depend on leasehold with `default-features = false`"
);

pub mod backend;
mod client;
mod connect;
mod driver;
mod edit;
pub mod env;
mod error;
mod force;
mod forget;
mod guard;
mod holder;
mod json;
mod moments;
mod mutex;
mod once;
#[cfg(feature = "planted")]
pub mod planted;
mod reset;
#[cfg(feature = "file")]
mod sightings;
mod status;

pub use client::Client;
pub use connect::{BACKEND_VARIABLE, connect, open, url_from_env};
pub use error::{Error, ErrorKind};
pub use force::{Force, Forced};
pub use forget::{Forget, Forgotten};
pub use guard::{Guard, Renewals};
pub use holder::HeldBy;
pub use leasehold_core as core;
pub use leasehold_core::deadline::{Deadline, TTL_DEFAULT, TTL_MAX};
pub use leasehold_core::record::{FencingToken, HolderId, NotAToken};
pub use mutex::{Attempt, Mutex, Waiting};
pub use once::{Begun, Done, Failed, Once, Outdated, Ran, Section};
pub use reset::Reset;
pub use status::{State, Status};
