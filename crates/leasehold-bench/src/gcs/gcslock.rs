//! gcslock's algorithm as published (<https://github.com/marcacohen/gcslock>, `mutex.go` at commit
//! `5782a95db7e207c634ebf85ca8fcd970b7a27ac5`, 2018), written anew to be compared with, and for nothing else.
//!
//! Locking is creating an object that must not exist, unlocking is deleting it unconditionally; whatever
//! else than 200 or 204 comes back, an error of the network too, is tried again after a sleep, which
//! begins at 10 ms in every call and doubles without limit and without jitter.

use std::time::Duration;

use leasehold::env::{Env, Host};
use reqwest::{Client, RequestBuilder, Url};

use crate::Any;

/// The first sleep after a failure.
const FIRST_SLEEP: Duration = Duration::from_millis(10);

/// One client's view of the lock: an object that exists while somebody has it.
#[derive(Debug)]
pub(crate) struct Gcslock {
    client: Client,
    lock: Url,
    unlock: Url,
}

impl Gcslock {
    /// A client of its own, with connections of its own, as `New` makes one in every process.
    pub(crate) fn new(endpoint: &str, bucket: &str, object: &str) -> Result<Gcslock, Any> {
        // What the clients of both sides have in common, so that only the algorithms differ.
        let client = Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .build()?;
        let query = format!("ifGenerationMatch=0&name={object}&uploadType=media");
        let lock = format!("{endpoint}/upload/storage/v1/b/{bucket}/o?{query}");
        let unlock = format!("{endpoint}/storage/v1/b/{bucket}/o/{object}");
        Ok(Gcslock { client, lock: lock.parse()?, unlock: unlock.parse()? })
    }

    /// Waits for the lock, for ever.
    pub(crate) async fn lock(&self) {
        let create = || {
            let request = self.client.post(self.lock.clone());
            request.header("content-type", "text/plain").body("1")
        };
        until(200, create).await;
    }

    /// Gives it back, and waits for that, for ever.
    pub(crate) async fn unlock(&self) {
        until(204, || self.client.delete(self.unlock.clone())).await;
    }
}

async fn until(status: u16, request: impl Fn() -> RequestBuilder) {
    let mut sleep = FIRST_SLEEP;
    loop {
        if let Ok(answer) = request().send().await {
            let told = answer.status().as_u16();
            // Read to its end, so that the connection can be used again.
            let _ = answer.bytes().await;
            if told == status {
                return;
            }
        }
        Host.sleep(sleep).await;
        sleep = sleep.saturating_mul(2);
    }
}
