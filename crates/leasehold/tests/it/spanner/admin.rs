//! A database and its table are made, looked at, and asked for one's rights.

use leasehold_core::admin::{Step, StepState};
use leasehold_core::backend::{BackendError, Trouble};
use leasehold_servers::spanner::{Code, Fake, When};

use super::faults::{DATABASE, acquire, answer, client, script};
use super::{TABLE, open};

async fn init(server: &Fake, dry_run: bool) -> Result<Vec<Step>, BackendError> {
    let backend = open(&server.url(DATABASE));
    backend.admin().expect("a database can be made").init(dry_run).await
}

/// A database that is not there is planned, made once with its table, and then found as it should be: a lock
/// can be held in it at once. Where only the table is lacking, only that is made.
#[tokio::test]
async fn a_database_is_made_once() {
    let [fresh, empty] = [Fake::start(), Fake::start()];
    fresh.make_instance("acme/main");
    empty.make_database(DATABASE, &["CREATE TABLE t (a INT64) PRIMARY KEY (a)"]);
    for server in [fresh, empty] {
        let before = server.statements(DATABASE);
        let planned = init(&server, true).await.expect("a plan");
        assert_eq!(server.statements(DATABASE), before, "to plan is not to make");
        let all = planned.iter().map(|step| step.what.as_str()).collect::<Vec<_>>().join("; ");
        assert!(all.contains("CREATE TABLE leasehold ("), "it is told in full: {all}");
        let last = planned.last().map(|step| &step.state);
        assert_eq!(last, Some(&StepState::Planned), "{planned:?}");
        let made = init(&server, false).await.expect("made");
        let last = made.last().map(|step| &step.state);
        assert_eq!((made.len(), last), (planned.len(), Some(&StepState::Made)), "{made:?}");
        let statements = server.statements(DATABASE).expect("a database");
        assert_eq!(statements.len(), before.map_or(0, |b| b.len()) + 1);
        let found = init(&server, false).await.expect("found");
        assert!(found.iter().all(|step| step.state == StepState::Found), "{found:?}");
        acquire(&client(&server).await).await.release().await.expect("released");
    }
}

/// On a server in clear, which is an emulator, an instance costs nothing and is made too.
#[tokio::test]
async fn an_emulator_gets_its_instance() {
    let server = Fake::start();
    let planned = init(&server, true).await.expect("a plan");
    assert!(planned[0].what.contains("instance main"), "{planned:?}");
    let made = init(&server, false).await.expect("made");
    assert!(made.iter().all(|step| step.state == StepState::Made), "{made:?}");
    acquire(&client(&server).await).await.release().await.expect("released");
}

/// What in a table breaks locks is told, with what mends it.
#[tokio::test]
async fn a_table_that_breaks_locks_is_told() {
    let policy = format!("{TABLE}, ROW DELETION POLICY (OLDER_THAN(written, INTERVAL 30 DAY))");
    let other = TABLE.replace("version INT64", "version STRING(9)");
    let small = TABLE.replace("STRING(256)", "STRING(16)");
    let more = TABLE.replace("(name STRING", "(owner STRING(9) NOT NULL, name STRING");
    for (table, word) in [
        (policy.as_str(), "DROP ROW DELETION POLICY"),
        (&other, "?table=NAME"),
        (&small, "name is string ( 16 )"),
        (&more, "owner is a further column"),
    ] {
        let server = Fake::start();
        server.make_database(DATABASE, &[table]);
        let steps = init(&server, false).await.expect("it is there");
        let wrong: Vec<_> = steps
            .iter()
            .filter_map(|step| match &step.state {
                StepState::Wrong(why) => Some(why),
                _ => None,
            })
            .collect();
        assert!(wrong.len() == 1 && wrong[0].contains(word), "{table}: {steps:?}");
    }
}

/// Whoever may not look or make learns which role it takes.
#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let server = Fake::start();
    script(&server, When::Admin, Some(1), answer(Code::PermissionDenied, false));
    let error = init(&server, false).await.expect_err("denied");
    assert_eq!(error.trouble, Trouble::Denied);
    assert!(error.message.contains("roles/spanner.databaseAdmin"), "{error}");
    assert_eq!(server.statements(DATABASE), None);
}

/// Which rights one has; an emulator that does not know the question says nothing of any.
#[tokio::test]
async fn rights_are_told() {
    let server = Fake::start();
    server.make_database(DATABASE, &[TABLE]);
    let backend = open(&server.url(DATABASE));
    let admin = backend.admin().expect("rights");
    server.allow(Some(vec!["spanner.databases.read".into()]));
    for right in admin.rights().await.expect("an answer") {
        assert_eq!(right.is_held, Some(right.name == "spanner.databases.read"), "{right:?}");
    }
    script(&server, When::Admin, Some(1), answer(Code::Unimplemented, false));
    let rights = admin.rights().await.expect("an answer");
    assert!(rights.len() >= 3 && rights.iter().all(|right| right.is_held.is_none()), "{rights:?}");
    let error = open(&server.url("acme/main/lokcs")).admin().expect("rights").rights().await;
    assert_eq!(error.expect_err("no database").trouble, Trouble::Invalid);
}
