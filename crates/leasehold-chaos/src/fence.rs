//! A shared resource that checks the token: it remembers the highest that wrote to it and refuses a
//! lower one. It stands for the storage that makes a late writer harmless.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// A higher token has written before.
    Refused(u64),
}

/// One process's end of the resource of a name.
pub(crate) struct Fence {
    /// The highest token, always in one block of this width, so that one write replaces it.
    highest: File,
    /// Every accepted write in its order.
    history: File,
}

const WIDTH: usize = 20;

/// Where the accepted writes of a name are, a token and a holder on each line.
pub(crate) fn history(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.accepted"))
}

impl Fence {
    pub(crate) fn open(dir: &Path, name: &str) -> io::Result<Fence> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Fence {
            highest: options.open(dir.join(format!("{name}.highest")))?,
            history: OpenOptions::new().append(true).create(true).open(history(dir, name))?,
        })
    }

    /// Writes under a token, if it is not lower than the highest.
    pub(crate) fn write(&self, token: u64, holder: &str) -> io::Result<Answer> {
        flock(&self.highest, FlockOperation::LockExclusive)?;
        let answer = self.write_locked(token, holder);
        flock(&self.highest, FlockOperation::Unlock)?;
        answer
    }

    fn write_locked(&self, token: u64, holder: &str) -> io::Result<Answer> {
        let mut block = [b'0'; WIDTH];
        let highest = match self.highest.read_at(&mut block, 0)? {
            WIDTH => std::str::from_utf8(&block).ok().and_then(|text| text.parse().ok()),
            _ => Some(0),
        };
        let highest: u64 = highest.ok_or(io::ErrorKind::InvalidData)?;
        if token < highest {
            return Ok(Answer::Refused(highest));
        }
        self.highest.write_all_at(format!("{token:0WIDTH$}").as_bytes(), 0)?;
        (&self.history).write_all(format!("{token} {holder}\n").as_bytes())?;
        Ok(Answer::Accepted)
    }
}
