//! The library's tests, through its public door.

mod apart;
mod connecting;
mod doubt;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
mod file_backend;
mod forced;
#[cfg(feature = "gcs")]
mod gcs;
mod looking;
mod memory;
mod once;
#[cfg(feature = "spanner")]
mod spanner;
mod spent;
mod time_limit;
#[cfg(all(feature = "file", feature = "gcs", feature = "spanner"))]
mod urls;
mod values;
