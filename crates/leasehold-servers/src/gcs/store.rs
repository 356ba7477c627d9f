//! The buckets and what is in them. Each request is checked and done in one step, so the store is
//! linearizable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::request::{Ask, Condition, Request, to_token};
use super::script::Fault;
use crate::clock::{self, Start};

#[derive(Debug)]
pub(super) struct Store {
    buckets: BTreeMap<String, Bucket>,
    generation_max: u64,
    start: Start,
    /// How far its clocks are ahead of the host's.
    pub(super) ahead: Duration,
    /// The least time between two writes of one object.
    pub(super) write_interval: Option<Duration>,
    /// The rights that callers have; `None`: all that they ask for.
    pub(super) rights: Option<Vec<String>>,
}

#[derive(Debug)]
struct Bucket {
    about: Map<String, Value>,
    objects: BTreeMap<String, Slot>,
}

/// A name in a bucket, which is remembered after the object is gone.
#[derive(Debug, Default)]
struct Slot {
    now: Option<Object>,
    before: Option<Object>,
    /// When the last write or deletion was done, since the start.
    last_write: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Object {
    generation: u64,
    /// By the server's wall clock, since the start of 1970.
    written: Duration,
    about: Map<String, Value>,
    bytes: Bytes,
}

impl Store {
    pub(super) fn new(start: Start) -> Store {
        Store {
            buckets: BTreeMap::new(),
            generation_max: 0,
            start,
            ahead: Duration::ZERO,
            write_interval: None,
            rights: None,
        }
    }

    /// The wall clock of the server, since the start of 1970.
    pub(super) fn date(&self) -> Duration {
        clock::unix() + self.ahead
    }

    pub(super) fn make_bucket(&mut self, name: &str, mut about: Map<String, Value>) -> Answer {
        if self.buckets.contains_key(name) {
            let what = "Your previous request to create the named bucket succeeded and you already \
                        own it.";
            return Answer::error(409, "conflict", what);
        }
        about.insert("kind".into(), "storage#bucket".into());
        about.insert("id".into(), name.into());
        about.insert("name".into(), name.into());
        about.insert("metageneration".into(), "1".into());
        about.entry("location").or_insert_with(|| "US".into());
        about.entry("storageClass").or_insert_with(|| "STANDARD".into());
        let answer = Answer::json(&Value::Object(about.clone()));
        self.buckets.insert(name.to_owned(), Bucket { about, objects: BTreeMap::new() });
        answer
    }

    /// Carries the request out. Of the faults, the two lies make a difference here.
    pub(super) fn carry_out(&mut self, request: &Request, fault: Option<&Fault>) -> Answer {
        let ask = match &request.ask {
            Ok(Ask::MakeBucket { about }) => {
                return self.make_bucket(&request.bucket, about.clone());
            }
            Ok(ask) => ask.clone(),
            Err(answer) => return answer.clone(),
        };
        let Some(bucket) = self.buckets.get(&request.bucket) else {
            return Answer::no_bucket();
        };
        match ask {
            Ask::Read { only, media } => {
                let slot = bucket.objects.get(&request.object);
                let object = slot.and_then(|slot| match fault {
                    Some(Fault::Stale) => slot.before.as_ref(),
                    _ => slot.now.as_ref(),
                });
                read(request, object, only, media)
            }
            Ask::List { prefix, after, limit } => bucket.list(&prefix, &after, limit),
            Ask::Bucket | Ask::MakeBucket { .. } => {
                Answer::json(&Value::Object(bucket.about.clone()))
            }
            Ask::Rights { asked } => self.rights(asked),
            Ask::Write { only, about, bytes } => {
                let only = unless_ignored(only, fault);
                self.change(request, only, Some((about, bytes)))
            }
            Ask::Delete { only } => self.change(request, unless_ignored(only, fault), None),
        }
    }

    fn rights(&self, asked: Vec<String>) -> Answer {
        let has = |right: &String| self.rights.as_ref().is_none_or(|all| all.contains(right));
        let had: Vec<String> = asked.into_iter().filter(has).collect();
        let mut answer = json!({ "kind": "storage#testIamPermissionsResponse" });
        if !had.is_empty() {
            answer["permissions"] = had.into();
        }
        Answer::json(&answer)
    }

