//! What a waiter watches.

use std::path::PathBuf;

/// What one waiter wants to hear of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Targets {
    /// The key's directory, or the one that it will appear in.
    pub(super) directory: PathBuf,
    /// Whether it is above the directory of all locks, which is not there yet.
    pub(super) is_above: bool,
    /// The liveness file of the newest state's writer.
    pub(super) writer: Option<PathBuf>,
}
