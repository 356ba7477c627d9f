//! The stores that the same cases run on: a directory, our own fake of a bucket, and an emulator that
//! somebody else wrote.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use leasehold::core::backend::{Backend, Expected};
use leasehold::env::{Env, Host};
use leasehold_servers::gcs::{Fake, outside};
use leasehold_servers::proxy::{Mode, Proxy};

/// The bucket on either server.
pub(crate) const BUCKET: &str = "leasehold-cli";

/// What stands there instead of a record.
const SPOILT: &str = "this is not a record\n";

/// The store of one world.
pub(crate) enum Store {
    /// Files in this directory.
    Files(PathBuf),
    /// A prefix of its own in a bucket, behind a proxy of its own.
    Bucket { url: String, proxy: Proxy },
}

impl Store {
    /// In a bucket of the fake that all cases of this process share.
    pub(crate) fn on_fake() -> Store {
        static FAKE: OnceLock<Fake> = OnceLock::new();
        let fake = FAKE.get_or_init(|| {
            let fake = Fake::start();
            fake.make_bucket(BUCKET);
            fake
        });
        Store::in_bucket(fake.address())
    }

    /// In a bucket of fake-gcs-server. Where there is none that is told to the test command, and no
    /// store is had.
    pub(crate) fn outside() -> Option<Store> {
        static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
        let endpoint = outside().inspect_err(|why| skipped(why)).ok()?;
        let address = ADDRESS.get_or_init(|| {
            let host = endpoint.strip_prefix("http://").expect("an address in clear");
            let mut all = host.trim_end_matches('/').to_socket_addrs().expect("it can be resolved");
            let address = all.next().expect("an address");
            let url = format!("gs://{BUCKET}?endpoint=http://{address}&project=test");
            with_backend(&url, async |backend| {
                let admin = backend.admin().expect("a bucket can be made");
                admin.init(false).await.expect("the server makes it");
            });
            address
        });
        Some(Store::in_bucket(*address))
    }

    /// In the bucket of this server.
    pub(crate) fn in_bucket(server: SocketAddr) -> Store {
        let proxy = Proxy::start(server);
        // The server may be older than this process.
        let place = format!("{BUCKET}/{:032x}", Host.unique());
        let endpoint = format!("http://{}", proxy.address());
        let url = format!("gs://{place}?endpoint={endpoint}&write-interval=0ms&poll-interval=20ms");
        Store::Bucket { url, proxy }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Store::Files(dir) => format!("file://{}", dir.display()),
            Store::Bucket { url, .. } => url.clone(),
        }
    }

    /// Overwrites whatever stands in it.
    pub(crate) fn spoil(&self) {
        match self {
            Store::Files(dir) => spoil_files(dir),
            Store::Bucket { url, .. } => with_backend(url, async |backend| {
                for key in backend.list("").await.expect("the store is there") {
                    let reading = backend.read(&key).await.expect("the store is there");
                    let version = reading.record.expect("it was listed").version;
                    let expected = Expected::Version(version);
                    let written = backend.write(&key, &expected, SPOILT.as_bytes()).await;
                    written.expect("the store is there");
                }
            }),
        }
    }

    /// From now on nothing gets through to it, and nobody is told: of a directory, that a file is in
    /// its way; of a server, that the network takes everything and delivers nothing.
    pub(crate) fn take_away(&self) {
        match self {
            Store::Files(dir) => {
                fs::rename(dir, dir.with_extension("gone")).expect("it is there");
                fs::write(dir, "in the way").expect("there is room");
            }
            Store::Bucket { proxy, .. } => proxy.set(Mode::BlackHole),
        }
    }

    /// Undoes that.
    pub(crate) fn bring_back(&self) {
        match self {
            Store::Files(dir) => {
                fs::remove_file(dir).expect("it is in the way");
                fs::rename(dir.with_extension("gone"), dir).expect("it is there");
            }
            Store::Bucket { proxy, .. } => proxy.set(Mode::Pass),
        }
    }
}

fn spoil_files(dir: &Path) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("it can be read").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if entry.file_name() == ".alive" => {}
                true => dirs.push(path),
                false => fs::write(path, SPOILT).expect("it is ours"),
            }
        }
    }
}

/// Does something with a store past the program.
pub(crate) fn with_backend<T>(url: &str, act: impl AsyncFnOnce(Arc<dyn Backend>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let backend = leasehold::open(url).await.expect("a store");
        act(backend).await
    })
}

/// Tells the test command what did not run.
fn skipped(why: &str) {
    let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") else { return };
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    // One write, so that lines of several processes do not mix.
    let line = format!("SKIPPED: {why}\n");
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
    written.expect("a skip must not be lost");
}
