//! Instances, databases, their tables, rights, and operations that take their time.
//!
//! A change of a schema is only begun by the request for it. It is done when its operation is asked for:
//! whoever does not wait for it has no table.

use std::collections::BTreeMap;

use googleapis_tonic_google_spanner_admin_database_v1::google::iam::v1::{
    TestIamPermissionsRequest, TestIamPermissionsResponse,
};
use googleapis_tonic_google_spanner_admin_database_v1::google::longrunning::{
    Operation, operation,
};
use googleapis_tonic_google_spanner_admin_database_v1::google::spanner::admin::database::v1::{
    CreateDatabaseRequest, Database as DatabaseInfo, DatabaseDialect, GetDatabaseDdlResponse,
    UpdateDatabaseDdlRequest, database,
};
use googleapis_tonic_google_spanner_admin_instance_v1::google::spanner::admin::instance::v1::{
    CreateInstanceRequest, Instance, instance,
};
use prost::Message;
use prost_types::Any;

use super::ddl::Statement;
use super::status::{Noun, Status};
use super::store::{Database, Store};
use super::table::Table;

/// An operation that was begun.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Instance { name: String },
    Schema { database: String, is_new: bool, statements: Vec<String> },
    Done(Operation),
}

impl Store {
    pub(super) fn get_instance(&self, name: &str) -> Result<Instance, Status> {
        match self.instances.contains(name) {
            true => Ok(instance_info(name)),
            false => Err(Status::not_found(Noun::Instance, name)),
        }
    }

    pub(super) fn create_instance(
        &mut self,
        ask: &CreateInstanceRequest,
    ) -> Result<Operation, Status> {
        let name = format!("{}/instances/{}", ask.parent, ask.instance_id);
        match self.instances.insert(name.clone()) {
            true => Ok(self.begin(&name.clone(), Pending::Instance { name })),
            false => Err(Status::exists(Noun::Instance, &name)),
        }
    }

    pub(super) fn get_database(&self, name: &str) -> Result<DatabaseInfo, Status> {
        self.database(name)?;
        Ok(database_info(name))
    }

    pub(super) fn get_ddl(&self, name: &str) -> Result<GetDatabaseDdlResponse, Status> {
        let statements = self.database(name)?.statements.clone();
        Ok(GetDatabaseDdlResponse { statements, ..GetDatabaseDdlResponse::default() })
    }

    pub(super) fn create_database(
        &mut self,
        ask: &CreateDatabaseRequest,
    ) -> Result<Operation, Status> {
        if !self.instances.contains(&ask.parent) {
            return Err(Status::not_found(Noun::Instance, &ask.parent));
        }
        let Statement::CreateDatabase { id } = Statement::parse(&ask.create_statement)? else {
            return Err(Status::invalid("Create statement is not CREATE DATABASE."));
        };
        let name = format!("{}/databases/{id}", ask.parent);
        if self.databases.contains_key(&name) {
            return Err(Status::exists(Noun::Database, &name));
        }
        let statements = ask.extra_statements.clone();
        Database::default().change(&statements)?;
        self.databases.insert(name.clone(), Database::default());
        let pending = Pending::Schema { database: name.clone(), is_new: true, statements };
        Ok(self.begin(&name, pending))
    }

    pub(super) fn update_ddl(
        &mut self,
        ask: &UpdateDatabaseDdlRequest,
    ) -> Result<Operation, Status> {
        let (name, statements) = (ask.database.clone(), ask.statements.clone());
        // What is wrong already is told at once.
        self.database(&name)?.rehearse(&statements)?;
        let pending = Pending::Schema { database: name.clone(), is_new: false, statements };
        Ok(self.begin(&name, pending))
    }

    pub(super) fn test_permissions(
        &self,
        ask: &TestIamPermissionsRequest,
    ) -> Result<TestIamPermissionsResponse, Status> {
        match ask.resource.contains("/databases/") {
            true => drop(self.database(&ask.resource)?),
            false => drop(self.get_instance(&ask.resource)?),
        }
        let has = |right: &&String| self.rights.as_ref().is_none_or(|all| all.contains(right));
        let permissions = ask.permissions.iter().filter(has).cloned().collect();
        Ok(TestIamPermissionsResponse { permissions })
    }

    fn begin(&mut self, of: &str, pending: Pending) -> Operation {
        let name = format!("{of}/operations/_auto_op_{}", self.next());
        self.operations.insert(name.clone(), pending);
        Operation { name, ..Operation::default() }
    }

