//! What a `gs://` URL says.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Url;

use crate::backend::http::options::{endpoint, span};
use crate::connect::address::{Address, percent_encode};

/// Google's own endpoint.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// Where Google's clients look for an emulator.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// One write a second for each object: <https://cloud.google.com/storage/quotas#objects>.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// A read is billed: a waiter looks once a second at most.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Names of up to 200 bytes have to fit behind it into the 1024 of an object's name.
const MAX_PREFIX_BYTES: usize = 800;

/// The bucket, the names in it, and how to come to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(super) bucket: String,
    /// Empty, or the start of all names without the slash behind it.
    pub(super) prefix: String,
    pub(super) endpoint: Url,
    /// Given, in the URL or by the environment: a child may have another environment.
    own_endpoint: bool,
    pub(super) write_interval: Duration,
    pub(super) poll_interval: Duration,
    pub(super) project: Option<String>,
    pub(super) location: Option<String>,
}

impl Place {
    /// Reads what stands behind `gs://`. The error is a sentence for the person who typed it.
    pub(crate) fn parse(rest: &str) -> Result<Place, String> {
        let emulator = std::env::var(EMULATOR).ok().filter(|host| !host.is_empty());
        Place::parse_with(rest, emulator.as_deref()).map_err(|why| match rest.contains('@') {
            // Somebody may have taken this for a store with a password.
            true => "it is gs://bucket/prefix?options, without a user and a password (what stands \
                     before the @ is not repeated here)"
                .into(),
            false => why,
        })
    }

    fn parse_with(rest: &str, emulator: Option<&str>) -> Result<Place, String> {
        let address = Address::read(rest)?;
        check_bucket(address.host)?;
        let prefix = address.segments()?.join("/");
        if prefix.len() > MAX_PREFIX_BYTES {
            return Err(format!("the prefix has more than {MAX_PREFIX_BYTES} bytes"));
        }
        let endpoint = match emulator {
            // As in Google's clients: with or without a scheme.
            Some(host) if host.contains("://") => endpoint(host, EMULATOR)?,
            Some(host) => endpoint(&format!("http://{host}"), EMULATOR)?,
            None => endpoint(ENDPOINT, "endpoint")?,
        };
        let mut place = Place {
            bucket: address.host.to_owned(),
            prefix,
            endpoint,
            own_endpoint: emulator.is_some(),
            write_interval: WRITE_INTERVAL,
            poll_interval: POLL_INTERVAL,
            project: None,
            location: None,
        };
        address.options(|name, value| place.set(name, value))?;
        Ok(place)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "endpoint" => {
                self.endpoint = endpoint(value, "endpoint")?;
                self.own_endpoint = true;
            }
            "write-interval" => self.write_interval = span(name, value)?,
            "poll-interval" => {
                self.poll_interval = span(name, value)?;
                if self.poll_interval < Duration::from_millis(10) {
                    return Err("poll-interval is 10ms at the least".into());
                }
            }
            "project" => self.project = Some(word(name, value)?),
            "location" => self.location = Some(word(name, value)?),
            _ => {
                return Err(format!(
                    "gs:// has no option {name:?}; it has endpoint, write-interval, poll-interval, \
                     project and location"
                ));
            }
        }
        Ok(())
    }

    /// The URL of all this, for a child process to find the same place.
    pub(crate) fn url(&self) -> String {
        let mut url = format!("gs://{}", self.bucket);
        if !self.prefix.is_empty() {
            let _ = write!(url, "/{}", percent_encode(self.prefix.as_bytes(), b"/"));
        }
        let mut options = vec![];
        if self.own_endpoint {
            let endpoint = self.endpoint.as_str();
            let endpoint = endpoint.trim_end_matches('/').as_bytes();
            options.push(format!("endpoint={}", percent_encode(endpoint, b"/")));
        }
        if self.write_interval != WRITE_INTERVAL {
            options.push(format!("write-interval={}ms", self.write_interval.as_millis()));
        }
        if self.poll_interval != POLL_INTERVAL {
            options.push(format!("poll-interval={}ms", self.poll_interval.as_millis()));
        }
        for (name, value) in [("project", &self.project), ("location", &self.location)] {
            if let Some(value) = value {
                options.push(format!("{name}={}", percent_encode(value.as_bytes(), b"")));
            }
        }
        for (n, option) in options.iter().enumerate() {
            let _ = write!(url, "{}{option}", if n == 0 { '?' } else { '&' });
        }
        url
    }

    /// The object of a name, or of the start of one.
    pub(super) fn object(&self, name: &str) -> String {
        match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.prefix),
        }
    }

    /// Whether requests go there without credentials: never are they sent in clear.
    pub(super) fn is_anonymous(&self) -> bool {
        self.endpoint.scheme() == "http"
    }
}

