//! The stores a lock can live in, one file and one cargo feature each.

#[cfg(feature = "file")]
pub mod file;
pub mod memory;
