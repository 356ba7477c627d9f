//! The stores that the same cases run on: a directory, and a bucket and a database, each on our own fake and
//! on a server that somebody else wrote.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use leasehold::core::backend::{Backend, Expected};
use leasehold::env::{Env, Host};
use leasehold_servers::proxy::{Mode, Proxy};
use leasehold_servers::{gcs, spanner};

/// The bucket on either server.
pub(crate) const BUCKET: &str = "leasehold-cli";

/// What stands there instead of a record.
const SPOILT: &str = "this is not a record\n";

/// The store of one world.
pub(crate) enum Store {
    /// Files in this directory.
    Files(PathBuf),
    /// A part of its own of a store that is served, behind a proxy of its own.
    Served { url: String, proxy: Proxy },
}

impl Store {
    /// In a bucket of the fake that all cases of this process share.
    pub(crate) fn on_fake_bucket() -> Store {
        static FAKE: OnceLock<gcs::Fake> = OnceLock::new();
        let fake = FAKE.get_or_init(|| {
            let fake = gcs::Fake::start();
            fake.make_bucket(BUCKET);
            fake
        });
        Store::in_bucket(fake.address())
    }

    /// In a bucket of fake-gcs-server. Where there is none that is told to the test command, and no
    /// store is had.
    pub(crate) fn on_outside_bucket() -> Option<Store> {
        static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
        let endpoint = gcs::outside().inspect_err(|why| skipped(why)).ok()?;
        let address = ADDRESS.get_or_init(|| {
            let address = address_of(&endpoint);
            make(&format!("gs://{BUCKET}?endpoint=http://{address}&project=test"));
            address
        });
        Some(Store::in_bucket(*address))
    }

    /// In a database on the fake that all cases of this process share.
    pub(crate) fn on_fake_database() -> Store {
        static FAKE: OnceLock<spanner::Fake> = OnceLock::new();
        Store::in_database(FAKE.get_or_init(spanner::Fake::start).address())
    }

    /// In a database of Google's emulator, with the same words where there is none.
    pub(crate) fn on_outside_database() -> Option<Store> {
        let endpoint = spanner::outside().inspect_err(|why| skipped(why)).ok()?;
        Some(Store::in_database(address_of(&endpoint)))
    }

    /// In a new database on this server, made as a user makes it.
    pub(crate) fn in_database(server: SocketAddr) -> Store {
        let proxy = Proxy::start(server);
        // The emulator takes so many databases in an instance, and any number of instances.
        let place = format!("test/i{:032x}/locks", Host.unique());
        let url =
            |address| format!("spanner://{place}?endpoint=http://{address}&poll-interval=20ms");
        make(&url(server));
        Store::Served { url: url(proxy.address()), proxy }
    }

    /// In the bucket of this server.
    pub(crate) fn in_bucket(server: SocketAddr) -> Store {
        let proxy = Proxy::start(server);
        // The server may be older than this process.
        let place = format!("{BUCKET}/{:032x}", Host.unique());
        let endpoint = format!("http://{}", proxy.address());
        let url = format!("gs://{place}?endpoint={endpoint}&write-interval=0ms&poll-interval=20ms");
        Store::Served { url, proxy }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Store::Files(dir) => format!("file://{}", dir.display()),
            Store::Served { url, .. } => url.clone(),
        }
    }

    /// Overwrites whatever stands in it.
    pub(crate) fn spoil(&self) {
        match self {
            Store::Files(dir) => spoil_files(dir),
            Store::Served { url, .. } => with_backend(url, async |backend| {
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
            Store::Served { proxy, .. } => proxy.set(Mode::BlackHole),
        }
    }

    /// Undoes that.
    pub(crate) fn bring_back(&self) {
        match self {
            Store::Files(dir) => {
                fs::remove_file(dir).expect("it is in the way");
                fs::rename(dir.with_extension("gone"), dir).expect("it is there");
            }
            Store::Served { proxy, .. } => proxy.set(Mode::Pass),
        }
    }
}

/// The address of somebody else's server.
fn address_of(endpoint: &str) -> SocketAddr {
    let host = endpoint.strip_prefix("http://").expect("an address in clear");
    let mut all = host.trim_end_matches('/').to_socket_addrs().expect("it can be resolved");
    all.next().expect("an address")
}

/// Makes what a URL names.
fn make(url: &str) {
    with_backend(url, async |backend| {
        let admin = backend.admin().expect("it can be made");
        admin.init(false).await.expect("the server makes it");
    });
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
pub(crate) fn skipped(why: &str) {
    let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") else { return };
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    // One write, so that lines of several processes do not mix.
    let line = format!("SKIPPED: {why}\n");
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
    written.expect("a skip must not be lost");
}