    /// Ends the operation, if it has not ended.
    pub(super) fn get_operation(&mut self, name: &str) -> Result<Operation, Status> {
        let result = match self.operations.get(name).cloned() {
            None => {
                let message = format!("Operation not found: {name}");
                return Err(Status::new(tonic::Code::NotFound, message));
            }
            Some(Pending::Done(operation)) => return Ok(operation),
            Some(Pending::Instance { name }) => {
                Ok(any("google.spanner.admin.instance.v1.Instance", &instance_info(&name)))
            }
            Some(Pending::Schema { database, is_new, statements }) => {
                let known = self.databases.get_mut(&database);
                let known = known.ok_or_else(|| Status::not_found(Noun::Database, &database));
                known.and_then(|known| known.change(&statements)).map(|()| match is_new {
                    true => {
                        let info = database_info(&database);
                        any("google.spanner.admin.database.v1.Database", &info)
                    }
                    false => any("google.protobuf.Empty", &()),
                })
            }
        };
        let result = match result {
            Ok(response) => operation::Result::Response(response),
            Err(status) => operation::Result::Error(status.to_rpc()),
        };
        let name = name.to_owned();
        let done =
            Operation { name: name.clone(), metadata: None, done: true, result: Some(result) };
        self.operations.insert(name, Pending::Done(done.clone()));
        Ok(done)
    }
}

impl Database {
    /// Whether these statements could be carried out now.
    fn rehearse(&self, statements: &[String]) -> Result<(), Status> {
        let mut copy = Database { statements: self.statements.clone(), ..Database::default() };
        copy.tables = copy.made()?;
        copy.change(statements)
    }

    /// The tables that its statements make, without rows.
    fn made(&self) -> Result<BTreeMap<String, Table>, Status> {
        let mut new = Database::default();
        new.change(&self.statements).map(|()| new.tables)
    }

    /// Carries the statements out, up to the first that cannot be.
    pub(super) fn change(&mut self, statements: &[String]) -> Result<(), Status> {
        statements.iter().try_for_each(|text| match Statement::parse(text)? {
            Statement::CreateDatabase { .. } => {
                Err(Status::invalid("CREATE DATABASE does not change a database."))
            }
            Statement::CreateTable { definition, if_not_exists } => {
                let name = definition.name.clone();
                let small = name.to_ascii_lowercase();
                if self.tables.contains_key(&small) {
                    return match if_not_exists {
                        true => Ok(()),
                        false => Err(Status::failed(format!("Duplicate name in schema: {name}."))),
                    };
                }
                self.tables.insert(small, Table::new(definition));
                self.statements.push(text.trim().trim_end_matches(';').to_owned());
                Ok(())
            }
            Statement::AddRowDeletion { table, policy } => {
                let made = self.made_by(&table)?;
                if self.statements[made].contains("ROW DELETION POLICY") {
                    let what = format!("Table {table} already has a row deletion policy.");
                    return Err(Status::failed(what));
                }
                self.statements[made].push_str(", ");
                self.statements[made].push_str(&policy);
                Ok(())
            }
            Statement::DropTable { table } => {
                let made = self.made_by(&table)?;
                self.statements.remove(made);
                self.tables.remove(&table.to_ascii_lowercase());
                Ok(())
            }
        })
    }

    /// The place of the statement that made this table.
    fn made_by(&self, table: &str) -> Result<usize, Status> {
        let is_it = |text: &String| match Statement::parse(text) {
            Ok(Statement::CreateTable { definition, .. }) => {
                definition.name.eq_ignore_ascii_case(table)
            }
            _ => false,
        };
        self.statements.iter().position(is_it).ok_or_else(|| Status::no_table(table))
    }
}

fn instance_info(name: &str) -> Instance {
    let state = instance::State::Ready.into();
    Instance { name: name.to_owned(), state, processing_units: 100, ..Instance::default() }
}

fn database_info(name: &str) -> DatabaseInfo {
    DatabaseInfo {
        name: name.to_owned(),
        state: database::State::Ready.into(),
        database_dialect: DatabaseDialect::GoogleStandardSql.into(),
        version_retention_period: "1h".into(),
        ..DatabaseInfo::default()
    }
}

fn any(kind: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{kind}"), value: message.encode_to_vec() }
}
