//! What the tools ask of a bucket: its prices, one's rights, and how it is made.

use leasehold_core::admin::{Admin, Prices, Right, Step, StepState};
use leasehold_core::backend::{BackendError, BoxFuture, Trouble};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{GcsBackend, METADATA_MAX, said};

/// Class A and Class B operations of Standard storage in one region:
/// <https://cloud.google.com/storage/pricing#operations-pricing>.
const PRICES: Prices = Prices {
    million_reads: 40,
    million_writes: 500,
    source: "Google's list price for Standard storage in one region, November 2026",
};

/// What each right is for, and the role that gives it.
const RIGHTS: [(&str, &str, bool, &str); 4] = [
    ("storage.objects.get", "to see who holds a lock", false, "roles/storage.objectUser"),
    ("storage.objects.create", "to take a lock", false, "roles/storage.objectUser"),
    ("storage.objects.delete", "to replace a record", false, "roles/storage.objectUser"),
    ("storage.objects.list", "to see that there is no record", false, "roles/storage.objectUser"),
];

/// Where the project stands if the URL does not say it: as Google's own tools take it.
const PROJECT: &str = "GOOGLE_CLOUD_PROJECT";

impl Admin for GcsBackend {
    fn prices(&self) -> Option<Prices> {
        Some(PRICES)
    }

    fn rights(&self) -> BoxFuture<'_, Result<Vec<Right>, BackendError>> {
        Box::pin(async move {
            let mut url = self.address(&[], &[&self.place.bucket, "iam", "testPermissions"]);
            for (name, ..) in RIGHTS {
                url.query_pairs_mut().append_pair("permissions", name);
            }
            let request = self.request(Method::GET, url).await?;
            let answer = self.send(request, METADATA_MAX).await?;
            let granted: Granted = match answer.status {
                200 => serde_json::from_slice(&answer.body).map_err(|e| {
                    let why = format!("the answer about rights cannot be read: {e}");
                    BackendError::unknown(Trouble::Unavailable, why)
                })?,
                404 if said(&answer).message.contains("bucket does not exist") => {
                    return Err(self.no_bucket());
                }
                // An emulator that does not know the question.
                404 | 405 | 501 => return Ok(vec![]),
                _ => return Err(self.refusal(&answer)),
            };
            let right = |(name, needed, is_optional, role)| {
                let has = granted.permissions.iter().any(|granted| granted == name);
                // The bucket knows nothing of a condition that a role has on objects' names.
                let is_held = (has || self.place.prefix.is_empty()).then_some(has);
                Right { name, needed, is_optional, is_held, role }
            };
            Ok(RIGHTS.map(right).into())
        })
    }

    fn init(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Step>, BackendError>> {
        Box::pin(async move {
            let url = self.address(&[], &[&self.place.bucket]);
            let request = self.request(Method::GET, url).await?;
            let answer = self.send(request, METADATA_MAX).await?;
            match answer.status {
                200 => {
                    let bucket = serde_json::from_slice(&answer.body).map_err(|e| {
                        let why = format!("what is said of the bucket cannot be read: {e}");
                        BackendError::unknown(Trouble::Unavailable, why)
                    })?;
                    Ok(self.examined(&bucket))
                }
                404 => self.make(dry_run).await,
                403 => Err(BackendError::unknown(
                    Trouble::Denied,
                    format!(
                        "{} (403): the bucket {:?} is somebody else's, or it takes \
                         storage.buckets.get to look at it, which roles/storage.admin gives",
                        said(&answer).message,
                        self.place.bucket
                    ),
                )),
                _ => Err(self.refusal(&answer)),
            }
        })
    }
}

#[derive(Deserialize, Default)]
struct Granted {
    #[serde(default)]
    permissions: Vec<String>,
}

