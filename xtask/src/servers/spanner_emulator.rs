//! Google's own emulator of Cloud Spanner: found where the Google Cloud CLI or somebody put it, and started.
//!
//! It cannot be built here, and no package registry has it. handy-spanner, which can be built with Go, is no
//! substitute: it does not answer what a table looks like, and swallows the errors of its statements.

use std::env;
use std::path::{Path, PathBuf};

use super::Server;
use super::process::Speaks;
use crate::sh::Result;

const NAME: &str = "cloud_spanner_emulator";

/// Names the program where it is in no usual place.
const PROGRAM: &str = "LEASEHOLD_SPANNER_EMULATOR";

/// Where it is below the folder of `gcloud`.
const BELOW_BIN: &str = "cloud_spanner_emulator/emulator_main";

/// How to get it.
const REMEDY: &str = "install it with `gcloud components install cloud-spanner-emulator` or the \
                      package google-cloud-cli-spanner-emulator, or name the program in \
                      LEASEHOLD_SPANNER_EMULATOR";

/// Starts one; it is empty, and keeps everything in memory.
pub(crate) fn start() -> Result<Server> {
    let program = find()?;
    Server::start(NAME, &program, Speaks::Grpc, |port| {
        vec!["--host_port".to_owned(), format!("127.0.0.1:{port}")]
    })
}

fn find() -> Result<PathBuf> {
    if let Some(program) = env::var_os(PROGRAM).filter(|program| !program.is_empty()) {
        let program = PathBuf::from(program);
        return match program.is_file() {
            true => Ok(program),
            false => {
                Err(format!("{NAME}: {PROGRAM} names {}, which is no file", program.display()))
            }
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let programs =
        folders.iter().flat_map(|folder| [NAME, "emulator_main"].map(|it| folder.join(it)));
    let beside_gcloud = folders.iter().filter_map(|folder| below(&folder.join("gcloud")));
    let home = env::home_dir().map(|home| home.join("google-cloud-sdk"));
    let usual = [Some("/usr/lib/google-cloud-sdk".into()), home].into_iter().flatten();
    let usual = usual.map(|sdk| sdk.join("bin").join(BELOW_BIN));
    let mut all = programs.chain(beside_gcloud).chain(usual);
    all.find(|program| program.is_file())
        .ok_or_else(|| format!("Google's emulator of Cloud Spanner is not installed: {REMEDY}"))
}

/// Where it would be if this `gcloud`, which may be a link to the real one, had it.
fn below(gcloud: &Path) -> Option<PathBuf> {
    Some(gcloud.canonicalize().ok()?.parent()?.join(BELOW_BIN))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `gcloud` in the PATH is a link into the folder of the Google Cloud CLI, and the emulator is there.
    #[test]
    fn it_is_looked_for_where_gcloud_really_is() {
        let folder = env::temp_dir().join(format!("leasehold-sdk-{}", std::process::id()));
        let bin = folder.join("sdk").join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("gcloud"), "").unwrap();
        let link = folder.join("gcloud");
        std::os::unix::fs::symlink(bin.join("gcloud"), &link).unwrap();
        let found = below(&link);
        let expected = bin.canonicalize().unwrap().join(BELOW_BIN);
        let missing = below(&folder.join("nothing"));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, Some(expected));
        assert_eq!(missing, None);
    }
}
