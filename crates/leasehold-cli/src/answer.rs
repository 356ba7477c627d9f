//! What a command answers, for people and for programs: about which store, and in which version of the
//! shapes that `docs/json.md` describes.

use leasehold::Client;
use serde::Serialize;

use crate::show::{self, clean};

/// The version of all shapes. A field that is new does not change it; one that goes or means something
/// else does.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Answer<'a, T> {
    v: u32,
    #[serde(flatten)]
    store: Option<&'a Store>,
    #[serde(flatten)]
    fields: T,
}

/// An answer that is about no store, for a program.
pub(crate) fn json(fields: impl Serialize) -> String {
    show::json(&Answer { v: VERSION, store: None, fields })
}

/// The store that was asked.
#[derive(Serialize)]
pub(crate) struct Store {
    #[serde(rename = "store")]
    url: String,
    /// Whether it was neither typed nor in the environment.
    #[serde(rename = "default_store")]
    is_default: bool,
}

impl Store {
    pub(crate) fn of(client: &Client, backend: Option<&str>) -> Store {
        Store { url: client.url(), is_default: backend.is_none_or(str::is_empty) }
    }

    pub(crate) fn url(&self) -> String {
        clean(&self.url)
    }

    /// For a program.
    pub(crate) fn json(&self, fields: impl Serialize) -> String {
        show::json(&self.answer(fields))
    }

    /// One of several answers for a program.
    pub(crate) fn answer<T: Serialize>(&self, fields: T) -> impl Serialize {
        Answer { v: VERSION, store: Some(self), fields }
    }

    /// The first line for a person, who may have meant another store.
    pub(crate) fn line(&self) -> String {
        let default = match self.is_default {
            true => " (the default one: neither --backend nor LEASEHOLD_BACKEND is set)",
            false => "",
        };
        format!("{:<11}{}{default}\n", "store", clean(&self.url))
    }
}
