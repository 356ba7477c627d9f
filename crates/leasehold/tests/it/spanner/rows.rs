//! The rows of a name, and the schedules that would break it with fewer: on our server and on Google's
//! emulator, as bare commits and through the backend.

use std::sync::Arc;

use googleapis_tonic_google_spanner_v1::google::spanner::v1 as proto;
use leasehold_core::backend::{Backend, Expected, Key, Trouble, Version, Written};
use leasehold_servers::spanner::{Code, Fake, outside};
use prost_types::value::Kind;
use prost_types::{ListValue, Value};
use proto::mutation::Operation;
use proto::spanner_client::SpannerClient;
use proto::transaction_options::{Mode, ReadWrite};
use tonic::transport::Channel;

use super::{Patient, make, open};

/// A server with a table, as a backend sees it and as anybody with the right to write may.
struct Server {
    url: String,
    backend: Arc<dyn Backend>,
    client: SpannerClient<Channel>,
    session: String,
    _fake: Option<Fake>,
}

fn key() -> Key {
    Key::new("x").expect("a name")
}

fn list<const N: usize>(values: [&str; N]) -> ListValue {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    ListValue { values: values.map(value).into() }
}

/// Inserts a row of the name `x`.
fn insert(version: i64) -> Operation {
    let row = list(["x", &version.to_string(), "e30=", "spanner.commit_timestamp()"]);
    let columns = ["name", "version", "record", "written"].map(str::to_owned).into();
    Operation::Insert(proto::mutation::Write {
        table: "leasehold".into(),
        columns,
        values: vec![row],
    })
}

/// Sets the record of a row of the name `x`, which must be there.
fn update(version: i64) -> Operation {
    let columns = ["name", "version", "record"].map(str::to_owned).into();
    let values = vec![list(["x", &version.to_string(), ""])];
    Operation::Update(proto::mutation::Write { table: "leasehold".into(), columns, values })
}

/// Deletes a row of the name `x`, if it is there.
fn delete(version: i64) -> Operation {
    let keys = vec![list(["x", &version.to_string()])];
    let key_set = Some(proto::KeySet { keys, ..proto::KeySet::default() });
    Operation::Delete(proto::mutation::Delete { table: "leasehold".into(), key_set })
}

/// The whole swap from one version to the next.
fn swap(version: i64) -> Vec<Operation> {
    vec![update(version), delete(version), insert(version + 1)]
}

impl Server {
    async fn connect(endpoint: String, instance: &str, fake: Option<Fake>) -> Server {
        let url = format!("spanner://acme/{instance}/rows?endpoint={endpoint}");
        make(&url).await;
        let channel = Channel::from_shared(endpoint).expect("an address").connect().await;
        let mut client = SpannerClient::new(channel.expect("a connection"));
        let database = format!("projects/acme/instances/{instance}/databases/rows");
        let create = proto::CreateSessionRequest { database, session: None };
        let session = client.create_session(create).await.expect("a session").into_inner().name;
        let rest = url.strip_prefix("spanner://").expect("a URL of ours").to_owned();
        let backend = leasehold::backend::spanner::SpannerBackend::open(&rest).expect("a backend");
        let backend = Arc::new(Patient::new(backend));
        Server { url, backend, client, session, _fake: fake }
    }

    async fn commit(&mut self, operations: Vec<Operation>) -> Result<(), Code> {
        let mode = Mode::ReadWrite(ReadWrite::default());
        let options = proto::TransactionOptions { mode: Some(mode), ..Default::default() };
        let wrap = |operation| proto::Mutation { operation: Some(operation) };
        let request = proto::CommitRequest {
            session: self.session.clone(),
            mutations: operations.into_iter().map(wrap).collect(),
            transaction: Some(proto::commit_request::Transaction::SingleUseTransaction(options)),
            ..proto::CommitRequest::default()
        };
        self.client.commit(request).await.map(drop).map_err(|status| status.code())
    }

    async fn write(&self, expected: &Expected, bytes: &[u8]) -> Written {
        self.backend.write(&key(), expected, bytes).await.expect("an answer")
    }

