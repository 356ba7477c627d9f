//! Who this process is, as Unix says it.

use std::fs::File;
use std::io::PipeWriter;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The name of this host.
pub(super) fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Our user's name: from `/etc/passwd`, because the environment of cron, of a pod and of a CI job has
/// none and that of `su` another's. Where it stands in a directory on the network it is taken from the
/// environment: asking that could take as long as the network likes.
pub(super) fn user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let is_ours = |line: &&str| line.split(':').nth(2) == Some(&uid);
        let name = passwd.lines().find(is_ours).and_then(|line| line.split(':').next());
        let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        let told = |name| std::env::var(name).ok().filter(|name| !name.is_empty());
        name.or_else(|| told("USER"))
            .or_else(|| told("LOGNAME"))
            .unwrap_or_else(|| format!("uid-{uid}"))
    })
}

/// A pipe's end as a file.
pub(super) fn as_file(writer: PipeWriter) -> File {
    File::from(OwnedFd::from(writer))
}
