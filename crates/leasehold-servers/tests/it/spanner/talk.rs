//! A conversation about everything that the backend asks for, and some things that it must not.

use std::net::SocketAddr;

use googleapis_tonic_google_spanner_admin_database_v1::google::longrunning::{
    GetOperationRequest, Operation, operation,
};
use googleapis_tonic_google_spanner_admin_database_v1::google::spanner::admin::database::v1::{
    CreateDatabaseRequest, Database, GetDatabaseDdlRequest, GetDatabaseDdlResponse,
    GetDatabaseRequest, UpdateDatabaseDdlRequest,
};
use googleapis_tonic_google_spanner_admin_instance_v1::google::spanner::admin::instance::v1::{
    CreateInstanceRequest, GetInstanceRequest, Instance,
};
use googleapis_tonic_google_spanner_v1::google::spanner::v1::mutation::Operation as Change;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, KeySet, Mutation, Session,
};

use super::client::{
    Answer, Client, Connection, SPANNER, TABLE, delete, does, insert, key, list, range, update,
    write,
};

const DATABASES: &str = "google.spanner.admin.database.v1.DatabaseAdmin";
const INSTANCES: &str = "google.spanner.admin.instance.v1.InstanceAdmin";
const OPERATIONS: &str = "google.longrunning.Operations";

/// Asks what the list has, and puts each answer into words.
pub(super) fn converse(address: SocketAddr) -> Vec<(&'static str, String)> {
    let id = format!("i-{}", std::process::id());
    let mut talk = Talk { connection: Connection::to(address), said: vec![], id: id.clone() };
    let instance = format!("projects/p/instances/{id}");
    let database = format!("{instance}/databases/dd");
    talk.make(&instance, &database);
    talk.sessions(&database);
    let mut client = Client::of(address, &database);
    talk.changes(&mut client);
    talk.ranges(&mut client);
    talk.refusals(&mut client);
    talk.said
}

struct Talk {
    connection: Connection,
    said: Vec<(&'static str, String)>,
    /// Of the instance: a new one each time.
    id: String,
}

impl Talk {
    /// Takes note of what was said.
    fn hear<T>(&mut self, asked: &'static str, answer: &Answer<T>, words: fn(&T) -> String) {
        let said = match answer {
            Ok(answer) => words(answer),
            Err(refusal) => {
                let kinds = refusal.details.iter();
                let kinds = kinds.filter_map(|any| any.type_url.rsplit('.').next());
                let kinds: Vec<String> = kinds.map(|kind| [" +", kind].concat()).collect();
                // The first sentence says it; each server goes on in its own way.
                let ends = [". ", " : ", ", ", " because ", " does not", "\n", ": CREATE"]
                    .map(|end| refusal.message.find(end));
                let end = ends.into_iter().flatten().min().unwrap_or(refusal.message.len());
                let message = refusal.message[..end].trim_end_matches('.');
                format!("{:?}: {message}{}", refusal.code, kinds.concat())
            }
        };
        let said = said.replace(&self.id, "ID").replace("projects/p/instances/", "../");
        self.said.push((asked, said));
    }

    fn make(&mut self, instance: &str, database: &str) {
        let to_get = GetInstanceRequest { name: instance.to_owned(), field_mask: None };
        let got = self.connection.one(INSTANCES, "GetInstance", &to_get);
        self.hear("get no instance", &got, |_: &Instance| "ok".into());
        let to_create = CreateDatabaseRequest {
            parent: instance.to_owned(),
            create_statement: "CREATE DATABASE `dd`".into(),
            ..CreateDatabaseRequest::default()
        };
        let made = self.connection.one(DATABASES, "CreateDatabase", &to_create);
        self.hear("create a database in no instance", &made, shown);
        let to_make = CreateInstanceRequest {
            parent: "projects/p".into(),
            instance_id: self.id.clone(),
            instance: Some(Instance {
                config: "projects/p/instanceConfigs/emulator-config".into(),
                display_name: "test".into(),
                node_count: 1,
                ..Instance::default()
            }),
        };
        for asked in ["create an instance", "create it again"] {
            let made = self.connection.one(INSTANCES, "CreateInstance", &to_make);
            self.hear(asked, &made, shown);
            self.end("the instance, in the end", made);
        }
        let to_get_ddl = GetDatabaseDdlRequest { database: database.to_owned() };
        let ddl = self.connection.one(DATABASES, "GetDatabaseDdl", &to_get_ddl);
        self.hear("ask for the tables of no database", &ddl, statements);
        for asked in ["create a database", "create that again"] {
            let made = self.connection.one(DATABASES, "CreateDatabase", &to_create);
            self.hear(asked, &made, shown);
            self.end("the database, in the end", made);
        }
        let to_get = GetDatabaseRequest { name: database.to_owned() };
        let got = self.connection.one(DATABASES, "GetDatabase", &to_get);
        self.hear("get the database", &got, |it: &Database| format!("state {}", it.state));
        self.tables(database, &to_get_ddl);
    }

