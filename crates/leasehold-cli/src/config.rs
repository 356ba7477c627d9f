//! What `once --config FILE` reads: the configuration of py-spanner-mutex, as its users have it, and
//! what its numbers mean here. `docs/coming-from-py-spanner-mutex.md` tells the same to them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

/// The fields of a file, in the order in which its own documentation has them.
const FIELDS: [&str; 10] = [
    "mutex_uuid",
    "instance_id",
    "database_id",
    "table_id",
    "project_id",
    "mutex_display_name",
    "mutex_ttl_in_secs",
    "mutex_staleness_in_secs",
    "mutex_wait_time_in_secs",
    "mutex_max_retries",
];

/// The least value that is allowed there, and the value where the file says nothing.
const TTL: (u64, u64) = (10, 300);
const STALENESS: (u64, u64) = (11, 600);
const WAIT: (u64, u64) = (1, 10);
const RETRIES: (u64, u64) = (2, 50);

/// No number of such a file is meant to be larger: a hundred years of seconds.
const MOST: u64 = 100 * 365 * 86_400;

/// Far more than ten fields need.
const LONGEST: u64 = 64 * 1024;

/// The longest name of a table in Spanner.
const LONGEST_TABLE: usize = 128;

/// What our table is called: the file's own has other columns and a policy that deletes rows.
const TABLE_SUFFIX: &str = "_leasehold";

/// The longest ttl that a file leads to, which is also the program's default.
const TTL_MAX: Duration = Duration::from_secs(30);

/// The longest pause after a first failure: where those of the library stop growing.
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// What a file of py-spanner-mutex means here.
///
/// Each of its numbers is taken for what it does there, not for what it is called: its ttl is never
/// renewed, so that it is the time that the work may take; its retries are looks at the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The lock's name: `mutex_uuid` in its usual form, in whatever form the file has it.
    pub(crate) name: String,

    /// The store: `spanner://PROJECT/INSTANCE/DATABASE?table=TABLE_leasehold`.
    pub(crate) backend: String,

    /// What people call the lock (`mutex_display_name`). It is no label: it is the same for everybody,
    /// and a label says who. It can stand in front of one.
    pub(crate) display_name: Option<String>,

    /// How long the command may run (`mutex_ttl_in_secs`). There it is a request, and others start
    /// beside a command that does not comply; here it is stopped, and counts as failed.
    pub(crate) deadline: Duration,

    /// Our ttl, after which a host that died is replaced: 30 s, or `mutex_ttl_in_secs` if that is
    /// shorter, so that nobody waits longer for the dead than there.
    pub(crate) ttl: Duration,

    /// How long to wait for others: `mutex_max_retries` looks, `mutex_wait_time_in_secs` apart, after
    /// the last of which the time is waited once more. How often we look is the backend's matter.
    pub(crate) wait: Duration,

    /// How many failures, over all hosts, until everybody gives up: `mutex_max_retries`. It is the
    /// number of tries there, the first among them, so that nothing is added.
    pub(crate) max_attempts: u32,

    /// How long to wait after the first failure: `mutex_wait_time_in_secs`, at most a minute.
    pub(crate) backoff: Duration,

    /// `mutex_staleness_in_secs`, where the file has it.
    staleness: Option<Duration>,
}

impl Config {
    /// How long a completion counts; `None` is for ever.
    ///
    /// The file's number, or else its program's default of ten minutes: without a key, that is all that
    /// lets the next release run again. With one, a release differs in the key, and a default that
    /// nobody wrote down is no reason to do the same thing twice.
    pub(crate) fn valid_for(&self, has_key: bool) -> Option<Duration> {
        let default = (!has_key).then_some(Duration::from_secs(STALENESS.1));
        self.staleness.or(default)
    }
}

/// Reads a file, in the environment of this process: `GOOGLE_CLOUD_PROJECT` stands in for a
/// `project_id`. The error is for people: the file, the field, what it says and what is allowed.
pub(crate) fn read(path: &Path) -> Result<Config, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    // There, this variable alone leads to an emulator. What was meant for one must not reach Google.
    if variable("SPANNER_USE_EMULATOR").is_some_and(|uses| uses == "YES")
        && variable("SPANNER_EMULATOR_HOST").is_none()
    {
        return Err(failed(
            "SPANNER_USE_EMULATOR is YES, and SPANNER_EMULATOR_HOST does not say where the \
             emulator is: set it, such as to localhost:9010, or unset the first"
                .into(),
        ));
    }
    let mut text = String::new();
    let opened = File::open(path).and_then(|file| {
        // A byte more than is allowed, to notice that there is more.
        file.take(LONGEST + 1).read_to_string(&mut text)
    });
    opened.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let project = variable("GOOGLE_CLOUD_PROJECT").or_else(|| variable("GCLOUD_PROJECT"));
    parse(&text, project.as_deref()).map_err(failed)
}

