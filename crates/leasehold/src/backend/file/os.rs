//! What the operating system decides about files: durability, listings, which file systems other machines
//! share, what names a running kernel, and whether it wakes waiters.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
pub(super) use self::linux::*;
#[cfg(target_os = "macos")]
pub(super) use self::macos::*;
