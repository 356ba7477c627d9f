//! A service account with a key: its key file, and whether a token is signed with that key.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::clock;

/// A service account whose RSA key was made for it alone.
#[derive(Debug)]
pub struct Account {
    email: String,
    key: KeyPair,
}

impl Account {
    /// Makes a key for it.
    pub fn new(email: &str) -> Account {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        Account { email: email.to_owned(), key: key.expect("a key can be made") }
    }

    /// The key file as Google gives it out.
    pub fn key_file(&self) -> String {
        let file = json!({
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": self.key.serialize_pem(),
            "client_email": self.email,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        file.to_string()
    }

    /// Says what Google would of a self-signed token, for [`accept`](crate::gcs::Fake::accept): signed with
    /// this key, by and about this account, for this scope and nothing else, and alive.
    pub fn check(&self, scope: &str) -> impl Fn(&str) -> bool + Send + 'static {
        let (email, scope) = (self.email.clone(), scope.to_owned());
        let key =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key_raw().to_vec());
        move |token| {
            let Some((signed, signature)) = token.rsplit_once('.') else { return false };
            let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return false };
            let Some((header, claims)) = signed.split_once('.') else { return false };
            let (header, claims) = (part(header), part(claims));
            let now = clock::unix().as_secs();
            key.verify(signed.as_bytes(), &signature).is_ok()
                && header["alg"] == "RS256"
                && claims["iss"] == email.as_str()
                && claims["sub"] == email.as_str()
                && claims["scope"] == scope.as_str()
                && claims["iat"].as_u64().is_some_and(|issued| issued <= now)
                && claims["exp"].as_u64().is_some_and(|end| now < end && end <= now + 3700)
        }
    }
}

/// A part of a token; `null` where it cannot be read.
fn part(text: &str) -> Value {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
