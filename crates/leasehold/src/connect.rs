//! From a URL to a client: the list of backends.

use std::ffi::OsString;
#[cfg(feature = "file")]
use std::path::PathBuf;
use std::sync::Arc;

use leasehold_core::backend::Backend;
#[cfg(any(feature = "file", feature = "gcs", feature = "spanner"))]
use leasehold_core::backend::BackendError;

#[cfg(feature = "file")]
use self::address::Address;
use crate::backend;
use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// Connects to the store that a URL names.
///
/// | URL | store | cargo feature |
/// | --- | --- | --- |
/// | `memory://` | this process's memory, new on every call | always there |
/// | `file:///dir` | a local directory, for the processes of one host | `file`, on by default |
/// | `gs://bucket/prefix` | a bucket of Google Cloud Storage | `gcs` |
/// | `spanner://project/instance/database` | a table in Google Cloud Spanner | `spanner` |
///
/// `docs/protocol.md` has the rules by which a URL is read.
///
/// [`Invalid`](ErrorKind::Invalid) where the URL cannot be understood or the store cannot be used for
/// locks, or where its cargo feature is missing, which the message names; `Denied` and `Unavailable`
/// where it cannot be reached. No error repeats a password.
pub async fn connect(url: &str) -> Result<Client, Error> {
    Client::new(open(url).await?)
}

/// The environment variable that names the store: `LEASEHOLD_BACKEND`. The library goes by it only where it
/// is asked to; the command line goes by it unless `--backend` is given.
///
/// ```
/// // A program with an option of its own says in its help what counts without it.
/// println!("--locks URL  where the locks are [env: {}]", leasehold::BACKEND_VARIABLE);
/// ```
pub const BACKEND_VARIABLE: &str = "LEASEHOLD_BACKEND";

/// The URL in [`BACKEND_VARIABLE`]; `None` where the variable is not set or is empty, which is the same.
///
/// [`Invalid`](ErrorKind::Invalid) where it is not UTF-8. Whether it names a store is left to [`connect`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leasehold::Error> {
/// let url = leasehold::url_from_env()?.unwrap_or_else(|| "memory://".into());
/// let client = leasehold::connect(&url).await?;
/// # Ok(())
/// # }
/// ```
pub fn url_from_env() -> Result<Option<String>, Error> {
    match std::env::var_os(BACKEND_VARIABLE).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(url)) => Ok(Some(url).filter(|url| !url.is_empty())),
        Some(Err(_)) => {
            let why =
                format!("{BACKEND_VARIABLE} is not UTF-8; in a path a byte is % and two digits");
            Err(Error::new(ErrorKind::Invalid, why))
        }
    }
}

impl Client {
    /// Connects to the store that the environment names, in [`LEASEHOLD_BACKEND`](BACKEND_VARIABLE), as the
    /// command line does: one variable then says for a host or a container where all its locks are.
    ///
    /// There is no default: [`Invalid`](ErrorKind::Invalid) where the variable is not set, is empty or is
    /// not UTF-8. (The command line falls back to a directory of the user's, which no other user sees;
    /// a service that did so would exclude nobody.) Otherwise as [`connect`]. `LEASEHOLD_REQUIRE_SHARED` is
    /// for the command line alone.
    ///
    /// ```no_run
    /// # async fn migrate() -> Result<(), leasehold::Error> {
    /// let client = leasehold::Client::from_env().await?;
    /// let guard = client.mutex("nightly-report").acquire().await?;
    /// # guard.release().await
    /// # }
    /// ```
    pub async fn from_env() -> Result<Client, Error> {
        let url = url_from_env()?.ok_or_else(|| {
            let why = format!(
                "no store is given: set {BACKEND_VARIABLE}, such as to file:///var/lib/locks"
            );
            Error::new(ErrorKind::Invalid, why)
        })?;
        connect(&url).await
    }
}

