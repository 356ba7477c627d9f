//! What the tools ask of a database: one's rights, what is billed, and how its table is made.

use std::time::Duration;

use googleapis_tonic_google_spanner_admin_database_v1::google as admin_proto;
use googleapis_tonic_google_spanner_admin_instance_v1::google::spanner::admin as instance_admin;
use leasehold_core::admin::{Admin, Right, Step, StepState};
use leasehold_core::backend::{BackendError, BoxFuture};
use tonic::{Code, Status};

use admin_proto::iam::v1::TestIamPermissionsRequest;
use admin_proto::longrunning::operations_client::OperationsClient;
use admin_proto::longrunning::{GetOperationRequest, Operation, operation};
use admin_proto::spanner::admin::database::v1 as proto;
use instance::instance_admin_client::InstanceAdminClient;
use instance_admin::instance::v1 as instance;
use proto::database_admin_client::DatabaseAdminClient;

use crate::env::{Env, Host};

mod table;

use super::SpannerBackend;
use super::channel::Attempt;
use super::status::{Missing, Refusal};

/// What is paid for: <https://cloud.google.com/spanner/pricing>.
const BILL: &str = "Spanner bills the instance by the hour, not requests: locks cost nothing more \
                    in one that is there, and 100 processing units, the least, cost $0.09 an \
                    hour, $65 a month (list price, one region in the USA, before discounts)";

const USER: &str = "roles/spanner.databaseUser";

/// What each right is for; <https://cloud.google.com/spanner/docs/iam>.
const RIGHTS: [(&str, &str); 5] = [
    ("spanner.sessions.create", "for the session of all requests"),
    ("spanner.databases.read", "to see who holds a lock"),
    ("spanner.databases.beginReadOnlyTransaction", "to see who holds a lock"),
    ("spanner.databases.write", "to take and release a lock"),
    ("spanner.databases.beginOrRollbackReadWriteTransaction", "to take and release a lock"),
];

/// The same for a principal that acts as a database role: what the role may do, the database itself decides.
const FINE_GRAINED: [(&str, &str); 1] =
    [("spanner.databases.useRoleBasedAccess", "to act as the database role")];
const FINE_GRAINED_USER: &str = "roles/spanner.fineGrainedAccessUser";

/// How long a change of the schema is left alone between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Admin for SpannerBackend {
    fn bill(&self) -> Option<&'static str> {
        Some(BILL)
    }

    fn rights(&self) -> BoxFuture<'_, Result<Vec<Right>, BackendError>> {
        Box::pin(async move {
            let (rights, role) = match self.place.role {
                None => (&RIGHTS[..], USER),
                Some(_) => (&FINE_GRAINED[..], FINE_GRAINED_USER),
            };
            let ask = TestIamPermissionsRequest {
                resource: self.place.database_path(),
                permissions: rights.iter().map(|&(name, _)| name.to_owned()).collect(),
            };
            let granted = self.admin_call(ask, "resource", async |mut admin, ask| {
                admin.test_iam_permissions(ask).await
            });
            let granted = match granted.await {
                Ok(granted) => Some(granted.permissions),
                // An emulator knows no rights.
                Err(Failed::Refused(status)) if status.code() == Code::Unimplemented => None,
                Err(failed) => return Err(self.why(failed)),
            };
            let right = |&(name, needed)| {
                let is_held = granted.as_ref().map(|all| all.iter().any(|one| one == name));
                Right { name, needed, is_optional: false, is_held, role }
            };
            Ok(rights.iter().map(right).collect())
        })
    }

    fn init(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Step>, BackendError>> {
        Box::pin(async move {
            let ask = proto::GetDatabaseRequest { name: self.place.database_path() };
            let found =
                self.admin_call(ask, "name", async |mut admin, ask| admin.get_database(ask).await);
            let database = match found.await {
                Ok(database) => database,
                Err(failed) if self.missing(&failed) == Some(Missing::Database) => {
                    return self.make_database(dry_run).await;
                }
                // It costs nothing there, and much elsewhere.
                Err(failed)
                    if self.missing(&failed) == Some(Missing::Instance)
                        && self.place.is_anonymous() =>
                {
                    let instance = self.make_instance(dry_run).await?;
                    let mut steps = self.make_database(dry_run).await?;
                    steps.insert(0, instance);
                    return Ok(steps);
                }
                Err(failed) => return Err(self.why(failed)),
            };
            let what = format!("the database {}", self.place.database);
            if database.database_dialect == proto::DatabaseDialect::Postgresql as i32 {
                let why = "it has the PostgreSQL dialect, which leasehold does not know: use a \
                           database with GoogleSQL";
                return Ok(vec![Step { what, state: StepState::Wrong(why.into()) }]);
            }
            let mut steps = vec![Step { what, state: StepState::Found }];
            match self.statements().await? {
                Some(statements) => match self.table_in(&statements) {
                    Some(definition) => steps.extend(self.examined(&definition, &statements)),
                    None => steps.push(self.make_table(dry_run).await?),
                },
                // A server that does not tell. Whether there is a table, a look tells.
                None => match self.names("").await {
                    Ok(_) => steps.push(Step {
                        what: format!("the table {}", self.place.table),
                        state: StepState::Found,
                    }),
                    Err(error) if error.message.contains("no table") => {
                        steps.push(self.make_table(dry_run).await?);
                    }
                    Err(error) => return Err(error),
                },
            }
            Ok(steps)
        })
    }
}

/// A call that failed, before or after it was sent.
enum Failed {
    Unsent(BackendError),
    Refused(Status),
}

