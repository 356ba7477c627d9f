//! The fake without a fault: the store that Google documents.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::spanner::v1::mutation::Operation;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    CommitRequest, CommitResponse, ExecuteSqlRequest, Mutation, ReadRequest, ResultSet,
    commit_request,
};
use leasehold_servers::spanner::{Code, When};
use prost_types::Timestamp;

use super::client::{
    Client, Connection, SPANNER, delete, does, insert, key, list, range, update, write,
};
use super::fake;

/// What a lock writes: the row of its name and version goes, the next one comes, with the commit's time.
fn step(version: i64, record: &str) -> Vec<Mutation> {
    let columns = ["name", "version", "record", "written"];
    let next = (version + 1).to_string();
    let values = ["x", &next, record, "spanner.commit_timestamp()"];
    vec![
        update("x", version),
        delete(key("x", version)),
        does(Operation::Insert(write(&columns, &values))),
    ]
}

fn seconds(time: Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

/// A row's whole life: made, stepped on, refused to who is behind. What a refused commit had changed before
/// it was refused is undone; the row has the time of its commit; and times rise, of reads too.
#[test]
fn a_commit_is_all_or_nothing() {
    let (fake, mut client) = fake();
    let first = client.commit(vec![insert("x", 0), insert("x", 1)]).expect("nothing was there");
    let second = client.commit(step(1, "AAEC")).expect("version 1 is there");
    assert!(seconds(first) < seconds(second), "{first} {second}");

    let read = |client: &mut Client| {
        let columns = ["version", "record", "written"];
        client.read("t", &columns, range("x 1", "x")).expect("it can be read")
    };
    let (rows, at) = read(&mut client);
    assert_eq!(rows, [format!("2 AAEC {second}")]);
    assert!(seconds(at) >= seconds(second), "{at} {second}");

    let before = client.all();
    let behind = [vec![insert("a", 9), delete(range("x", "x"))], step(1, "AAEC")].concat();
    let behind = client.commit(behind).expect_err("version 1 is gone");
    assert_eq!(behind.code, Code::NotFound);
    let again = client.commit(vec![delete(key("x", 2)), insert("x", 0)]).expect_err("0 is there");
    assert_eq!(again.code, Code::AlreadyExists);
    assert_eq!(client.all(), before);
    assert_eq!(read(&mut client).0, rows);
    assert!(fake.seen().iter().all(|seen| seen.outcome == seen.status && seen.outcome.is_some()));
    assert_eq!(fake.count("Commit"), 4);
}

/// Sixteen clients take the same step at once, round after round. Each time one wins, and what is stored is
/// the winner's: a check apart from its write would have two winners some day.
#[test]
fn a_race_has_one_winner() {
    let (fake, mut client) = fake();
    client.commit(vec![insert("x", 1)]).expect("nothing was there");
    let records = ["AAAA", "BBBB", "CCCC", "DDDD", "EEEE", "FFFF", "GGGG", "HHHH"];
    let mut times = BTreeSet::new();
    for version in 1..20 {
        let race = |record: &'static str| {
            let (address, session) = (fake.address(), client.session.clone());
            let run = move || {
                let mut client = Client { connection: Connection::to(address), session };
                (record, client.commit(step(version, record)))
            };
            thread::Builder::new().spawn(run).expect("a thread")
        };
        let racers: Vec<_> = records.into_iter().map(race).collect();
        let replies: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        let winners: Vec<_> = replies.iter().filter(|(_, reply)| reply.is_ok()).collect();
        let [(winner, Ok(time))] = winners.as_slice() else { panic!("winners: {winners:?}") };
        let losers = replies.iter().filter_map(|(_, reply)| reply.as_ref().err());
        assert!(losers.into_iter().all(|refusal| refusal.code == Code::NotFound));
        let stored = client.read("t", &["record"], range("x", "x")).expect("it can be read").0;
        assert_eq!(stored, [*winner]);
        assert!(times.insert(seconds(*time)) && times.last() == Some(&seconds(*time)));
    }
}

/// The server's clock is put forward: a row that was just written is that old.
#[test]
fn the_clock_is_the_servers() {
    let (fake, mut client) = fake();
    let written = client.commit(vec![insert("x", 1)]).expect("nothing was there");
    fake.advance_clock(Duration::from_hours(1));
    let (_, at) = client.read("t", &["name"], key("x", 1)).expect("it can be read");
    assert!(seconds(at) - seconds(written) >= 3_600_000_000_000, "{written} {at}");
    let later = client.commit(vec![insert("x", 2)]).expect("nothing was there");
    assert!(seconds(later) >= seconds(at), "{at} {later}");
}

/// Spanner forgets a session: whoever goes on with it is told so in a way that cannot be taken for a row that
/// is missing, and a new one works.
#[test]
fn a_session_is_forgotten() {
    let (fake, mut client) = fake();
    fake.drop_sessions();
    let refusal = client.commit(vec![insert("x", 1)]).expect_err("the session is gone");
    assert_eq!(refusal.code, Code::NotFound);
    assert!(refusal.message.starts_with("Session not found: projects/p/"), "{refusal:?}");
    assert!(refusal.details[0].type_url.ends_with("/google.rpc.ResourceInfo"), "{refusal:?}");
    let mut client = Client::of(fake.address(), "projects/p/instances/i/databases/d");
    client.commit(vec![insert("x", 1)]).expect("nothing was there");
    let seen = fake.seen();
    let whens: Vec<_> = seen.iter().map(|seen| seen.when).collect();
    assert_eq!(whens, [When::Session, When::Commit, When::Session, When::Commit]);
    assert!(seen.iter().all(|seen| seen.resource == "projects/p/instances/i/databases/d"));
}

/// What the fake does not have it says: a test that relies on it must fail, and not pass by luck.
#[test]
fn what_is_not_there_is_refused() {
    let (_fake, mut client) = fake();
    let sql = ExecuteSqlRequest { session: client.session.clone(), ..Default::default() };
    let asked = client.connection.one::<ResultSet>(SPANNER, "ExecuteSql", &sql);
    assert_eq!(asked.expect_err("there is no SQL").code, Code::Unimplemented);
    let id = Some(commit_request::Transaction::TransactionId(vec![1]));
    let commit =
        CommitRequest { session: client.session.clone(), transaction: id, ..Default::default() };
    let asked = client.connection.one::<CommitResponse>(SPANNER, "Commit", &commit);
    assert_eq!(asked.expect_err("no transaction was begun").code, Code::Unimplemented);
    let without = CommitRequest { session: client.session.clone(), ..Default::default() };
    let asked = client.connection.one::<CommitResponse>(SPANNER, "Commit", &without);
    assert_eq!(asked.expect_err("no transaction").code, Code::InvalidArgument);
    let read = ReadRequest {
        session: client.session.clone(),
        table: "t".into(),
        columns: vec!["name".into()],
        ..Default::default()
    };
    let asked = client.connection.call::<ResultSet>(SPANNER, "StreamingRead", &read);
    assert_eq!(asked.expect_err("no keys").code, Code::InvalidArgument);
    // A wrong number of parts is no prefix.
    let mut keys = key("x", 1);
    keys.keys = vec![list(&["x", "1", "2"])];
    let asked = client.read("t", &["name"], keys).expect_err("the key has two parts");
    assert_eq!(asked.code, Code::FailedPrecondition);
}
