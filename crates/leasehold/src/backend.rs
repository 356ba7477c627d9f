//! The stores a lock can live in, one file and one cargo feature each.

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(any(feature = "gcs", feature = "spanner"))]
mod http;
pub mod memory;
#[cfg(feature = "spanner")]
pub mod spanner;
