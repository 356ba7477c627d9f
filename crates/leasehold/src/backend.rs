//! The stores a lock can live in, one file and one cargo feature each.

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(feature = "gcs")]
mod http;
pub mod memory;