/// Reads the text of a file; `project` is what stands in for its `project_id`.
pub(crate) fn parse(text: &str, project: Option<&str>) -> Result<Config, String> {
    if text.len() as u64 > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes: not a configuration"));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(fields) = value else {
        return Err("not a JSON object, such as {\"mutex_uuid\": …}".into());
    };
    let file = Fields(&fields);
    file.knows_all()?;
    let name = file.required("mutex_uuid", uuid)?;
    let instance = file.required("instance_id", part_of_a_path)?;
    let database = file.required("database_id", part_of_a_path)?;
    let table = file.required("table_id", table)?;
    let project = match file.optional("project_id", part_of_a_path)? {
        Some(project) => project,
        None => default_project(project)?,
    };
    let display_name = file.optional("mutex_display_name", |text| Ok(text.to_owned()))?;
    let ttl = file.number("mutex_ttl_in_secs", TTL.0)?.unwrap_or(TTL.1);
    let staleness = file.number("mutex_staleness_in_secs", STALENESS.0)?;
    let wait = file.number("mutex_wait_time_in_secs", WAIT.0)?.unwrap_or(WAIT.1);
    let retries = file.number("mutex_max_retries", RETRIES.0)?.unwrap_or(RETRIES.1);
    outlasts(staleness, ttl, wait, retries)?;
    let (deadline, step) = (Duration::from_secs(ttl), Duration::from_secs(wait));
    Ok(Config {
        name,
        backend: format!("spanner://{project}/{instance}/{database}?table={table}{TABLE_SUFFIX}"),
        display_name,
        deadline,
        ttl: deadline.min(TTL_MAX),
        // Less than the staleness, which is bounded.
        wait: Duration::from_secs(wait * retries),
        max_attempts: u32::try_from(retries).unwrap_or(u32::MAX),
        backoff: step.min(BACKOFF_MAX),
        staleness: staleness.map(Duration::from_secs),
    })
}

/// The rule between the numbers: what is done must not be forgotten while somebody still waits for it.
fn outlasts(staleness: Option<u64>, ttl: u64, wait: u64, retries: u64) -> Result<(), String> {
    let waiting = wait.saturating_mul(retries);
    let secs = staleness.unwrap_or(STALENESS.1);
    if secs > ttl.max(waiting) {
        return Ok(());
    }
    let said = if staleness.is_some() { "is" } else { "is missing, which means" };
    Err(format!(
        "mutex_staleness_in_secs {said} {secs}: it must be more than mutex_ttl_in_secs ({ttl}) and \
         more than mutex_max_retries times mutex_wait_time_in_secs ({retries} × {wait} = {waiting})"
    ))
}

fn default_project(found: Option<&str>) -> Result<String, String> {
    let project = found.ok_or(
        "project_id is missing, and GOOGLE_CLOUD_PROJECT is not set: one of them must name the \
         project that has the instance",
    )?;
    part_of_a_path(project).map_err(|why| format!("GOOGLE_CLOUD_PROJECT {why}"))
}

/// The fields of one file. `null` is as good as missing, as there.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// There, what nobody knows is skipped, so that a typing error means the default.
    fn knows_all(&self) -> Result<(), String> {
        match self.0.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            None => Ok(()),
            Some(field) => {
                Err(format!("there is no field {field:?}; there are {}", FIELDS.join(", ")))
            }
        }
    }

    fn required<T>(
        &self,
        field: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        self.optional(field, read)?.ok_or_else(|| format!("{field} is missing"))
    }

    fn optional<T>(
        &self,
        field: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                read(text).map(Some).map_err(|why| format!("{field} {why}"))
            }
            Some(other) => Err(format!("{field} is {}: it must be a text", kind(other))),
        }
    }

    fn number(&self, field: &str, least: u64) -> Result<Option<u64>, String> {
        let Some(value) = self.0.get(field).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        if let Some(number) = value.as_u64().filter(|number| (least..=MOST).contains(number)) {
            return Ok(Some(number));
        }
        let said = match value {
            Value::Number(number) => number.to_string(),
            other => kind(other).to_owned(),
        };
        Err(format!("{field} is {said}: it must be a whole number from {least} to {MOST}"))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A UUID in any form that Python takes for one, in the form that Python writes.
fn uuid(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let bare = bare.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(bare);
    let has_hyphens = [8, 13, 18, 23].iter().all(|&at| bare.as_bytes().get(at) == Some(&b'-'));
    let digits = if has_hyphens { bare.replacen('-', "", 4) } else { bare.to_owned() };
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(format!(
            "is {text:?}: it must be a UUID, such as f01cae82-db2d-4ee4-a2bb-28f209126a4f"
        ));
    }
    let digits = digits.to_ascii_lowercase();
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Ok(parts.join("-"))
}

/// Whether such a project, an instance or a database exists, Spanner knows; what stands in a URL must
/// mean itself.
fn part_of_a_path(text: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_name && text.len() <= 128 && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("is {text:?}: it must be a name of letters, digits, -, _, . and :"))
}

fn table(text: &str) -> Result<String, String> {
    let most = LONGEST_TABLE - TABLE_SUFFIX.len();
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if is_name && text.len() <= most && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {text:?}: it must be the name of a table: a letter, then letters, digits and _, at \
         most {most} in all (our table has the same name with {TABLE_SUFFIX} behind it)"
    ))
}

#[cfg(test)]
mod tests;
