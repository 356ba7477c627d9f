//! What a `spanner://` URL says.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Url;

use crate::backend::http::options::{endpoint, span};
use crate::connect::address::{Address, percent_encode};

/// Google's own endpoint.
const ENDPOINT: &str = "https://spanner.googleapis.com";

/// Where Google's clients look for an emulator.
const EMULATOR: &str = "SPANNER_EMULATOR_HOST";

/// The table, unless the URL names another.
const TABLE: &str = "leasehold";

/// A read is not billed, but it is work: a waiter looks ten times a second at most.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The table, and how to come to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(super) project: String,
    pub(super) instance: String,
    pub(super) database: String,
    pub(super) table: String,
    /// The database role by which Spanner judges what we do; none where that is left to IAM.
    pub(super) role: Option<String>,
    pub(super) endpoint: Url,
    /// Given, in the URL or by the environment: a child may have another environment.
    own_endpoint: bool,
    pub(super) poll_interval: Duration,
}

impl Place {
    /// Reads what stands behind `spanner://`. The error is a sentence for the person who typed it.
    pub(crate) fn parse(rest: &str) -> Result<Place, String> {
        let emulator = std::env::var(EMULATOR).ok().filter(|host| !host.is_empty());
        Place::parse_with(rest, emulator.as_deref()).map_err(|why| match rest.contains('@') {
            // Somebody may have taken this for a store with a password.
            true => "it is spanner://project/instance/database?options, without a user and a \
                     password (what stands before the @ is not repeated here)"
                .into(),
            false => why,
        })
    }

    fn parse_with(rest: &str, emulator: Option<&str>) -> Result<Place, String> {
        let address = Address::read(rest)?;
        let (project, path) = (address.host, address.segments()?);
        let [instance, database] = path[..] else {
            return Err("spanner:// takes a project, an instance and a database, such as \
                        spanner://acme/main/locks"
                .into());
        };
        let endpoint = match emulator {
            // As in Google's clients: with or without a scheme.
            Some(host) if host.contains("://") => endpoint(host, EMULATOR)?,
            Some(host) => endpoint(&format!("http://{host}"), EMULATOR)?,
            None => endpoint(ENDPOINT, "endpoint")?,
        };
        let mut place = Place {
            // A project of a domain has a colon in it: example.com:acme.
            project: id("project", project, "-.:", 64)?,
            instance: id("instance", instance, "-", 64)?,
            database: id("database", database, "-_", 30)?,
            table: TABLE.into(),
            role: None,
            endpoint,
            own_endpoint: emulator.is_some(),
            poll_interval: POLL_INTERVAL,
        };
        address.options(|name, value| place.set(name, value))?;
        Ok(place)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "table" => self.table = word(name, value)?,
            "role" => self.role = Some(word(name, value)?),
            "endpoint" => {
                self.endpoint = endpoint(value, "endpoint")?;
                self.own_endpoint = true;
            }
            "poll-interval" => {
                self.poll_interval = span(name, value)?;
                if self.poll_interval < Duration::from_millis(10) {
                    return Err("poll-interval is 10ms at the least".into());
                }
            }
            _ => {
                return Err(format!(
                    "spanner:// has no option {name:?}; it has table, role, endpoint and \
                     poll-interval"
                ));
            }
        }
        Ok(())
    }

    /// The URL of all this, for a child process to find the same place.
    pub(crate) fn url(&self) -> String {
        let Place { project, instance, database, table, .. } = self;
        let mut url = format!("spanner://{project}/{instance}/{database}");
        let mut options = vec![];
        if table != TABLE {
            options.push(format!("table={table}"));
        }
        if let Some(role) = &self.role {
            options.push(format!("role={role}"));
        }
        if self.own_endpoint {
            let endpoint = self.endpoint.as_str();
            let endpoint = endpoint.trim_end_matches('/').as_bytes();
            options.push(format!("endpoint={}", percent_encode(endpoint, b"/")));
        }
        if self.poll_interval != POLL_INTERVAL {
            options.push(format!("poll-interval={}ms", self.poll_interval.as_millis()));
        }
        for (n, option) in options.iter().enumerate() {
            let _ = write!(url, "{}{option}", if n == 0 { '?' } else { '&' });
        }
        url
    }

    /// `projects/P/instances/I`.
    pub(super) fn instance_path(&self) -> String {
        format!("projects/{}/instances/{}", self.project, self.instance)
    }

    /// `projects/P/instances/I/databases/D`.
    pub(super) fn database_path(&self) -> String {
        format!("{}/databases/{}", self.instance_path(), self.database)
    }

    /// Whether requests go there without credentials: never are they sent in clear.
    pub(super) fn is_anonymous(&self) -> bool {
        self.endpoint.scheme() == "http"
    }
}