    /// Writes the object, or deletes it where there is none to write.
    fn change(
        &mut self,
        request: &Request,
        only: Condition,
        new: Option<(Map<String, Value>, Bytes)>,
    ) -> Answer {
        let (date, since_start) = (self.date(), self.start.elapsed() + self.ahead);
        let Some(bucket) = self.buckets.get_mut(&request.bucket) else {
            return Answer::no_bucket();
        };
        let slot = bucket.objects.entry(request.object.clone()).or_default();
        let next_write =
            slot.last_write.zip(self.write_interval).map(|(at, gap)| at.saturating_add(gap));
        if next_write.is_some_and(|next_write| since_start < next_write) {
            let what = format!(
                "The object {}/{} exceeded the rate limit for object mutation operations (create, \
                 update, and delete). Please reduce your request rate.",
                request.bucket, request.object
            );
            return Answer::error(429, "rateLimitExceeded", &what);
        }
        if slot.now.is_none() && new.is_none() {
            return Answer::no_object(&request.bucket, &request.object, false);
        }
        if let Some(refusal) = only.refusal(slot.now.as_ref()) {
            return refusal;
        }
        let new = new.map(|(about, bytes)| {
            let micros = u64::try_from(date.as_micros()).unwrap_or(u64::MAX);
            // Also after a deletion and after a clock that jumped back, it rises.
            self.generation_max = micros.max(self.generation_max + 1);
            Object { generation: self.generation_max, written: date, about, bytes }
        });
        let answer = match &new {
            Some(object) => Answer::json(&object.resource(request)),
            None => Answer::empty(204),
        };
        slot.before = std::mem::replace(&mut slot.now, new);
        slot.last_write = Some(since_start);
        answer
    }
}

fn unless_ignored(only: Condition, fault: Option<&Fault>) -> Condition {
    if fault == Some(&Fault::IgnorePrecondition) { Condition::default() } else { only }
}

fn read(request: &Request, object: Option<&Object>, only: Condition, media: bool) -> Answer {
    let Some(object) = object else {
        return Answer::no_object(&request.bucket, &request.object, media);
    };
    let answer = if let Some(refusal) = only.refusal(Some(object)) {
        refusal
    } else if media {
        let kind = object.about.get("contentType").and_then(Value::as_str);
        let kind = kind.unwrap_or("application/octet-stream");
        Answer::media(kind, object.bytes.clone()).with_content()
    } else {
        return Answer::json(&object.resource(request));
    };
    answer.with_generation(object.generation, object.written)
}

impl Condition {
    /// The answer to who asked for another generation than that of `object`, of a write as of a read.
    fn refusal(self, object: Option<&Object>) -> Option<Answer> {
        let generation = object.map_or(0, |object| object.generation);
        if self.is.is_some_and(|is| is != generation) {
            return Some(Answer::condition_not_met());
        }
        (self.is_not == Some(generation)).then(|| Answer::empty(304))
    }
}

impl Object {
    fn resource(&self, request: &Request) -> Value {
        let mut about = self.about.clone();
        about.insert("name".into(), request.object.clone().into());
        about.insert("bucket".into(), request.bucket.clone().into());
        about.insert("kind".into(), "storage#object".into());
        about.insert("generation".into(), self.generation.to_string().into());
        about.insert("metageneration".into(), "1".into());
        about.insert("size".into(), self.bytes.len().to_string().into());
        Value::Object(about)
    }
}

impl Bucket {
    fn list(&self, prefix: &str, after: &str, limit: usize) -> Answer {
        let range = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
        let mut names = self.objects.range(range).filter_map(|(name, slot)| {
            let is_listed = slot.now.is_some() && name.starts_with(prefix);
            is_listed.then_some(name)
        });
        let page: Vec<&String> = names.by_ref().take(limit).collect();
        let mut answer = json!({ "kind": "storage#objects" });
        if names.next().is_some()
            && let Some(last) = page.last()
        {
            answer["nextPageToken"] = to_token(last).into();
        }
        if !page.is_empty() {
            let item = |name: &&String| json!({ "kind": "storage#object", "name": name });
            answer["items"] = page.iter().map(item).collect();
        }
        Answer::json(&answer)
    }
}