    fn tables(&mut self, database: &str, to_get_ddl: &GetDatabaseDdlRequest) {
        for (asked, statement) in [
            ("create a table", TABLE),
            ("create that table again", TABLE),
            ("create what is no table", "CREATE TABLE u (n STRONG(1)) PRIMARY KEY (n)"),
            (
                "delete old rows",
                "ALTER TABLE t ADD ROW DELETION POLICY (OLDER_THAN(written, INTERVAL 9 DAY))",
            ),
            ("drop no table", "DROP TABLE u"),
        ] {
            let to_change = UpdateDatabaseDdlRequest {
                database: database.to_owned(),
                statements: vec![statement.to_owned()],
                ..UpdateDatabaseDdlRequest::default()
            };
            let made = self.connection.one(DATABASES, "UpdateDatabaseDdl", &to_change);
            self.hear(asked, &made, shown);
            self.end("the change, in the end", made);
        }
        let ddl = self.connection.one(DATABASES, "GetDatabaseDdl", to_get_ddl);
        self.hear("ask for the tables", &ddl, statements);
    }

    /// Waits for an operation that was begun.
    fn end(&mut self, asked: &'static str, begun: Answer<Operation>) {
        let Ok(mut operation) = begun else { return };
        while !operation.done {
            let name = operation.name.clone();
            let got =
                self.connection.one(OPERATIONS, "GetOperation", &GetOperationRequest { name });
            operation = got.expect("what was begun is known");
        }
        self.hear(asked, &Ok(operation), shown);
    }

    fn sessions(&mut self, database: &str) {
        for (asked, database) in [
            ("make a session", database),
            ("make a session in nothing", "projects/p/instances/i/databases/d"),
        ] {
            let session = Some(Session { multiplexed: true, ..Session::default() });
            let to_make = CreateSessionRequest { database: database.to_owned(), session };
            let made = self.connection.one(SPANNER, "CreateSession", &to_make);
            self.hear(asked, &made, |it: &Session| format!("multiplexed {}", it.multiplexed));
            if let Ok(Session { name, .. }) = made {
                let to_get = GetSessionRequest { name: name.clone() };
                let got = self.connection.one(SPANNER, "GetSession", &to_get);
                self.hear("get it", &got, |it: &Session| format!("multiplexed {}", it.multiplexed));
                let to_delete = DeleteSessionRequest { name };
                let deleted = self.connection.one(SPANNER, "DeleteSession", &to_delete);
                self.hear("delete it", &deleted, |()| "deleted".into());
            }
        }
        let to_get = GetSessionRequest { name: format!("{database}/sessions/x") };
        let got = self.connection.one(SPANNER, "GetSession", &to_get);
        self.hear("get another", &got, |it: &Session| format!("multiplexed {}", it.multiplexed));
    }

    fn commit(&mut self, asked: &'static str, client: &mut Client, changes: Vec<Mutation>) {
        let committed = client.commit(changes);
        self.hear(asked, &committed, |_| "done".into());
    }

