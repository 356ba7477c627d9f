//! The library's tests, through its public door.

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
mod file_backend;
mod memory;
mod spent;
mod time_limit;
