//! The stores a lock can live in, one file and one cargo feature each.

#[cfg(any(feature = "gcs", feature = "spanner"))]
mod credentials;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(feature = "gcs")]
mod http;
pub mod memory;
#[cfg(any(feature = "gcs", feature = "spanner"))]
mod options;
#[cfg(feature = "spanner")]
pub mod spanner;
#[cfg(any(feature = "gcs", feature = "spanner"))]
mod wire;