    fn changes(&mut self, client: &mut Client) {
        self.commit("insert", client, vec![insert("a", 0), insert("a", 1)]);
        self.commit("insert again", client, vec![insert("b", 1), insert("a", 1)]);
        self.commit("update what is not there", client, vec![insert("b", 1), update("a", 7)]);
        let next = |from| vec![update("a", from), delete(key("a", from)), insert("a", from + 1)];
        self.commit("take the next step", client, next(1));
        self.commit("take it again", client, next(1));
        let twice = vec![delete(key("a", 2)), insert("a", 2), update("a", 2)];
        self.commit("delete, insert and update one", client, twice);
        self.commit("delete what is not there", client, vec![delete(key("z", 2))]);
        let replace = |version| {
            does(Change::Replace(write(&["name", "version", "record"], &["r", version, "AAEC"])))
        };
        let upsert =
            |version| does(Change::InsertOrUpdate(write(&["name", "version"], &["r", version])));
        self.commit("replace and overwrite", client, vec![replace("1"), upsert("1"), upsert("2")]);
        let rows = client.read(
            "t",
            &["name", "version", "record"],
            KeySet { all: true, ..KeySet::default() },
        );
        self.hear("read all", &rows, |(rows, _)| rows.join(", "));
    }

    fn ranges(&mut self, client: &mut Client) {
        let rows = vec![insert("m", 1), insert("m", 2), insert("mm", -1), insert("n", 3)];
        self.commit("insert more", client, rows);
        for (asked, keys) in [
            ("read [m, m]", range("m", "m")),
            ("read (m, n]", range("(m", "n")),
            ("read [m, n)", range("m", "(n")),
            ("read [m 2, n)", range("m 2", "(n")),
            ("read (m 1, mm -1]", range("(m 1", "mm -1")),
            ("read [n, m]", range("n", "m")),
        ] {
            let rows = client.read("t", &["version", "name"], keys);
            self.hear(asked, &rows, |(rows, _)| rows.join(", "));
        }
        self.commit("delete [m, n)", client, vec![delete(range("m", "(n"))]);
        let left = client.read("t", &["name"], range("m", "z"));
        self.hear("read what is left", &left, |(rows, _)| rows.join(", "));
    }

    fn refusals(&mut self, client: &mut Client) {
        let insert =
            |columns: &[&str], values: &[&str]| vec![does(Change::Insert(write(columns, values)))];
        let with = |column: &'static str, value: &str| {
            insert(&["name", "version", column], &["x", "1", value])
        };
        for (asked, mutations) in [
            ("half a key", insert(&["name"], &["x"])),
            ("a column too few", insert(&["name", "version"], &["x"])),
            ("no such column", with("odd", "x")),
            ("a column twice", with("name", "x")),
            ("no number", insert(&["name", "version"], &["x", "1.5"])),
            ("too long", insert(&["name", "version"], &["12345678901", "1"])),
            ("no bytes", with("record", "?")),
            ("no time", with("written", "yesterday")),
            ("a future time", with("written", "2999-01-01T00:00:00Z")),
            ("the commit's time where it cannot be", with("plain", "spanner.commit_timestamp()")),
            ("text for a flag", with("flag", "true")),
            (
                "half a key to delete",
                vec![delete(KeySet { keys: vec![list(&["x"])], ..KeySet::default() })],
            ),
        ] {
            self.commit(asked, client, mutations);
        }
        let mut elsewhere = write(&["name"], &["x"]);
        elsewhere.table = "nowhere".into();
        self.commit("no such table", client, vec![does(Change::Insert(elsewhere))]);
        let read = client.read("nowhere", &["name"], key("a", 1));
        self.hear("read no such table", &read, |(rows, _)| rows.join(", "));
        let read = client.read("t", &["odd"], key("a", 1));
        self.hear("read no such column", &read, |(rows, _)| rows.join(", "));
        let session = std::mem::replace(&mut client.session, "x".into());
        self.commit("no name of a session", client, vec![]);
        client.session = session.rsplit_once('/').expect("a path").0.to_owned() + "/x";
        self.commit("no such session", client, vec![]);
        client.session = session;
    }
}

fn shown(operation: &Operation) -> String {
    match &operation.result {
        None => format!("done {}", operation.done),
        Some(operation::Result::Response(any)) => {
            any.type_url.rsplit('.').next().unwrap_or_default().to_owned()
        }
        Some(operation::Result::Error(status)) => format!("{}: {}", status.code, status.message),
    }
}

fn statements(answer: &GetDatabaseDdlResponse) -> String {
    let [statement] = answer.statements.as_slice() else { return format!("{answer:?}") };
    let has = |text: &'static str| if statement.contains(text) { text } else { "?" };
    format!("{}..), {}..", has("CREATE TABLE t ("), has("ROW DELETION POLICY ("))
}