/// The rules of <https://cloud.google.com/storage/docs/buckets#naming>, as far as a typing error can
/// break them.
fn check_bucket(bucket: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if bucket.is_empty() {
        return Err("gs:// takes a bucket, such as gs://acme-locks/prod".into());
    }
    let whole =
        (3..=222).contains(&bucket.len()) && bucket.starts_with(ends) && bucket.ends_with(ends);
    if whole && bucket.chars().all(is_fine) {
        return Ok(());
    }
    Err(format!(
        "{bucket:?} is no bucket's name: it has 3 to 222 lower-case letters, digits, dashes, \
         underscores and dots, with a letter or a digit at both ends"
    ))
}

/// A word of an option, such as the id of a project.
fn word(name: &str, value: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match !value.is_empty() && value.chars().all(is_fine) {
        true => Ok(value.to_owned()),
        false => Err(format!("{name} cannot be {value:?}")),
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
        let place = parse("acme-locks/prod/eu").expect("a place");
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("acme-locks", "prod/eu"));
        assert_eq!(place.object("deploy"), "prod/eu/deploy");
        assert_eq!(place.url(), "gs://acme-locks/prod/eu");
        assert!(!place.is_anonymous());
        assert_eq!(parse("acme-locks/").expect("a place").object("a/b"), "a/b");
        for url in [
            "acme-locks",
            "acme.example.com/a%20b%25",
            "b_1/p?endpoint=http://127.0.0.1:4443&write-interval=0ms&poll-interval=20ms",
            "acme-locks/p?project=acme&location=europe-west1",
        ] {
            let place = parse(url).expect("a place");
            assert_eq!(place.url(), format!("gs://{url}"));
        }
    }

    /// `STORAGE_EMULATOR_HOST` names a host, with or without a scheme; what the URL says goes first.
    #[test]
    fn an_emulator_is_found() {
        let at = |rest, host| Place::parse_with(rest, Some(host)).expect("a place");
        for host in ["localhost:4443", "http://localhost:4443", "http://localhost:4443/"] {
            let place = at("bkt", host);
            assert_eq!(place.endpoint.as_str(), "http://localhost:4443/");
            assert!(place.is_anonymous());
            assert_eq!(place.url(), "gs://bkt?endpoint=http://localhost:4443");
        }
        let place = at("bkt?endpoint=https://storage.example.com", "localhost:1");
        assert_eq!(place.endpoint.host_str(), Some("storage.example.com"));
        assert!(Place::parse_with("bkt", Some("not a host")).is_err());
    }

    /// A mistake is told, and no password is repeated.
    #[test]
    fn mistakes_are_told() {
        for (url, word) in [
            ("", "bucket"),
            ("/prod", "bucket"),
            ("Acme/prod", "bucket"),
            ("ab", "bucket"),
            ("-acme", "bucket"),
            ("acme/a//b", "segment"),
            ("acme/../x", "segment"),
            ("acme//", "segment"),
            ("acme/a%00b", "U+0000"),
            ("acme/a%E2%80%8Bb", "U+200B"),
            ("acme/a%FF", "UTF-8"),
            ("ac%6De/a", "bucket"),
            ("acme?project=a&project=a", "twice"),
            ("acme/a%zz", "%"),
            ("acme?ttl=5s", "no option"),
            ("acme?write-interval=soon", "time"),
            ("acme?write-interval=-1s", "time"),
            ("acme?write-interval=+1s", "time"),
            ("acme?write-interval=2h", "time"),
            ("acme?poll-interval=1ms", "10ms"),
            ("acme?endpoint=ftp://x", "URL"),
            ("acme?endpoint=http://me:secret@host", "URL"),
            ("acme?project=a%20b", "project"),
        ] {
            let error = parse(url).expect_err(url);
            assert!(error.contains(word) && !error.contains("secret"), "{url}: {error}");
        }
    }

    /// Whatever stands before an @ may be a password, wherever the mistake is.
    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for url in [
            "user:secret@acme/x",
            "user:secret?@acme",
            "acme/secret//x@y",
            "acme?x=secret@y",
            "acme?secret@y",
        ] {
            let error = Place::parse(url).expect_err(url);
            assert!(error.contains("gs://bucket/prefix") && !error.contains("secret"), "{error}");
        }
    }
}
