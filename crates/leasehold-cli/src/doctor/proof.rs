//! The proof, in order: what a lock needs of a store, each part tried with the contract's own requests.

use std::sync::Arc;
use std::time::Duration;

use leasehold::core::backend::{Expected, Key, Trouble, Version, Versioned};

use super::probe::{Landed, Probe, Stopped};
use super::race;
use super::report::{Finding, Report, fail, note, ok, warn};
use crate::times;

/// How many swaps are made, each read back, where nothing speaks against it.
const SWAPS: usize = 20;

/// The same where the store takes only a write now and then.
const SWAPS_LIMITED: usize = 3;

/// How long a change may take to be told.
const NEWS_PATIENCE: Duration = Duration::from_secs(5);

/// How old a state is made for a look at its age.
const AGING: Duration = Duration::from_millis(200);

/// The name that most of the proof is about, with what has been stored under it.
struct Subject {
    key: Key,
    newest: Landed,
    older: Vec<Version>,
}

impl Subject {
    /// Goes on from a newer state.
    fn goes_on(&mut self, newest: Landed) {
        let before = std::mem::replace(&mut self.newest, newest);
        self.older.push(before.version);
    }

    fn is_new(&self, version: &Version) -> bool {
        self.newest.version != *version && !self.older.contains(version)
    }
}

/// Makes every check, as long as the store answers. What it is convicted of does not stop the others.
pub(super) async fn prove(probe: &mut Probe, report: &mut Report) -> Result<(), Stopped> {
    let key = probe.name()?;
    report.add("read", unused(probe, &key).await)?;
    let created = probe.write(&key, &Expected::Absent).await;
    let newest = match created {
        Ok(Some(landed)) => {
            report.tell("create", ok("done where nothing was stored"));
            landed
        }
        Ok(None) => {
            report.tell("create", fail("refused, although nothing is stored"));
            return Ok(());
        }
        Err(stopped) => return report.add("create", Err(stopped)),
    };
    let mut subject = Subject { key, newest, older: vec![] };
    report.add("create again", create_again(probe, &mut subject).await)?;
    report.add("read back", read_back(probe, &subject).await)?;
    report.add("swap", swaps(probe, &mut subject).await)?;
    report.add("stale swap", stale_swap(probe, &mut subject).await)?;
    report.add("re-creation", recreation(probe, &mut subject).await)?;
    report.add("create race", race::creators(probe).await)?;
    report.add("swap race", race::swappers(probe).await)?;
    report.add("stale delete", stale_delete(probe, &mut subject).await)?;
    report.add("notification", notification(probe, &mut subject).await)?;
    report.add("clock", clock(probe, &subject).await)
}

/// A lock that nobody ever took is free, and the store says so.
async fn unused(probe: &mut Probe, key: &Key) -> Result<Finding, Stopped> {
    Ok(match probe.read(key).await? {
        None => ok("a name that nobody used is absent"),
        Some(_) => fail("a name that nobody used has a record"),
    })
}

/// Of two who find a lock free, the second must be told that it is too late.
async fn create_again(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    Ok(match probe.write(&subject.key, &Expected::Absent).await? {
        None => ok("refused"),
        Some(landed) => {
            subject.goes_on(landed);
            fail("done a second time over the first: two would hold one lock")
        }
    })
}

/// A write that was answered is seen by every read that begins later, as it was written.
async fn read_back(probe: &mut Probe, subject: &Subject) -> Result<Finding, Stopped> {
    let stored = probe.read(&subject.key).await?;
    Ok(match wrong(subject, stored.as_ref()) {
        None => ok(format!("exactly what was written, {} bytes", subject.newest.bytes.len())),
        Some(what) => fail(what),
    })
}

/// What is wrong with what a read shows.
fn wrong(subject: &Subject, stored: Option<&Versioned>) -> Option<String> {
    let newest = &subject.newest;
    match stored {
        _ if newest.is(stored) => None,
        None => Some("a read after a write shows nothing: it answers with what was".into()),
        Some(record) if subject.older.contains(&record.version) => {
            Some("a read after a write shows an older state: it answers with what was".into())
        }
        Some(record) if record.bytes == newest.bytes => {
            Some("a read shows another version than the write was told".into())
        }
        Some(_) => Some("a read after a write shows something that was not written".into()),
    }
}

/// Renewals: each write on the version of the one before lands, and is seen at once.
async fn swaps(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    let is_limited = !probe.backend.facts().least_write_interval.is_zero();
    let times = if is_limited { SWAPS_LIMITED } else { SWAPS };
    for n in 1..=times {
        let expected = Expected::Version(subject.newest.version.clone());
        let Some(landed) = probe.write(&subject.key, &expected).await? else {
            return Ok(fail(format!("swap {n} was refused, although nobody else writes")));
        };
        if !subject.is_new(&landed.version) {
            return Ok(fail("a version came back: one name for two states"));
        }
        subject.goes_on(landed);
        let stored = probe.read(&subject.key).await?;
        if let Some(what) = wrong(subject, stored.as_ref()) {
            return Ok(fail(format!("swap {n}: {what}")));
        }
    }
    Ok(ok(format!("{times} times on the version before, each read back at once")))
}

