//! Who we are, for people who ask who holds a lock: user, host and process, what runs, and where one can
//! look: the CI run, the pod.

use std::ffi::OsStr;
use std::path::Path;

use leasehold::env::host_label;

/// The label of a lock that is held for this command: `alice@web-1:4711 (deploy.sh,
/// https://github.com/acme/app/actions/runs/7)`. Of the command only its name: arguments may be secrets.
pub(crate) fn label(command: Option<&OsStr>) -> String {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    with(host_label(), command, get)
}

fn with(host: String, command: Option<&OsStr>, get: impl Fn(&str) -> Option<String>) -> String {
    let name = command.and_then(|it| Path::new(it).file_name());
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let pod = get("POD_NAME").filter(|pod| !host.contains(&format!("@{pod}:")));
    let pod = pod.map(|pod| match get("POD_NAMESPACE") {
        Some(space) => format!("pod {space}/{pod}"),
        None => format!("pod {pod}"),
    });
    let more: Vec<String> = [name, pod, run_url(get)].into_iter().flatten().collect();
    if more.is_empty() { host } else { format!("{host} ({})", more.join(", ")) }
}

/// Where the CI run can be looked at.
fn run_url(get: impl Fn(&str) -> Option<String>) -> Option<String> {
    let github = || {
        let (server, repository) = (get("GITHUB_SERVER_URL")?, get("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", get("GITHUB_RUN_ID")?))
    };
    // GitLab, Jenkins, Buildkite, CircleCI, Travis, Drone.
    let names = [
        "CI_JOB_URL",
        "BUILD_URL",
        "BUILDKITE_BUILD_URL",
        "CIRCLE_BUILD_URL",
        "TRAVIS_JOB_WEB_URL",
        "DRONE_BUILD_LINK",
    ];
    github().or_else(|| names.iter().find_map(|name| get(name))).and_then(|url| bare(&url))
}

/// A URL without what may be a secret: a password, a query.
fn bare(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(it, _)| matches!(*it, "http" | "https"))?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    Some(format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs of several CI systems and a pod hold locks, and a person on call looks who that is. The label
    /// leads to the run, and has no argument, password or query in it.
    #[test]
    fn a_label_says_where_to_look() {
        let of = |command: Option<&str>, vars: &[(&str, &str)]| {
            let get = |name: &str| {
                vars.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
            };
            with("ci@vm-1:7".into(), command.map(OsStr::new), get)
        };
        assert_eq!(of(None, &[]), "ci@vm-1:7");
        assert_eq!(of(Some("./bin/deploy.sh"), &[]), "ci@vm-1:7 (deploy.sh)");
        let github = [
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/app"),
            ("GITHUB_RUN_ID", "99"),
        ];
        let url = "https://github.com/acme/app/actions/runs/99";
        assert_eq!(of(Some("make"), &github), format!("ci@vm-1:7 (make, {url})"));
        let jenkins = [("BUILD_URL", "https://u:secret@ci.acme/job/7/?token=secret#x")];
        assert_eq!(of(None, &jenkins), "ci@vm-1:7 (https://ci.acme/job/7/)");
        assert_eq!(of(None, &[("BUILD_URL", "javascript:alert(1)")]), "ci@vm-1:7");
        let pod = [("POD_NAME", "web-0"), ("POD_NAMESPACE", "prod")];
        assert_eq!(of(None, &pod), "ci@vm-1:7 (pod prod/web-0)");
        assert_eq!(of(None, &[("POD_NAME", "vm-1")]), "ci@vm-1:7");
    }
}
