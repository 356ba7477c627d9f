//! Names like one that was never used: a typing error looks like a free lock otherwise.

use std::time::Duration;

use leasehold::Client;
use leasehold::env::{Env, Host};
use strsim::osa_distance;

/// How long the store may take to tell its names: nobody waits for a hint.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many names are proposed.
const PROPOSED: usize = 3;

/// The names in the store that are most like this one, nearest first. None where the store does not tell
/// its names.
pub(crate) async fn names(client: &Client, name: &str) -> Vec<String> {
    let all = tokio::select! {
        names = client.names("") => names.unwrap_or_default(),
        () = Host.sleep(PATIENCE) => vec![],
    };
    nearest(name, all)
}

fn nearest(name: &str, all: Vec<String>) -> Vec<String> {
    let far = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, String)> = all
        .into_iter()
        .filter(|it| it != name)
        .filter_map(|it| Some((distance(name, &it, far)?, it)))
        .collect();
    near.sort();
    near.into_iter().take(PROPOSED).map(|(_, it)| it).collect()
}

/// How far two names are from each other, if not too far: by typing errors, or by a group that was left
/// out or put in front.
fn distance(a: &str, b: &str, far: usize) -> Option<usize> {
    let is_end =
        |long: &str, end: &str| long.strip_suffix(end).is_some_and(|rest| rest.ends_with('/'));
    let by_typing = osa_distance(a, b);
    let by_case = osa_distance(&a.to_lowercase(), &b.to_lowercase());
    let nearest = if is_end(a, b) || is_end(b, a) { 1 } else { by_typing.min(by_case + 1) };
    (nearest <= far).then_some(nearest)
}

/// `; did you mean deploy or deploy-eu?`, or nothing.
pub(crate) fn question(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [all @ .., last] => format!("; did you mean {} or {last}?", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as they are mistyped: letters turned round, left out, another case, a group forgotten.
    /// What is merely short or unlike is not proposed.
    #[test]
    fn what_was_meant_is_proposed() {
        let all = ["deploy", "deploy-eu", "prod/report", "Backup", "db", "x"];
        let near = |name| nearest(name, all.map(String::from).into());
        assert_eq!(near("deplyo"), ["deploy"]);
        assert_eq!(near("depoy"), ["deploy"]);
        assert_eq!(near("report"), ["prod/report"]);
        assert_eq!(near("prod/db"), ["db"]);
        assert_eq!(near("backup"), ["Backup"]);
        assert_eq!(near("nightly"), [""; 0]);
        let both = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(question(&both), "; did you mean a, b or c?");
    }
}
