//! The target `terminal`: what a stranger's record or name can do to the person who looks at it.

use std::sync::{Arc, OnceLock};

use leasehold::Client;
use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{Backend, Expected, Key, Written};
use leasehold_fuzz::Target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::show::{clean, is_hostile, json};
use crate::status::{Answer, lines, table};

const WORDS: &[&str] = &[
    "\u{1b}[2J",
    "\u{1b}]0;x\u{7}",
    "\\u001b[31m",
    "\\u009b",
    "\u{9b}",
    "\\u202e",
    "\u{202e}",
    "\u{200b}",
    "\u{7f}",
    "\\u007f",
    "\\n",
    "\\r",
    "\\u2028",
    "\u{e0041}",
    "\\udb40\\udc41",
    "\u{fe0f}",
    "é",
    "東",
    "\"label\":\"",
    "\"by\":\"",
    "\"reason\":\"",
    "\"past\":{",
    "\"ended\":\"forced\"",
    "\"kind\":\"once\"",
    "\"renewals\":9007199254740991",
    "\"acquired_unix_ms\":9007199254740991",
    "\n",
];

/// Whatever a record says, in each form that we print: no character moves a cursor, rings, hides or
/// reverses its neighbours, and no text begins a line of its own. JSON stays the same JSON.
#[test]
fn terminal() {
    Target { name: "terminal", words: WORDS, runs: 20_000, check }.fuzz();
}

/// The first line is the lock's name, the rest its record.
fn check(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end]);
    is_clean(&name);
    let Ok(key) = Key::new(name) else { return false };
    let Some(status) = place().status(&key, bytes.get(end + 1..).unwrap_or_default()) else {
        return false;
    };
    let shown = lines(&status, &[]);
    let titles = ["name", "state", "problem", "held by", "since", "lease", "id", "token", "before"];
    for line in shown.lines() {
        let title = line.get(..11).unwrap_or_default().trim_end();
        assert!(titles.contains(&title) || title == "where", "{line:?}");
        assert!(!line.contains(is_hostile), "{line:?}");
    }
    let all = [status];
    let row = table(&all);
    assert!(row.lines().count() == 2 && !row.replace('\n', "").contains(is_hostile), "{row:?}");
    let [status] = all;
    let value = serde_json::to_value(Answer::new(&status, &[])).expect("it is JSON");
    let printed = json(&Answer::new(&status, &[]));
    assert!(!printed.replace('\n', "").contains(is_hostile), "{printed:?}");
    assert_eq!(serde_json::from_str::<Value>(&printed).ok(), Some(value), "{printed:?}");
    status.problem.is_none()
}

fn is_clean(text: &str) {
    let shown = clean(text);
    assert!(!shown.contains(is_hostile), "{shown:?}");
    assert_eq!(clean(&shown), shown);
    assert_eq!(shown == text, !text.contains(is_hostile));
}

/// A store with one record at a time.
struct Place {
    runtime: Runtime,
    backend: Arc<MemoryBackend>,
    client: Client,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let backend = Arc::new(MemoryBackend::default());
        let client = Client::new(Arc::clone(&backend) as Arc<dyn Backend>).expect("a thread");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Place { runtime, backend, client }
    })
}

impl Place {
    /// What there is to be shown of a record. `None` if no store would have it.
    fn status(&self, key: &Key, record: &[u8]) -> Option<leasehold::Status> {
        self.runtime.block_on(async {
            let written = self.backend.write(key, &Expected::Absent, record).await.ok()?;
            let Written::Applied(version) = written else { panic!("something was left") };
            let status = self.client.status(key.as_str()).await.expect("memory answers");
            let gone = self.backend.delete(key, &version).await.expect("memory answers");
            assert!(gone);
            Some(status)
        })
    }
}
