//! A record with the last token that there is, which no holder can go beyond.

use std::sync::Arc;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{Backend, Expected, Key, Written};
use leasehold::core::record::{FencingToken, Record};
use leasehold::{Client, ErrorKind, Forced};

const LAST: &[u8] = b"{\"leasehold\":1,\"kind\":\"mutex\",\"token\":9007199254740990,\
    \"write\":\"00000000000000000000000000000001\",\"holders\":[]}\n";

/// A stranger wrote the last token into a record, and somebody wants the lock. They are told that
/// the record is damaged, and nothing is written; `break` repairs it as any damage, and the lock can
/// be had again. Before, the acquisition wrote a record that nobody could read. Found by fuzzing.
#[tokio::test]
async fn a_lock_without_a_next_token_is_refused_and_repaired() -> Result<(), leasehold::Error> {
    let backend = Arc::new(MemoryBackend::default());
    let key = Key::new("x").unwrap();
    let written = backend.write(&key, &Expected::Absent, LAST).await;
    assert!(matches!(written, Ok(Written::Applied(_))));
    let client = Client::new(Arc::clone(&backend) as Arc<dyn Backend>)?;

    let refused = client.mutex("x").acquire().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.to_string().contains("look at memory://x,"), "{refused}");
    let found = backend.read(&key).await.unwrap().record.unwrap();
    assert_eq!(found.bytes, LAST);

    let forced = client.force_release("x", "no token is left").await?;
    assert!(matches!(forced, Forced::Repaired { .. }), "{forced:?}");
    // This process has seen the last token and believes no lower one; the next one does.
    let client = Client::new(Arc::clone(&backend) as Arc<dyn Backend>)?;
    let guard = client.mutex("x").acquire().await?;
    assert!(guard.token() < FencingToken::MAX);
    let found = backend.read(&key).await.unwrap().record.unwrap();
    assert!(Record::decode(&found.bytes).is_ok());
    guard.release().await
}