/// Opens the store that a URL names, without a client: for tools that ask the store itself, such as
/// `leasehold doctor`, and for [`Client::with_env`]. The URLs and the errors are those of [`connect`].
// A store on the network may have to await; callers should not change then.
pub async fn open(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
    if url.contains(char::is_control) || url.trim() != url {
        // A file with the line ends of another system would name another place, and nobody would see it.
        return Err(invalid(format!(
            "the backend {:?} has white space at an end, or a control character; in a path it is \
             written as % and two digits",
            without_secrets(url)
        )));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        let hint = match std::path::absolute(url) {
            // What stands before an `@` may be a password.
            Ok(path) if url.starts_with(['/', '.']) && !url.contains('@') => {
                format!("; did you mean {:?}?", format!("file://{}", path.display()))
            }
            _ => String::new(),
        };
        return Err(invalid(format!(
            "a backend is given as a URL such as file:///var/lib/locks, not as {:?}{hint}",
            without_secrets(url)
        )));
    };
    let backend: Arc<dyn Backend> = match scheme {
        "memory" if rest.is_empty() => Arc::new(backend::memory::MemoryBackend::default()),
        "memory" => return Err(invalid("memory:// takes nothing behind it".into())),
        #[cfg(feature = "file")]
        "file" => {
            let place = parse_file(rest).map_err(invalid)?;
            let opened = backend::file::FileBackend::open(place.dir, place.network_fs);
            Arc::new(opened.map_err(|e| unusable(url, &e))?)
        }
        #[cfg(feature = "gcs")]
        "gs" => Arc::new(backend::gcs::GcsBackend::open(rest).map_err(|e| unusable(url, &e))?),
        #[cfg(feature = "spanner")]
        "spanner" => {
            let opened = backend::spanner::SpannerBackend::open(rest);
            Arc::new(opened.map_err(|e| unusable(url, &e))?)
        }
        other => return Err(invalid(no_backend(other))),
    };
    Ok(backend)
}

#[cfg(any(feature = "file", feature = "gcs", feature = "spanner"))]
fn unusable(url: &str, error: &BackendError) -> Error {
    let escape = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.into() };
    let shown: String = without_secrets(url).chars().map(escape).collect();
    Error::new(error.trouble.into(), format!("cannot use {shown} for locks: {error}"))
}

/// What is said of a scheme that this build has no backend for.
fn no_backend(scheme: &str) -> String {
    let shown = format!("{scheme}://");
    let there: Vec<&str> = STORES.iter().filter(|it| it.2).map(|it| it.0).collect();
    let there = there.join(", ");
    match STORES.iter().find(|(url, ..)| url.starts_with(&shown)) {
        Some((_, feature, false)) => format!(
            "{shown} needs the cargo feature {feature:?} of leasehold, which this program is built \
             without; there are {there}"
        ),
        _ => format!("there is no backend {shown:?} in this version; there are {there}"),
    }
}

/// The stores: what their URLs look like, the cargo feature, and whether this build has it.
const STORES: &[(&str, &str, bool)] = &[
    ("memory://", "", true),
    ("file:///dir", "file", cfg!(feature = "file")),
    ("gs://bucket/prefix", "gcs", cfg!(feature = "gcs")),
    ("spanner://project/instance/database", "spanner", cfg!(feature = "spanner")),
];

#[cfg(any(feature = "file", feature = "gcs", feature = "spanner"))]
pub(crate) mod address;
#[cfg(all(test, feature = "file"))]
mod fuzz;

/// What a `file://` URL says.
#[cfg(feature = "file")]
struct FilePlace {
    dir: PathBuf,
    network_fs: bool,
}

#[cfg(feature = "file")]
fn parse_file(rest: &str) -> Result<FilePlace, String> {
    if !rest.starts_with('/') {
        // Somebody may have taken this for a store with a password.
        let place = rest.split('?').next().unwrap_or_default();
        let place = rest.rsplit_once('@').map_or(place, |(_, place)| place);
        return Err(format!(
            "file:// takes an absolute path, with three slashes, such as {:?}",
            format!("file:///{place}")
        ));
    }
    let address = Address::read(rest)?;
    let mut network_fs = false;
    address.options(|name, value| match (name, value) {
        ("network-fs", "allow") => {
            network_fs = true;
            Ok(())
        }
        ("network-fs", _) => Err(format!("network-fs is \"allow\" or not given, not {value:?}")),
        _ => Err(format!("file:// has no option {name:?}; it has network-fs=allow")),
    })?;
    if address.path.contains(&0) {
        return Err("the path contains a NUL byte".into());
    }
    let path: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(address.path);
    Ok(FilePlace { dir: PathBuf::from(path), network_fs })
}

/// A URL as it may be shown: what stands between `//` and `@` may be a password.
fn without_secrets(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, place)) => format!("{scheme}://…@{place}"),
            None => url.to_owned(),
        },
        None => url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, p)| format!("…@{p}")),
    }
}
