//! Credentials below several clients. They come from the environment, so the test starts itself again with
//! another one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use leasehold::Client;
use leasehold_servers::gcs::Fake;
use leasehold_servers::tls::Front;
use leasehold_servers::tokens::Tokens;

/// Set in the process that has credentials: the directory for their file.
const DIR: &str = "LEASEHOLD_TEST_CREDENTIALS";

/// A program opens a store once and makes two clients of it. The first goes, and its runtime with it; the
/// second gets tokens for as long as it lives.
#[test]
fn a_backend_outlives_the_client_that_asked_first() {
    let name = "gcs::credentials::a_backend_outlives_the_client_that_asked_first";
    if let Some(dir) = std::env::var_os(DIR) {
        return two_clients(Path::new(&dir));
    }
    let dir = std::env::temp_dir().join(format!("lh-credentials-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("there is room");
    let program = std::env::current_exe().expect("it runs");
    let mut child = Command::new(program);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GOOGLE_CLOUD_QUOTA_PROJECT"] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    child.args(["--exact", name]).env(DIR, &dir);
    child.env("SSL_CERT_FILE", dir.join("ca.pem")).env_remove("SSL_CERT_DIR");
    child.env("GOOGLE_APPLICATION_CREDENTIALS", dir.join("login.json"));
    let output = child.output().expect("it starts");
    let _ = std::fs::remove_dir_all(&dir);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

fn two_clients(dir: &Path) {
    let (gcs, tokens) = (Fake::start(), Tokens::start());
    gcs.make_bucket("acme");
    gcs.accept(tokens.check());
    tokens.set_life(Duration::from_secs(1));
    let front = Front::start(gcs.address());
    std::fs::write(dir.join("ca.pem"), front.authority()).expect("there is room");
    let login = format!(
        r#"{{"type":"authorized_user","client_id":"a","client_secret":"b","refresh_token":"c",
            "token_uri":"{}"}}"#,
        tokens.token_url()
    );
    std::fs::write(dir.join("login.json"), login).expect("there is room");
    let endpoint = front.endpoint();
    let url = format!("gs://acme/x?endpoint={endpoint}&write-interval=0s&poll-interval=20ms");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let first = runtime().expect("a runtime");
    let backend = first.block_on(async {
        let backend = leasehold::open(&url).await.expect("a store");
        let client = Client::new(Arc::clone(&backend)).expect("a client");
        client.mutex("a").acquire().await.expect("the lock").release().await.expect("released");
        client.close().await;
        backend
    });
    drop(first);
    runtime().expect("a runtime").block_on(async {
        let client = Client::new(backend).expect("a client");
        // As long as it takes for two tokens to end.
        while tokens.given().len() < 3 {
            client.mutex("b").acquire().await.expect("the lock").release().await.expect("released");
        }
        client.close().await;
    });
}
