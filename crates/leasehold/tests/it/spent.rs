//! A record with the last token that there is, which no holder can go beyond.

use std::sync::Arc;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{Backend, Expected, Key, Written};
use leasehold::{Client, ErrorKind};

const LAST: &[u8] = b"{\"leasehold\":1,\"kind\":\"mutex\",\"token\":9007199254740990,\
    \"write\":\"00000000000000000000000000000001\",\"holders\":[]}\n";

/// A stranger wrote the last token into a record, and somebody wants the lock, or breaks it. They are
/// told that no token is left, and what to do; nothing is written, because the token of a sound record
/// never falls. Before, the acquisition wrote a record that nobody could read, and a break took the
/// token back. Found by fuzzing.
#[tokio::test]
async fn a_lock_without_a_next_token_is_left_as_it_is() -> Result<(), leasehold::Error> {
    let held = String::from_utf8_lossy(LAST).replace(
        "[]",
        "[{\"id\":\"00000000000000000000000000000001\",\"label\":\"ada\",\"ttl_ms\":86400000,\
         \"renewals\":0,\"acquired_unix_ms\":0}]",
    );
    for record in [LAST, held.as_bytes()] {
        let backend = Arc::new(MemoryBackend::default());
        let key = Key::new("x").unwrap();
        let written = backend.write(&key, &Expected::Absent, record).await;
        assert!(matches!(written, Ok(Written::Applied(_))));
        let client = Client::new(Arc::clone(&backend) as Arc<dyn Backend>)?;
        for refused in [
            client.mutex("x").acquire().await.map(|_| ()).unwrap_err(),
            client.force_release("x", "no token is left").await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            let said = refused.to_string();
            assert!(said.contains("use another name") && !said.contains("break`"), "{said}");
        }
        let status = client.status("x").await?;
        assert!(status.problem.is_some_and(|why| why.contains("use another name")));
        let found = backend.read(&key).await.unwrap().record.unwrap();
        assert_eq!(found.bytes, record);
    }
    Ok(())
}