    /// The version of the record, or what is wrong with the rows.
    async fn read(&self) -> Result<Option<Version>, String> {
        match self.backend.read(&key()).await {
            Ok(reading) => Ok(reading.record.map(|record| record.version)),
            Err(error) if error.trouble == Trouble::Corrupt => Err(error.message),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Our server, and Google's emulator where there is one: where there is none, the kit says so.
async fn servers(test: &str) -> Vec<Server> {
    let fake = Fake::start();
    let mut servers = vec![Server::connect(fake.endpoint(), "rows", Some(fake)).await];
    if let Ok(endpoint) = outside() {
        // It has at most a hundred databases in one instance.
        let instance = format!("{test}-{}", std::process::id());
        servers.push(Server::connect(endpoint, &instance, None).await);
    }
    servers
}

fn applied(written: Written) -> Version {
    let Written::Applied(version) = written else { panic!("{written:?}") };
    version
}

fn number(version: &Version) -> i64 {
    version.as_str().parse().expect("a number")
}

/// Two clients see that nothing is stored. One creates and moves on; the other's create comes late. Without
/// the row of version 0 it lands beside: two newest rows, two holders. The backend says so rather than
/// choosing one.
#[tokio::test]
async fn without_the_row_of_version_0_a_late_create_lands_beside() {
    for mut server in servers("beside").await {
        server.commit(vec![insert(1)]).await.expect("created");
        server.commit(swap(1)).await.expect("renewed");
        server.commit(vec![insert(1)]).await.expect("late, and it lands");
        let wrong = server.read().await.expect_err("two rows");
        assert!(wrong.contains("2 rows") && wrong.contains("DELETE FROM leasehold"), "{wrong}");
    }
}

/// The same schedule with it: the late create is refused, however far the record has moved on.
#[tokio::test]
async fn with_the_row_of_version_0_a_late_create_is_refused() {
    for mut server in servers("refused").await {
        server.commit(vec![insert(0), insert(1)]).await.expect("created");
        server.commit(swap(1)).await.expect("renewed");
        let late = server.commit(vec![insert(0), insert(1)]).await;
        assert_eq!(late, Err(Code::AlreadyExists));
        assert_eq!(server.read().await, Ok(Some(Version::new("2"))));
    }
}

/// The same through the backend: two handles see nothing, one creates and moves on, and the other's create
/// is a conflict that shows who won.
#[tokio::test]
async fn a_late_create_of_the_backend_is_refused() {
    for server in servers("late").await {
        let late = open(&server.url);
        assert_eq!(late.read(&key()).await.expect("an answer").record, None);
        let one = applied(server.write(&Expected::Absent, b"1").await);
        let two = applied(server.write(&Expected::Version(one), b"2").await);
        let written = late.write(&key(), &Expected::Absent, b"late").await.expect("an answer");
        let Written::Conflict(Some(winner)) = written else { panic!("{written:?}") };
        assert_eq!((winner.bytes.as_slice(), &winner.version), (&b"2"[..], &two));
        assert_eq!(server.read().await, Ok(Some(two)));
    }
}

/// A stale swap fails whole: neither the row that it wanted to delete nor the one that it wanted to insert
/// shows anything of it. Its update is what fails: a delete of a row that is gone would succeed.
#[tokio::test]
async fn a_stale_swap_changes_nothing() {
    for mut server in servers("stale").await {
        server.commit(vec![insert(0), insert(1)]).await.expect("created");
        server.commit(swap(1)).await.expect("swapped");
        server.commit(swap(2)).await.expect("swapped");
        assert_eq!(server.commit(swap(1)).await, Err(Code::NotFound));
        assert_eq!(server.read().await, Ok(Some(Version::new("3"))));
        server.commit(vec![delete(1), insert(2)]).await.expect("without the update it lands");
        server.read().await.expect_err("two rows");
    }
}

/// A record is deleted and made again. Its versions go on where they were, and a create that somebody has
/// in hand since before the deletion, with a token of then, is refused: an error, because nothing is stored
/// that a conflict could be with.
#[tokio::test]
async fn a_create_from_before_a_deletion_is_refused() {
    for server in servers("deleted").await {
        let late = open(&server.url);
        assert_eq!(late.read(&key()).await.expect("an answer").record, None);
        let one = applied(server.write(&Expected::Absent, b"1").await);
        assert!(server.backend.delete(&key(), &one).await.expect("an answer"));
        assert_eq!(server.read().await, Ok(None));
        late.write(&key(), &Expected::Absent, b"late").await.expect_err("not that absence");
        assert_eq!(server.read().await, Ok(None), "it did not land");
        let two = applied(server.write(&Expected::Absent, b"2").await);
        assert!(number(&two) > number(&one) + 1, "{two:?} after {one:?}");
        for stale in [one.clone(), Version::new((number(&one) + 1).to_string())] {
            let refused = server.write(&Expected::Version(stale), b"stale").await;
            assert_eq!(refused, Written::Conflict(None));
        }
        // Whoever has looked since may create.
        assert!(server.backend.delete(&key(), &two).await.expect("an answer"));
        assert_eq!(late.read(&key()).await.expect("an answer").record, None);
        applied(late.write(&key(), &Expected::Absent, b"3").await.expect("an answer"));
    }
}

/// Somebody deletes all rows of a name by SQL. The next record begins at a later version than any before it,
/// so that what was conditioned on the old one stays refused.
#[tokio::test]
async fn versions_do_not_come_back_after_all_rows_are_deleted() {
    for mut server in servers("sql").await {
        let mut version = applied(server.write(&Expected::Absent, b"1").await);
        let first = version.clone();
        for _ in 0..3 {
            version = applied(server.write(&Expected::Version(version), b"2").await);
        }
        server.commit(vec![delete(0), delete(number(&version))]).await.expect("deleted");
        assert_eq!(server.read().await, Ok(None));
        let again = applied(server.write(&Expected::Absent, b"3").await);
        assert!(number(&again) > number(&version), "{again:?} after {version:?}");
        for stale in [first, version] {
            let refused = server.write(&Expected::Version(stale), b"stale").await;
            assert_eq!(refused, Written::Conflict(None));
        }
    }
}

/// Somebody deletes some rows of a name: a row deletion policy does. It is told what to do, and nothing is
/// taken for a free lock.
#[tokio::test]
async fn half_of_the_rows_is_corrupt() {
    for mut server in servers("half").await {
        let version = applied(server.write(&Expected::Absent, b"1").await);
        server.commit(vec![delete(0)]).await.expect("deleted");
        let wrong = server.read().await.expect_err("no row of version 0");
        assert!(wrong.contains("version 0 is gone") && wrong.contains("policy"), "{wrong}");
        server.commit(vec![insert(0), delete(number(&version))]).await.expect("deleted");
        let wrong = server.read().await.expect_err("no record");
        assert!(wrong.contains("only the row of version 0"), "{wrong}");
    }
}