impl SpannerBackend {
    /// One call about the database, which the message names in this field.
    async fn admin_call<M, T>(
        &self,
        message: M,
        field: &str,
        rpc: impl AsyncFnOnce(
            DatabaseAdminClient<Attempt>,
            tonic::Request<M>,
        ) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Failed> {
        let path = match field {
            "parent" => self.place.instance_path(),
            _ => self.place.database_path(),
        };
        let request = self.channel.request(message, &path, (field, &path)).await;
        let request = request.map_err(Failed::Unsent)?;
        let answer = self.channel.call(async |attempt, origin| {
            rpc(DatabaseAdminClient::with_origin(attempt, origin), request).await
        });
        Ok(answer.await.map_err(Failed::Refused)?.into_inner())
    }

    fn missing(&self, failed: &Failed) -> Option<Missing> {
        match failed {
            Failed::Refused(status) => Refusal::new(status, &self.place).missing(),
            Failed::Unsent(_) => None,
        }
    }

    fn why(&self, failed: Failed) -> BackendError {
        match failed {
            Failed::Unsent(error) => error,
            Failed::Refused(status) => {
                let mut error = self.refused(&status, "");
                if status.code() == Code::PermissionDenied {
                    error.message.push_str(
                        "; to make the database and the table, or look at them, it takes \
                         roles/spanner.databaseAdmin",
                    );
                }
                error
            }
        }
    }

    /// The statements that would make the database as it is; `None` where the server does not tell.
    async fn statements(&self) -> Result<Option<Vec<String>>, BackendError> {
        let ask = proto::GetDatabaseDdlRequest { database: self.place.database_path() };
        let ddl = self
            .admin_call(ask, "database", async |mut admin, ask| admin.get_database_ddl(ask).await);
        match ddl.await {
            Ok(ddl) => Ok(Some(ddl.statements)),
            Err(Failed::Refused(status)) if status.code() == Code::Unimplemented => Ok(None),
            Err(failed) => Err(self.why(failed)),
        }
    }

    /// On an emulator only.
    async fn make_instance(&self, dry_run: bool) -> Result<Step, BackendError> {
        let what = format!("the instance {} of the emulator", self.place.instance);
        if dry_run {
            return Ok(Step { what, state: StepState::Planned });
        }
        let project = format!("projects/{}", self.place.project);
        let made = instance::Instance {
            name: self.place.instance_path(),
            config: format!("{project}/instanceConfigs/emulator-config"),
            display_name: self.place.instance.clone(),
            node_count: 1,
            ..instance::Instance::default()
        };
        let create = instance::CreateInstanceRequest {
            parent: project.clone(),
            instance_id: self.place.instance.clone(),
            instance: Some(made),
        };
        let request = self.channel.request(create, &project, ("parent", &project)).await?;
        let answer = self.channel.call(async |attempt, origin| {
            InstanceAdminClient::with_origin(attempt, origin).create_instance(request).await
        });
        match answer.await {
            Ok(operation) => self.done(operation.into_inner()).await?,
            // Somebody was quicker.
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(self.why(Failed::Refused(status))),
        }
        Ok(Step { what, state: StepState::Made })
    }

    async fn make_database(&self, dry_run: bool) -> Result<Vec<Step>, BackendError> {
        let definition = self.definition();
        let what = [
            format!("the database {} in {}", self.place.database, self.place.instance),
            format!("the table {}: {definition}", self.place.table),
        ];
        let step = |state: StepState| what.map(|what| Step { what, state: state.clone() }).into();
        if dry_run {
            return Ok(step(StepState::Planned));
        }
        let create = proto::CreateDatabaseRequest {
            parent: self.place.instance_path(),
            create_statement: format!("CREATE DATABASE `{}`", self.place.database),
            extra_statements: vec![definition],
            ..proto::CreateDatabaseRequest::default()
        };
        let operation = self.admin_call(create, "parent", async |mut admin, create| {
            admin.create_database(create).await
        });
        self.done(operation.await.map_err(|failed| self.why(failed))?).await?;
        Ok(step(StepState::Made))
    }

    async fn make_table(&self, dry_run: bool) -> Result<Step, BackendError> {
        let definition = self.definition();
        let what = format!("the table {}: {definition}", self.place.table);
        if dry_run {
            return Ok(Step { what, state: StepState::Planned });
        }
        let update = proto::UpdateDatabaseDdlRequest {
            database: self.place.database_path(),
            statements: vec![definition],
            ..proto::UpdateDatabaseDdlRequest::default()
        };
        let operation = self.admin_call(update, "database", async |mut admin, update| {
            admin.update_database_ddl(update).await
        });
        self.done(operation.await.map_err(|failed| self.why(failed))?).await?;
        Ok(Step { what, state: StepState::Made })
    }

    /// Waits until an operation is done. A caller without patience drops it; the operation goes on.
    async fn done(&self, mut operation: Operation) -> Result<(), BackendError> {
        loop {
            match operation.result {
                Some(operation::Result::Error(error)) => {
                    let status = Status::new(Code::from(error.code), error.message);
                    return Err(self.why(Failed::Refused(status)));
                }
                Some(operation::Result::Response(_)) => return Ok(()),
                None if operation.done => return Ok(()),
                None => {}
            }
            Host.sleep(LOOK_AGAIN).await;
            let name = operation.name.clone();
            let database = self.place.database_path();
            let ask = GetOperationRequest { name: name.clone() };
            let request = self.channel.request(ask, &database, ("name", &name)).await?;
            let answer = self.channel.call(async |attempt, origin| {
                OperationsClient::with_origin(attempt, origin).get_operation(request).await
            });
            let answer = answer.await.map_err(|status| self.why(Failed::Refused(status)));
            operation = answer?.into_inner();
        }
    }
}
