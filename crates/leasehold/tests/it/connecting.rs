//! From a URL, or the environment, to a client.

use std::process::Command;

use leasehold::{BACKEND_VARIABLE, Client, ErrorKind};

/// What the process that is asked has to find. Set in it alone.
const WANTED: &str = "LEASEHOLD_TEST_WANTED";

/// A container is told where its locks are by the variable that the command line goes by. Where the variable
/// says nothing the service is told so, and gets no store that nobody else sees.
#[test]
fn the_environment_names_the_store() {
    if let Ok(wanted) = std::env::var(WANTED) {
        return finds(&wanted);
    }
    let name = "connecting::the_environment_names_the_store";
    let ask = |value: Option<&str>, wanted: &str| {
        let mut other = Command::new(std::env::current_exe().expect("our own path"));
        other.args(["--exact", name]).env(WANTED, wanted).env_remove(BACKEND_VARIABLE);
        if let Some(value) = value {
            other.env(BACKEND_VARIABLE, value);
        }
        let seen = other.output().expect("it starts");
        let said = String::from_utf8_lossy(&seen.stdout);
        assert!(seen.status.success() && said.contains("1 passed"), "{value:?}: {seen:?}");
    };
    ask(Some("memory://"), "memory://");
    ask(None, "no store is given: set LEASEHOLD_BACKEND");
    ask(Some(""), "no store is given: set LEASEHOLD_BACKEND");
    ask(Some("memory:// "), "white space at an end");
    ask(Some("/var/lib/locks"), "did you mean \"file:///var/lib/locks\"?");
}

fn finds(wanted: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    match runtime.block_on(Client::from_env()) {
        Ok(client) => assert_eq!(client.url(), wanted),
        Err(refused) => {
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(refused.to_string().contains(wanted), "{refused}");
        }
    }
}

/// Somebody moves a program from files to a bucket by its URL, and the library was built for files alone.
/// The message says which cargo feature is missing; a scheme that no version knows has none.
#[tokio::test]
async fn a_missing_feature_is_named() {
    let stores = [
        ("file:///d", "file", cfg!(feature = "file")),
        ("gs://b/p", "gcs", cfg!(feature = "gcs")),
        ("spanner://p/i/d", "spanner", cfg!(feature = "spanner")),
    ];
    for (url, feature, _) in stores.into_iter().filter(|(.., is_there)| !is_there) {
        let refused = leasehold::connect(url).await.expect_err("it is not there");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        let wanted = format!("needs the cargo feature {feature:?} of leasehold");
        assert!(refused.to_string().contains(&wanted), "{refused}");
    }
    for url in ["s3://b/p", "g://b", "gs3://b", "://b"] {
        let refused = leasehold::connect(url).await.expect_err("no version has it").to_string();
        assert!(refused.contains("there is no backend"), "{refused}");
        assert!(refused.contains("memory://") && !refused.contains("feature"), "{refused}");
    }
}
