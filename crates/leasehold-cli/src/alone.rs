//! Whether a store excludes anybody but this machine: locks in a container's own files exclude nobody who
//! is meant.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Failure;

/// What tells a CI job or a container, by its variable.
const SIGNS: &[&str] = &[
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "BUILDKITE",
    "CIRCLECI",
    "TEAMCITY_VERSION",
    "TF_BUILD",
    "CODEBUILD_BUILD_ID",
    "BITBUCKET_BUILD_NUMBER",
    "KUBERNETES_SERVICE_HOST",
    "K_SERVICE",
    "CLOUD_RUN_JOB",
    "ECS_CONTAINER_METADATA_URI_V4",
    "AWS_LAMBDA_FUNCTION_NAME",
    "CI",
    "container",
];

/// … and by its file.
const FILES: &[&str] = &["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];

static MUST_BE_SHARED: AtomicBool = AtomicBool::new(false);

/// From now on a store that only this machine sees is refused.
pub(crate) fn refuse() {
    MUST_BE_SHARED.store(true, Ordering::Relaxed);
}

/// Refuses a store that only this machine sees, if that is wanted.
pub(crate) fn check(url: &str) -> Result<(), Failure> {
    if !MUST_BE_SHARED.load(Ordering::Relaxed) || is_shared(url) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{url} is seen by this machine or container only, and --require-shared (or \
         LEASEHOLD_REQUIRE_SHARED) wants a store that others see: set LEASEHOLD_BACKEND, such as \
         to gs://bucket/prefix"
    )))
}

fn is_shared(url: &str) -> bool {
    let options = url.split_once('?').map_or("", |(_, options)| options);
    match url.split(':').next() {
        Some("memory") => false,
        // The option says that several hosts share the file system.
        Some("file") => options.split('&').any(|option| option == "network-fs=allow"),
        _ => true,
    }
}

/// What is said where the default store is used and this looks like a place whose files nobody else sees.
pub(crate) fn warning(url: &str) -> Option<String> {
    let variable = |name: &str| std::env::var_os(name);
    let sign = sign(variable, |path| Path::new(path).exists())?;
    Some(format!(
        "no store is named, and this looks like a CI job or a container ({sign}): the locks are \
         files in {url}, which only this machine or container sees. Set \
         LEASEHOLD_BACKEND, such as to gs://bucket/prefix or to this URL"
    ))
}

fn sign(
    variable: impl Fn(&str) -> Option<OsString>,
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_set = |name: &&&str| {
        let value = variable(name).unwrap_or_default();
        !["", "0", "false", "no"].iter().any(|no| value.eq_ignore_ascii_case(no))
    };
    let by_variable = SIGNS.iter().find(is_set).map(|name| format!("{name} is set"));
    by_variable
        .or_else(|| FILES.iter().find(|path| exists(path)).map(|path| format!("there is {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_job_is_told_by_what_it_sets() {
        let with = |name: &'static str, value: &'static str| {
            sign(move |asked| (asked == name).then(|| value.into()), |_| false)
        };
        assert_eq!(with("CI", "true").as_deref(), Some("CI is set"));
        assert_eq!(with("KUBERNETES_SERVICE_HOST", "10.0.0.1").map(|_| ()), Some(()));
        for no in ["false", "False", "0", ""] {
            assert_eq!(with("CI", no), None);
        }
        assert_eq!(with("HOME", "/root"), None);
        let file = sign(|_| None, |path| path == "/.dockerenv");
        assert_eq!(file.as_deref(), Some("there is /.dockerenv"));
    }

    #[test]
    fn only_what_others_see_is_shared() {
        for url in ["file:///x", "file:///x?", "file:///network-fs=allow", "memory://"] {
            assert!(!is_shared(url), "{url}");
        }
        for url in ["file:///x?network-fs=allow", "gs://b/p", "spanner://p/i/d?table=t"] {
            assert!(is_shared(url), "{url}");
        }
    }
}
