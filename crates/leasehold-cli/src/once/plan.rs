//! What was typed and what a file says, together: what is to be done.

use std::ffi::OsString;
use std::time::Duration;

use leasehold::{Client, Once};

use crate::cli;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::label::label;
use crate::supervise::Rules;
use crate::voice::Voice;
use crate::{keyed, place};

/// How many runs may fail unless it is said.
const ATTEMPTS: u32 = 3;

/// What is to be done, by everything that was said.
pub(super) struct Plan {
    pub(super) name: String,
    /// What people call it.
    pub(super) title: String,
    pub(super) key: String,
    pub(super) backend: Option<String>,
    pub(super) needed: Option<OsString>,
    pub(super) max_attempts: u32,
    pub(super) rules: Rules,
    /// The exit code of a call that timed out.
    pub(super) conflict: u8,
    backoff: Option<Duration>,
    valid_for: Option<Duration>,
    wait: Option<Duration>,
    label: String,
    /// How much is said beside errors.
    pub(super) voice: Voice,
}

impl Plan {
    /// The plan, and the command.
    pub(super) fn new(
        options: cli::Once,
        backend: Option<&str>,
        has_terminal: bool,
    ) -> Result<(Plan, Vec<OsString>), Failure> {
        let file = options.config.as_deref().map(config::read).transpose();
        let file = file.map_err(|why| Failure::usage(format!("--config: {why}")))?;
        let file = file.as_ref();
        let mut wanted = options.wanted;
        if let Some(file) = file {
            wanted.ttl.get_or_insert(file.ttl);
            if !wanted.no_wait {
                wanted.wait.get_or_insert(file.wait);
            }
        }
        wanted.or_environment()?;
        let has_key = options.key.is_some() || options.key_file.is_some();
        let key = match (options.key, options.key_file) {
            (Some(key), _) => key,
            (None, Some(path)) => {
                keyed::key_of(&path).map_err(|why| Failure::new(Exit::Usage, why))?
            }
            (None, None) => String::new(),
        };
        let from_file = |field: fn(&Config) -> Duration| file.map(field);
        let mut rules = Rules::new(wanted.ttl(), options.grace, has_terminal)?;
        rules.deadline = options.deadline.or(from_file(|file| file.deadline));
        rules.success_stays = true;
        let name = options.name.or_else(|| file.map(|file| file.name.clone()));
        let name = name.ok_or_else(|| Failure::usage("no name is given"))?;
        let attempts = options.max_attempts.or(file.map(|file| file.max_attempts));
        let plan = Plan {
            title: file.and_then(|file| file.display_name.clone()).unwrap_or_else(|| name.clone()),
            name,
            key,
            backend: store(backend, file),
            needed: options.needed,
            max_attempts: attempts.unwrap_or(ATTEMPTS),
            rules,
            conflict: wanted.conflict_exit_code,
            backoff: options.backoff.or(from_file(|file| file.backoff)),
            valid_for: options.valid_for.or(file.and_then(|file| file.valid_for(has_key))),
            wait: if wanted.no_wait { Some(Duration::ZERO) } else { wanted.wait },
            label: wanted
                .label
                .unwrap_or_else(|| label(options.command.first().map(OsString::as_os_str))),
            voice: wanted.voice,
        };
        Ok((plan, options.command))
    }

    /// Whether there is to be no waiting.
    pub(super) fn is_a_try(&self) -> bool {
        self.wait == Some(Duration::ZERO)
    }

    /// The same for the library.
    pub(super) fn once(&self, client: &Client) -> Once {
        let mut once = client
            .once(&*self.name)
            .keyed(&*self.key)
            .with_ttl(self.rules.ttl)
            .with_label(&*self.label)
            .with_max_attempts(self.max_attempts);
        if let Some(wait) = self.wait {
            once = once.with_timeout(wait);
        }
        if let Some(backoff) = self.backoff {
            once = once.with_backoff(backoff);
        }
        if let Some(valid_for) = self.valid_for {
            once = once.with_valid_for(valid_for);
        }
        once
    }
}

/// What is typed has precedence over a file that is named, and that over what the environment says: that
/// is meant for all, and may come from an outer `leasehold run`.
fn store(backend: Option<&str>, file: Option<&Config>) -> Option<String> {
    match file {
        Some(file) if !place::is_typed() => Some(file.backend.clone()),
        _ => backend.map(str::to_owned),
    }
}
