//! Many writers at once, all conditioned on the same state: exactly one may win.

use std::sync::Arc;

use leasehold::core::backend::{BackendError, Expected, Fate, Key, Trouble, Versioned, Written};
use leasehold::core::deadline::Moment;
use tokio::task::JoinSet;

use super::probe::{Landed, Probe, Stopped, attempt};
use super::report::{Finding, fail, ok};

/// As many as race where nothing speaks against it.
const RIVALS: usize = 32;

/// As many as swap at once where the store takes only a write now and then.
const RIVALS_LIMITED: usize = 8;

/// How often a race is run that nobody won because the store answered nobody.
const ROUNDS: u32 = 3;

/// A free lock that many see at once must come to one of them.
pub(super) async fn creators(probe: &mut Probe) -> Result<Finding, Stopped> {
    for _ in 0..ROUNDS {
        let key = probe.name()?;
        if let Some(finding) = race(probe, &key, &Expected::Absent, RIVALS).await? {
            return Ok(finding);
        }
    }
    undecided(probe)
}

/// A lease that is over, seen by many at once, must come to one of them.
pub(super) async fn swappers(probe: &mut Probe) -> Result<Finding, Stopped> {
    let is_limited = !probe.backend.facts().least_write_interval.is_zero();
    let rivals = if is_limited { RIVALS_LIMITED } else { RIVALS };
    for _ in 0..ROUNDS {
        let key = probe.name()?;
        let Some(before) = probe.write(&key, &Expected::Absent).await? else {
            return Ok(fail("a name that nobody used could not be created"));
        };
        let expected = Expected::Version(before.version);
        if let Some(finding) = race(probe, &key, &expected, rivals).await? {
            return Ok(finding);
        }
    }
    undecided(probe)
}

fn undecided(probe: &Probe) -> Result<Finding, Stopped> {
    let message = format!("in {ROUNDS} races at {} no writer got an answer", probe.backend.url());
    Err(Stopped { trouble: Trouble::Unavailable, message })
}

/// What one of them was told.
struct Rival {
    bytes: Vec<u8>,
    sent: Moment,
    told: Result<Written, BackendError>,
}

/// One race; `None` if it was not decided, because the store answered nobody.
async fn race(
    probe: &mut Probe,
    key: &Key,
    expected: &Expected,
    rivals: usize,
) -> Result<Option<Finding>, Stopped> {
    probe.pace(key).await;
    probe.touch(key);
    let mut running = JoinSet::new();
    for _ in 0..rivals {
        let (backend, env) = (Arc::clone(&probe.backend), Arc::clone(&probe.env));
        let (key, expected, bytes) = (key.clone(), expected.clone(), probe.content());
        running.spawn(async move {
            let sent = env.now().moment;
            let told = attempt(&*env, backend.write(&key, &expected, &bytes)).await;
            Rival { bytes, sent, told }
        });
    }
    let rivals = running.join_all().await;
    probe.touch(key);
    for rival in &rivals {
        match &rival.told {
            Ok(Written::Applied(version)) => {
                let landed = Landed { bytes: rival.bytes.clone(), version: version.clone() };
                probe.landed(key, landed, rival.sent);
            }
            Err(e) if matches!(e.fate, Fate::Throttled { .. }) => probe.figures.throttled += 1,
            Ok(Written::Conflict(_)) | Err(_) => {}
        }
    }
    let stored = probe.read(key).await?;
    let finding = judge(&rivals, stored.as_ref(), expected);
    // Nobody won and all were refused for the same reason: that reason is the result.
    let errors = || rivals.iter().filter_map(|rival| rival.told.as_ref().err());
    if finding.is_none()
        && let Some(error) = errors().find(|e| !matches!(e.fate, Fate::Throttled { .. }))
    {
        return Err(probe.stopped("write", key, error));
    }
    Ok(finding)
}

/// Whether what they were told and what is stored now fit together; `None` if nothing is decided.
fn judge(rivals: &[Rival], stored: Option<&Versioned>, expected: &Expected) -> Option<Finding> {
    let count = rivals.len();
    let winners: Vec<&Rival> =
        rivals.iter().filter(|rival| matches!(rival.told, Ok(Written::Applied(_)))).collect();
    let patience = rivals.iter().filter_map(|rival| rival.told.as_ref().err()).count();
    let patience = match patience {
        0 => String::new(),
        n => format!("; {n} got no answer but a request for patience"),
    };
    match winners[..] {
        [] => {}
        [Rival { bytes, told: Ok(Written::Applied(version)), .. }] => {
            let won = Landed { bytes: bytes.clone(), version: version.clone() };
            return Some(match (won.is(stored), stored) {
                (true, _) => {
                    ok(format!("{count} writers, one winner, and its write is stored{patience}"))
                }
                (_, Some(_)) => {
                    fail(format!("of {count} writers one won, and another's is stored"))
                }
                (_, None) => fail(format!("of {count} writers one won, and nothing is stored")),
            });
        }
        _ => {
            return Some(fail(format!(
                "of {count} writers at once {} were told that they won: two would hold one lock",
                winners.len()
            )));
        }
    }
    match rivals.iter().find(|rival| stored.is_some_and(|s| s.bytes == rival.bytes)) {
        Some(Rival { told: Err(_), .. }) => {
            Some(ok(format!("{count} writers, one winner, found by reading{patience}")))
        }
        Some(_) => Some(fail(
            "the winner was told that it lost: something on the way sends requests twice",
        )),
        None => {
            let was = match expected {
                Expected::Absent => stored.is_none(),
                Expected::Version(version) => stored.is_some_and(|s| s.version == *version),
            };
            let unknown = rivals.iter().any(|rival| rival.told.is_err());
            match (was, unknown) {
                (true, true) => None,
                (true, false) => Some(fail(format!("of {count} writers at once nobody won"))),
                (false, _) => Some(fail("what is stored after a race is none of the writers'")),
            }
        }
    }
}