/// A holder that slept over its lease must not write over its heir.
async fn stale_swap(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    refuses_all_older(probe, subject, "a holder that was replaced would overwrite its heir").await
}

async fn refuses_all_older(
    probe: &mut Probe,
    subject: &mut Subject,
    consequence: &str,
) -> Result<Finding, Stopped> {
    // The first, the one before, and no more: a limited store is asked with care.
    let mut stale: Vec<Version> = subject.older.first().cloned().into_iter().collect();
    stale.extend(subject.older.last().filter(|last| !stale.contains(last)).cloned());
    for version in stale {
        if let Some(landed) = probe.write(&subject.key, &Expected::Version(version)).await? {
            subject.goes_on(landed);
            return Ok(fail(format!("a stale version was accepted: {consequence}")));
        }
    }
    let stored = probe.read(&subject.key).await?;
    Ok(match wrong(subject, stored.as_ref()) {
        None => ok("a stale version is refused"),
        Some(_) => fail("a stale version was refused, and is stored all the same"),
    })
}

/// Somebody deletes a record and another lock of the name begins: nothing of before may touch it.
async fn recreation(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    let newest = subject.newest.version.clone();
    match probe.delete(&subject.key, &newest).await {
        Ok(true) => {}
        Ok(false) => return Ok(warn("not tried: the store deletes nothing")),
        // Locks need no right to delete.
        Err(e) if e.trouble == Trouble::Denied => {
            return Ok(warn(format!("not tried: {}", e.message)));
        }
        Err(stopped) => return Err(stopped),
    }
    if probe.read(&subject.key).await?.is_some() {
        return Ok(fail("a read after a deletion shows what was deleted"));
    }
    if let Some(landed) = probe.write(&subject.key, &Expected::Version(newest)).await? {
        subject.goes_on(landed);
        return Ok(fail("a version was accepted after its state was deleted"));
    }
    let Some(landed) = probe.write(&subject.key, &Expected::Absent).await? else {
        return Ok(fail("a name that was deleted cannot be created again"));
    };
    if !subject.is_new(&landed.version) {
        return Ok(fail("a version came back after deletion: one name for two states"));
    }
    subject.goes_on(landed);
    let finding = refuses_all_older(probe, subject, "it comes from before the deletion").await?;
    Ok(match finding.mark {
        super::report::Mark::Ok => ok("versions from before a deletion are refused"),
        _ => finding,
    })
}

/// Tools delete; the protocol does not. So a store without conditions on deletion is only told of.
async fn stale_delete(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    let Some(stale) = subject.older.last().cloned() else {
        return Ok(note("not tried: there is no older version"));
    };
    let deleted = match probe.delete(&subject.key, &stale).await {
        Err(e) if e.trouble == Trouble::Denied => {
            return Ok(warn(format!("not tried: {}", e.message)));
        }
        deleted => deleted?,
    };
    let stored = probe.read(&subject.key).await?;
    Ok(match (deleted, stored) {
        (false, Some(_)) => ok("does nothing"),
        _ => warn("ignores the version: deletes what is newer; locks never delete"),
    })
}

/// Waiters are woken, or look for themselves.
async fn notification(probe: &mut Probe, subject: &mut Subject) -> Result<Finding, Stopped> {
    let facts = probe.backend.facts();
    let least = times::exact(facts.least_poll);
    if !facts.notifies {
        return Ok(note(format!("none: a waiter looks every {least} at first, then more rarely")));
    }
    let stored = probe.read(&subject.key).await?;
    let since = super::probe::state(stored.as_ref());
    let (backend, key, from) = (Arc::clone(&probe.backend), subject.key.clone(), since.clone());
    let mut heard = tokio::spawn(async move { backend.changed(&key, &from).await });
    let before = probe.env.now().moment;
    if let Some(landed) = probe.write(&subject.key, &since).await? {
        subject.goes_on(landed);
    }
    let told = tokio::select! {
        biased;
        told = &mut heard => told.is_ok(),
        () = probe.env.sleep(NEWS_PATIENCE) => false,
    };
    heard.abort();
    let after = probe.env.now().moment.longest_since(before);
    Ok(match told {
        true => ok(format!("a waiter heard of a change {} after it began", times::exact(after))),
        false => warn(format!("promised, and none came; a waiter looks every {least} or so")),
    })
}

/// The store's clock, which lets waiters take over from the dead sooner, and must not from the living.
async fn clock(probe: &mut Probe, subject: &Subject) -> Result<Finding, Stopped> {
    if !probe.figures.ages.is_empty() {
        // An age in wrong units or of a wrong moment shows only when some time has passed.
        probe.env.sleep(AGING).await;
        probe.read(&subject.key).await?;
    }
    Ok(probe.figures.judge_clock(probe.backend.facts().clock_uncertainty))
}