impl GcsBackend {
    async fn make(&self, dry_run: bool) -> Result<Vec<Step>, BackendError> {
        let bucket = &self.place.bucket;
        let project = self.place.project.clone();
        let project = project.or_else(|| std::env::var(PROJECT).ok().filter(|p| !p.is_empty()));
        let Some(project) = project else {
            let why = format!(
                "there is no bucket {bucket:?}, and to make it the project must be known: add \
                 ?project=ID to the URL, or set {PROJECT}"
            );
            return Err(BackendError::not_sent(Trouble::Invalid, why));
        };
        let place = match &self.place.location {
            Some(location) => location.clone(),
            None => "US (Google's default; location=… says another)".into(),
        };
        let what = format!(
            "the bucket {bucket} in the project {project}, in {place}, with uniform access, never \
             public, without a rule that deletes"
        );
        if dry_run {
            return Ok(vec![Step { what, state: StepState::Planned }]);
        }
        let mut settings = json!({
            "name": bucket,
            "iamConfiguration": {
                "uniformBucketLevelAccess": { "enabled": true },
                "publicAccessPrevention": "enforced",
            },
        });
        if let Some(location) = &self.place.location {
            settings["location"] = json!(location);
        }
        let mut url = self.address(&[], &[]);
        url.query_pairs_mut().append_pair("project", &project);
        let request = self.request(Method::POST, url).await?;
        let request = request.header(CONTENT_TYPE, "application/json").body(settings.to_string());
        let answer = self.send(request, METADATA_MAX).await?;
        match answer.status {
            200 => Ok(vec![Step { what, state: StepState::Made }]),
            409 => Err(BackendError::unknown(
                Trouble::Invalid,
                format!(
                    "{} (409): the name {bucket:?} is taken, by somebody else or a moment ago: \
                     choose another, or try again",
                    said(&answer).message
                ),
            )),
            403 => Err(BackendError::unknown(
                Trouble::Denied,
                format!(
                    "{} (403): it takes storage.buckets.create in the project {project}, which \
                     roles/storage.admin gives",
                    said(&answer).message
                ),
            )),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// What of a bucket's settings is good or bad for locks.
    fn examined(&self, bucket: &Value) -> Vec<Step> {
        let name = &self.place.bucket;
        let location = bucket["location"].as_str().unwrap_or("?");
        let mut steps = vec![Step {
            what: format!("the bucket {name}, in {location}"),
            state: StepState::Found,
        }];
        let mut say = |what: String, wrong: Option<String>| {
            let state = wrong.map_or(StepState::Found, StepState::Wrong);
            steps.push(Step { what, state });
        };
        let uniform = "/iamConfiguration/uniformBucketLevelAccess/enabled";
        let is_uniform = bucket.pointer(uniform).and_then(Value::as_bool) == Some(true);
        say(
            "uniform access".into(),
            (!is_uniform).then(|| {
                format!(
                    "rights can be given object by object, past any role: `gcloud storage buckets \
                     update gs://{name} --uniform-bucket-level-access`"
                )
            }),
        );
        say("no rule that deletes records".into(), self.deleting_rule(bucket));
        say(
            "no default event-based hold".into(),
            (bucket["defaultEventBasedHold"] == true).then(|| {
                format!(
                    "each new object is held, so nobody can renew, release or take over a lock: \
                     `gcloud storage buckets update gs://{name} --no-default-event-based-hold`"
                )
            }),
        );
        let retention = &bucket["retentionPolicy"];
        let mend = match retention["isLocked"] == true {
            true => "it is locked for ever, so use another bucket".to_owned(),
            false => {
                format!("`gcloud storage buckets update gs://{name} --clear-retention-period`")
            }
        };
        say(
            "no retention policy".into(),
            (!retention.is_null()).then(|| {
                format!(
                    "objects cannot be replaced for {} s, so no lock can be released: {mend}",
                    retention["retentionPeriod"].as_str().unwrap_or("some")
                )
            }),
        );
        if bucket["versioning"]["enabled"].as_bool() == Some(true) {
            say("versioning is on: every renewal leaves a copy that is paid for".into(), None);
        }
        steps
    }

    /// A lifecycle rule that may delete records of ours: what a rule does not exclude, it means.
    fn deleting_rule(&self, bucket: &Value) -> Option<String> {
        let rules = bucket.pointer("/lifecycle/rule").and_then(Value::as_array)?;
        let ours = self.place.object("");
        let moves = |rule: &Value| rule["action"]["type"] == "SetStorageClass";
        let class = (bucket["autoclass"]["enabled"] != true && !rules.iter().any(moves))
            .then(|| bucket["storageClass"].as_str())
            .flatten();
        let hits = |rule: &&Value| {
            let condition = &rule["condition"];
            let texts = |name: &str| {
                let texts = condition[name].as_array()?.iter().filter_map(Value::as_str);
                Some(texts.collect::<Vec<_>>())
            };
            let by_name = texts("matchesPrefix").is_none_or(|prefixes| {
                prefixes.into_iter().any(|p| ours.starts_with(p) || p.starts_with(&ours))
            });
            let by_class = class.zip(texts("matchesStorageClass"));
            let by_class = by_class.is_none_or(|(class, classes)| classes.contains(&class));
            rule["action"]["type"] == "Delete" && by_name && by_class && may_be_live(condition)
        };
        rules.iter().find(hits).map(|rule| {
            format!(
                "a lifecycle rule deletes them, {}: a lock would be taken from its holder. Remove \
                 the rule, or use another bucket: `gcloud storage buckets describe gs://{} \
                 --format=\"default(lifecycle_config)\"`",
                rule["condition"], self.place.bucket
            )
        })
    }
}

/// Whether a condition can be met by the newest version of an object that we wrote: no record has a custom
/// time, and the newest has no newer ones.
fn may_be_live(condition: &Value) -> bool {
    let only_others = [
        "daysSinceNoncurrentTime",
        "noncurrentTimeBefore",
        "daysSinceCustomTime",
        "customTimeBefore",
    ];
    condition["isLive"] != false
        && condition["numNewerVersions"].as_u64().unwrap_or(0) == 0
        && only_others.iter().all(|name| condition[name].is_null())
}
