//! Whose a directory's new files are, and who else may use them: what the directory of locks says of
//! itself, and never what the umask of one process or the user who came first makes of it.

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{self, Gid, Mode, Uid};
use rustix::process::geteuid;

use super::filesystem::{PRIVATE_DIRECTORY, PRIVATE_FILE};

/// What a directory is made for, besides its owner.
const GROUP_DIRECTORY: Mode = PRIVATE_DIRECTORY.union(Mode::RWXG).union(Mode::SGID);
const GROUP_FILE: Mode = PRIVATE_FILE.union(Mode::RGRP).union(Mode::WGRP);

/// To whom the things in one directory belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    /// Only root can give away, and has to: it must not lock the owner out.
    owner: Option<Uid>,
    /// The directory's group, where its members share what is in it.
    group: Option<Gid>,
}

impl Rights {
    /// Those of the locks in `root`: shared by a group that may write there. A directory that the
    /// whole world may write to, such as one like `/tmp`, names no group to share with.
    pub(super) fn within(root: &Path) -> Rights {
        Rights::of(root, Mode::WGRP.union(Mode::XGRP))
    }

    /// Those of a directory of locks that is to be made in `parent`: shared only where that says so
    /// by the setgid bit, because many a home is writable for a group that means nothing.
    pub(super) fn below(parent: &Path) -> Rights {
        Rights::of(parent, Mode::WGRP.union(Mode::XGRP).union(Mode::SGID))
    }

    fn of(directory: &Path, shares: Mode) -> Rights {
        let Ok(stat) = fs::stat(directory) else { return Rights { owner: None, group: None } };
        let mode = Mode::from_raw_mode(stat.st_mode);
        let is_shared = mode.contains(shares) && !mode.contains(Mode::WOTH);
        let owner = geteuid().is_root().then(|| Uid::from_raw(stat.st_uid));
        Rights { owner, group: is_shared.then(|| Gid::from_raw(stat.st_gid)) }
    }

    /// Gives a file that we have just made to whom it belongs.
    pub(super) fn give_file(self, file: &OwnedFd) {
        self.give(file, PRIVATE_FILE, GROUP_FILE);
    }

    /// The same for a directory.
    pub(super) fn give_directory(self, directory: &OwnedFd) {
        self.give(directory, PRIVATE_DIRECTORY, GROUP_DIRECTORY);
    }

    /// What fails here leaves the others less than they could have, and nobody more.
    fn give(self, made: &OwnedFd, private: Mode, shared: Mode) {
        let Ok(stat) = fs::fstat(made) else { return };
        let owner = self.owner.filter(|owner| owner.as_raw() != stat.st_uid);
        let group = self.group.filter(|group| group.as_raw() != stat.st_gid);
        let given = (owner, group) == (None, None) || fs::fchown(made, owner, group).is_ok();
        let is_groups = self.group.is_some() && (group.is_none() || given);
        let wanted = if is_groups { shared } else { private };
        if Mode::from_raw_mode(stat.st_mode) != wanted {
            let _ = fs::fchmod(made, wanted);
        }
    }
}
