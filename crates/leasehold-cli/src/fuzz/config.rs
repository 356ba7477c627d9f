//! The target `config`: files that were written for py-spanner-mutex.

use leasehold::core::backend::Key;
use leasehold_fuzz::Target;
use serde_json::Value;

use crate::config::parse;

const WORDS: &[&str] = &[
    "\"mutex_uuid\":",
    "\"instance_id\":",
    "\"database_id\":",
    "\"table_id\":",
    "\"project_id\":",
    "\"mutex_display_name\":",
    "\"mutex_ttl_in_secs\":",
    "\"mutex_staleness_in_secs\":",
    "\"mutex_wait_time_in_secs\":",
    "\"mutex_max_retries\":",
    "\"f01cae82-db2d-4ee4-a2bb-28f209126a4f\"",
    "urn:uuid:",
    "{",
    "}",
    "null",
    "true",
    "1",
    "9",
    "10",
    "11",
    "0.5",
    "-1",
    "3153600000",
    "18446744073709551616",
    "/",
    "?",
    "%2f",
    "\\u001b[2J",
    "\\n",
    "é",
];

/// Whatever a file says, it is refused in one clean line, or it leads to a store and a lock that its
/// words name and to nothing else, and its numbers keep the promises that they make to each other.
#[test]
fn config() {
    Target { name: "config", words: WORDS, runs: 20_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let config = match parse(text, Some("project")) {
        Ok(config) => config,
        Err(why) => {
            assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
            return false;
        }
    };
    let file: Value = serde_json::from_str(text).expect("what was understood is JSON");
    let said = |field: &str, default: &str| file[field].as_str().unwrap_or(default).to_owned();
    let url = format!(
        "spanner://{}/{}/{}?table={}_leasehold",
        said("project_id", "project"),
        said("instance_id", ""),
        said("database_id", ""),
        said("table_id", ""),
    );
    assert_eq!(config.backend, url);
    assert_eq!(url.split(['/', '?', '&', '=', '%', '#', '@']).count(), 7, "{url}");
    assert!(Key::new(config.name.clone()).is_ok(), "{}", config.name);
    let hex = |text: &str| text.bytes().filter(u8::is_ascii_hexdigit).count();
    assert_eq!((config.name.len(), hex(&config.name)), (36, 32));
    assert!(said("mutex_uuid", "").to_lowercase().contains(&config.name[24..]));
    let number = |field: &str, default| file[field].as_u64().unwrap_or(default);
    let (wait, retries) = (number("mutex_wait_time_in_secs", 10), number("mutex_max_retries", 50));
    assert_eq!(config.deadline.as_secs(), number("mutex_ttl_in_secs", 300));
    assert_eq!(config.wait.as_secs(), wait * retries);
    assert_eq!(u64::from(config.max_attempts), retries);
    assert!(config.ttl <= config.deadline && config.backoff.as_secs() <= wait);
    let memory = config.valid_for(false).expect("the ancestor forgets");
    assert!(memory > config.deadline && memory > config.wait);
    assert!(config.valid_for(true).is_none_or(|time| time == memory));
    true
}
