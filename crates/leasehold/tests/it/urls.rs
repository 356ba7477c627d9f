//! How URLs are read, against the vectors of `docs/url-vectors.json`, which other languages can run too.

use std::fs;
use std::path::PathBuf;

use leasehold::core::backend::Key;
use leasehold::{Client, ErrorKind};
use serde_json::Value;

/// A directory for `{dir}` of the vectors. Its characters are none that are escaped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let dir = std::env::temp_dir().join(format!("lh-urls-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("it is right");
        Directory(fs::canonicalize(dir).expect("it is right"))
    }

    fn put(&self, text: &str) -> String {
        text.replace("{dir}", self.0.to_str().expect("it is right"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../../docs/url-vectors.json"))
        .expect("it is right");
    all[kind].as_array().expect("it is right").clone()
}

/// Where the record of the lock `deploy` is, and the URL that is shown and handed to children.
async fn place(url: &str) -> Result<(String, String), leasehold::Error> {
    let backend = leasehold::open(url).await?;
    let shown = Client::new(backend.clone())?.url();
    Ok((backend.locate(&Key::new("deploy").expect("it is right")), shown))
}

/// A URL means what the vector says. A child of a holder is given it in another spelling, and it names
/// the same place again.
#[tokio::test]
async fn a_url_means_the_place_that_the_vector_says() {
    let dir = Directory::new("good");
    for vector in vectors("good") {
        let text = |value: &Value| dir.put(value.as_str().unwrap_or_default());
        let (url, meant) = (text(&vector["url"]), &vector["place"]);
        let part = |name: &str| text(&meant[name]);
        let wanted = match url.split(':').next().expect("it is right") {
            "file" => format!("{}/deploy", part("directory")),
            "gs" if part("prefix").is_empty() => format!("gs://{}/deploy", part("bucket")),
            "gs" => format!("gs://{}/{}/deploy", part("bucket"), part("prefix")),
            "spanner" => format!(
                "projects/{}/instances/{}/databases/{}, table {}, name \"deploy\"",
                part("project"),
                part("instance"),
                part("database"),
                part("table")
            ),
            _ => "memory://deploy".into(),
        };
        let found = place(&url).await.unwrap_or_else(|e| panic!("{}: {e}", vector["name"]));
        assert_eq!(found.0, wanted, "{}", vector["name"]);
        assert_eq!(found.1, text(&vector["shown"]), "{}", vector["name"]);
        assert!(
            found.1.contains(&format!("endpoint={}", part("endpoint")))
                || part("endpoint").is_empty()
        );
        assert_eq!(place(&found.1).await.expect("it is right"), found, "{}", vector["name"]);
    }
}

/// A name that is too long for a directory is cut, and ends in a hash that another client must make too:
/// `docs/backends/file.md` has this one to test it with.
#[tokio::test]
async fn a_long_name_has_the_directory_that_the_page_says() {
    let dir = Directory::new("long");
    let backend = leasehold::open(&dir.put("file://{dir}")).await.expect("it opens");
    let found = backend.locate(&Key::new("é".repeat(60)).expect("a name"));
    let (hash, page) =
        ("~4c507373e6a60ce924dc383c24197072", include_str!("../../../../docs/backends/file.md"));
    assert_eq!(found, dir.put(&format!("{{dir}}/{}%C3%A{hash}", "%C3%A9".repeat(27))));
    assert!(page.contains(hash), "the page has another");
}

/// Two spellings of one place are one place: otherwise two clients would hold one lock.
#[tokio::test]
async fn other_spellings_name_the_same_place() {
    let dir = Directory::new("alike");
    for vector in vectors("alike") {
        let text = |name: &str| dir.put(vector[name].as_str().expect("it is right"));
        let found = place(&text("url")).await.unwrap_or_else(|e| panic!("{}: {e}", vector["name"]));
        assert_eq!(found, place(&text("as")).await.expect("it is right"), "{}", vector["name"]);
    }
}

/// What two clients could read in two ways is refused, whatever the store, before anything is sent. The
/// words are for a terminal and a log: they repeat no password and no control character.
#[tokio::test]
async fn what_may_be_misread_is_refused() {
    let dir = Directory::new("bad");
    for vector in vectors("bad") {
        let url = dir.put(vector["url"].as_str().expect("it is right"));
        let Err(refused) = place(&url).await else { panic!("{} is accepted", vector["name"]) };
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{}: {refused}", vector["name"]);
        let words = refused.to_string();
        assert!(!words.contains(char::is_control) && !words.contains("secret"), "{words}");
    }
    assert_eq!(fs::read_dir(&dir.0).expect("it is right").count(), 0, "a directory was made");
}
