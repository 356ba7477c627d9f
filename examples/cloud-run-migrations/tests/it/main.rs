//! Twenty instances start at once on one database, on good days and on bad ones.

mod fleet;

use fleet::{Fleet, Place};

const COUNT: usize = 20;

/// Every instance but these serves, is healthy, and sees prices that became cents once.
fn all_serve(fleet: &mut Fleet, but: Option<usize>) {
    for n in (0..COUNT).filter(|n| Some(*n) != but) {
        let health = fleet.get(n, "/healthz");
        assert!(health.starts_with("HTTP/1.1 200 "), "{n}: {health}");
        let page = fleet.get(n, "/");
        assert!(page.ends_with("\r\n\r\n3 orders, 200.00 EUR\n"), "{n}: {page}");
    }
}

fn who(fleet: &Fleet, beginning: &str) -> Vec<usize> {
    fleet.said(beginning).into_iter().map(|(n, _)| n).collect()
}

/// A release is rolled out: twenty instances start in the same second. One of them migrates, and none
/// serves before that. An instance that starts later finds it done; nobody waits for anybody.
#[test]
fn one_migrates_and_all_serve() {
    let place = Place::new();
    let mut fleet = place.start(COUNT, &[]);
    fleet.wait(COUNT, "serving on port ");
    all_serve(&mut fleet, None);
    let one = fleet.first("migrating: ");
    assert_eq!(who(&fleet, "migrating: attempt 1,"), [one]);
    assert_eq!(who(&fleet, "migrating: "), [one]);
    assert_eq!(who(&fleet, "applied "), [one, one, one]);
    assert_eq!(who(&fleet, "migrated before: done by ").len(), COUNT - 1);
    drop(fleet);

    let mut later = place.start(1, &[]);
    later.wait(1, "serving on port ");
    assert_eq!(who(&later, "migrated before: done by "), [0]);
    assert_eq!(who(&later, "migrating: "), [0; 0]);
}

/// The database is replaced by an empty one, and the lock's record still says that all is done. An
/// instance that starts then says so, instead of serving a database that it does not fit.
#[test]
fn a_database_that_lacks_what_was_done_is_not_served() {
    let place = Place::new();
    place.start(1, &[]).first("serving on port ");
    place.remove_database();
    let mut fleet = place.start(1, &[]);
    fleet.first("cloud-run-migrations: V1__orders is not in the database");
    assert!(fleet.ends().iter().all(|status| status.code() == Some(1)));
    assert_eq!(who(&fleet, "migrated before: done by "), [0]);
}

/// The instance that migrates is killed between the second migration and the third. Another one takes
/// over, knows that it is not the first, and applies the third alone.
#[test]
fn who_is_killed_half_way_is_succeeded() {
    let place = Place::new();
    let mut fleet = place.start(COUNT, &[("REHEARSE", "pause")]);
    let killed = fleet.first("pausing before V3");
    fleet.kill(killed);
    fleet.wait(COUNT - 1, "serving on port ");
    all_serve(&mut fleet, Some(killed));
    let heir = fleet.first("applied V3");
    assert_ne!(heir, killed);
    assert_eq!(who(&fleet, "migrating: "), [killed, heir]);
    assert_eq!(who(&fleet, "applied "), [killed, killed, heir]);
    assert_eq!(who(&fleet, "migrated before: done by ").len(), COUNT - 2);
}

/// The third migration fails twice, for any instance, and then works: the failures are counted over all
/// instances, and nothing that was applied is applied again.
#[test]
fn what_fails_twice_is_tried_a_third_time() {
    let place = Place::new();
    let mut fleet = place.start(COUNT, &[("REHEARSE", "fail")]);
    fleet.wait(COUNT, "serving on port ");
    all_serve(&mut fleet, None);
    for attempt in 1..=3 {
        assert_eq!(who(&fleet, &format!("migrating: attempt {attempt},")).len(), 1);
    }
    assert_eq!(who(&fleet, "migrating: ").len(), 3);
    for step in ["applied V1", "applied V2", "applied V3"] {
        assert_eq!(who(&fleet, step).len(), 1, "{step}");
    }
}

/// A migration that cannot work: three attempts over all instances, and then every instance says why it
/// does not serve, and ends. Cloud Run keeps the old release.
#[test]
fn what_cannot_work_is_given_up_by_all() {
    let place = Place::new();
    let mut fleet = place.start(COUNT, &[("REHEARSE", "broken")]);
    let why = "cloud-run-migrations: the migrations do not work: failed 3 times, last by ";
    for (_, line) in fleet.wait(COUNT, why) {
        assert!(line.ends_with(": V3__cents fails, as rehearsed"), "{line}");
    }
    assert!(fleet.ends().iter().all(|status| status.code() == Some(1)));
    assert_eq!(who(&fleet, "migrating: ").len(), 3);
    assert_eq!(who(&fleet, "serving on port "), [0; 0]);
}