/// The id of a project, an instance or a database, as far as a typing error can break it.
fn id(what: &str, id: &str, more: &str, most: usize) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let whole = (2..=most).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.ends_with(ends);
    match whole && id.chars().all(is_fine) {
        true => Ok(id.to_owned()),
        false => Err(format!(
            "{id:?} is no {what}'s id: it has 2 to {most} lower-case letters, digits and any of \
             {more:?}, and starts with a letter"
        )),
    }
}

/// The name of a table or a role: it gets into statements, so it is a plain word.
fn word(option: &str, name: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let whole = (1..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_fine);
    match whole {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{option} cannot be {name:?}: it is a letter, then letters, digits and underscores"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Place, String> {
        Place::parse_with(rest, None)
    }

    /// What is said is what is meant, and the URL that a child is given says the same again.
    #[test]
    fn a_url_says_where() {
        let place = parse("acme/main/locks").expect("a place");
        assert_eq!(place.database_path(), "projects/acme/instances/main/databases/locks");
        assert_eq!((place.table.as_str(), place.is_anonymous()), ("leasehold", false));
        for url in [
            "acme/main/locks",
            "example.com:acme/main-1/lo_cks?table=Locks_2",
            "acme/main/locks?role=lock_er",
            "acme/main/locks?table=t&role=locker&endpoint=http://127.0.0.1:9010&poll-interval=20ms",
        ] {
            assert_eq!(parse(url).expect("a place").url(), format!("spanner://{url}"));
        }
        assert_eq!(parse("acme/main/locks/").expect("a place").url(), "spanner://acme/main/locks");
    }

    /// `SPANNER_EMULATOR_HOST` names a host, with or without a scheme; what the URL says goes first.
    #[test]
    fn an_emulator_is_found() {
        let at = |rest, host| Place::parse_with(rest, Some(host)).expect("a place");
        for host in ["localhost:9010", "http://localhost:9010", "http://localhost:9010/"] {
            let place = at("acme/main/locks", host);
            assert_eq!(place.endpoint.as_str(), "http://localhost:9010/");
            assert!(place.is_anonymous());
            assert_eq!(place.url(), "spanner://acme/main/locks?endpoint=http://localhost:9010");
        }
        let place = at("acme/main/locks?endpoint=https://spanner.example.com", "localhost:1");
        assert!(!place.is_anonymous(), "{place:?}");
        assert!(Place::parse_with("acme/main/locks", Some("not a host")).is_err());
    }

    /// A mistake is told, and no password is repeated.
    #[test]
    fn mistakes_are_told() {
        for (url, word) in [
            ("", "database"),
            ("acme/main", "database"),
            ("acme/main/locks/x", "database"),
            ("Acme/main/locks", "project"),
            ("acme//locks", "segment"),
            ("acme/main/lo%20cks", "database"),
            ("acme/main/locks?ttl=5s", "no option"),
            ("acme/main/locks?table=a-b", "table"),
            ("acme/main/locks?table=a&table=a", "twice"),
            ("acme/main/locks?table=", "table"),
            ("acme/main/locks?table=a%60b", "table"),
            ("acme/main/locks?role=", "role"),
            ("acme/main/locks?role=a%20b", "role"),
            ("acme/main/locks?role", "role"),
            ("acme/main/locks?poll-interval=1ms", "10ms"),
            ("acme/main/locks?endpoint=ftp://x", "URL"),
            ("acme/main/locks?endpoint=http://me:secret@host", "URL"),
        ] {
            let error = parse(url).expect_err(url);
            assert!(error.contains(word) && !error.contains("secret"), "{url}: {error}");
        }
    }

    /// Whatever stands before an @ may be a password, wherever the mistake is.
    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for url in ["user:secret@acme/x/y", "acme/secret/x@y", "acme/main/x?secret@y"] {
            let error = Place::parse(url).expect_err(url);
            assert!(error.contains("spanner://project") && !error.contains("secret"), "{error}");
        }
    }
}
