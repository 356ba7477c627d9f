//! A bucket behind TLS that asks for tokens, and who gives them out.

use std::path::PathBuf;
use std::process::Command;

use leasehold_servers::gcs::Fake;
use leasehold_servers::tls::Front;
use leasehold_servers::tokens::Tokens;
use serde_json::{Value, json};

use crate::world::World;

/// All that is ever asked for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// Somebody's service account.
pub(super) const ACCOUNT: &str = "deploy@acme.iam.gserviceaccount.com";

/// Everything that one test needs. The bucket `acme` takes the tokens of `tokens` and no others.
pub(super) struct Place {
    pub(super) world: World,
    pub(super) gcs: Fake,
    pub(super) tls: Front,
    pub(super) tokens: Tokens,
}

impl Place {
    pub(super) fn new() -> Place {
        let (world, gcs, tokens) = (World::new(), Fake::start(), Tokens::start());
        gcs.make_bucket("acme");
        gcs.accept(tokens.check());
        let tls = Front::start(gcs.address());
        world.write("ca.pem", tls.authority());
        world.write("subject-token", "secret-subject");
        Place { world, gcs, tls, tokens }
    }

    /// The store as it is named, through TLS.
    pub(super) fn url(&self) -> String {
        let endpoint = self.tls.endpoint();
        format!("gs://acme/locks?endpoint={endpoint}&write-interval=0s&poll-interval=20ms")
    }

    /// Our program with the file of credentials if there is one, and no others: no login of whoever runs
    /// the test, no proxy, no metadata server that answers.
    pub(super) fn leasehold(&self, words: &[&str]) -> Command {
        let mut command = self.world.leasehold(words);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        for name in ["SSL_CERT_DIR", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_QUOTA_PROJECT"] {
            command.env_remove(name);
        }
        command
            .env("HOME", self.world.path("home"))
            .env("LEASEHOLD_BACKEND", self.url())
            .env("SSL_CERT_FILE", self.world.path("ca.pem"))
            .env("GCE_METADATA_HOST", "127.0.0.1:1")
            .env_remove("GOOGLE_APPLICATION_CREDENTIALS");
        if self.file().exists() {
            command.env("GOOGLE_APPLICATION_CREDENTIALS", self.file());
        }
        command
    }

    /// The file of credentials.
    pub(super) fn file(&self) -> PathBuf {
        self.world.path("credentials.json")
    }

    pub(super) fn has_file(&self, content: &Value) {
        self.has_text(&content.to_string());
    }

    pub(super) fn has_text(&self, text: &str) {
        self.world.write("credentials.json", text);
    }

    /// What `gcloud auth application-default login` leaves.
    pub(super) fn login(&self) -> Value {
        json!({
            "type": "authorized_user",
            "client_id": "acme.apps.googleusercontent.com",
            "client_secret": "secret-client",
            "refresh_token": "1//secret-refresh",
            "token_uri": self.tokens.token_url(),
        })
    }

    /// What `gcloud iam workload-identity-pools create-cred-config` makes, with a token in a file.
    pub(super) fn federation(&self, impersonation_url: Option<&str>) -> Value {
        let mut file = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": self.tokens.token_url(),
            "credential_source": { "file": self.world.path("subject-token") },
        });
        if let Some(url) = impersonation_url {
            file["service_account_impersonation_url"] = json!(url);
        }
        file
    }

    /// Every request came with this token and was let in, and there were some.
    #[track_caller]
    pub(super) fn assert_all_had(&self, token: &str) {
        let seen = self.gcs.seen();
        assert!(seen.len() >= 2, "{seen:?}");
        for seen in seen {
            assert_eq!(seen.bearer.as_deref(), Some(token), "{seen:?}");
            assert_ne!(seen.status, Some(401), "{seen:?}");
        }
    }
}
