//! Bytes go in and come out the same, and never too many of them.

use leasehold_core::backend::{Expected, MAX_RECORD_BYTES, Written};

use super::{at, create, put, read};
use crate::setup::{Setup, key};

/// Any bytes up to the limit come back as they were: no text encoding, no line ends, no padding and
/// no trailing zero gets at them.
pub(crate) async fn round_trips(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let every: Vec<u8> = (0..=255).collect();
    let sizes = [1, 255, 4096, MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES];
    let mut contents: Vec<Vec<u8>> =
        sizes.iter().map(|&size| every.iter().copied().cycle().take(size).collect()).collect();
    contents.push(b"a\r\nb\n\n".to_vec());
    contents.push(vec![0; 100]);
    contents.push(b"\xEF\xBB\xBF{}\xFF".to_vec());
    let mut version = create(&ours, &name, b"start").await;
    for content in &contents {
        version = put(&ours, &name, &at(&version), content).await;
        let seen = read(&theirs, &name).await.expect("a record");
        assert!(
            seen.bytes == *content,
            "{} bytes came back as {}",
            content.len(),
            seen.bytes.len()
        );
    }
}

/// A megabyte, stored by whatever means, must not be handed out: a store is read on every look, and
/// what stands there may be a stranger's. Refusing to store it is as good.
pub(crate) async fn too_much_is_cut(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    for size in [MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES + 2, 1 << 20] {
        let stored = backend.write(&key("other"), &Expected::Absent, &vec![b'x'; size]).await;
        if let Ok(Written::Applied(version)) = stored {
            match backend.read(&key("other")).await {
                Ok(reading) => {
                    let bytes = reading.record.expect("a record").bytes.len();
                    assert_eq!(bytes, MAX_RECORD_BYTES + 1, "of {size}");
                }
                Err(error) => assert!(!error.message.is_empty()),
            }
            assert!(backend.delete(&key("other"), &version).await.expect("an answer"));
        }
    }
    // Whatever became of it, other names go on.
    create(&backend, &name, b"small").await;
}

/// The program that writes gives up in the middle, at every point where it waits. What it leaves is
/// the old state or the new one, never a part, and the next writer can go on from it.
pub(crate) async fn a_dropped_write_is_whole(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let mut version = create(&backend, &name, b"start").await;
    for polls in 0..24 {
        let old = read(&backend, &name).await.expect("a record").bytes;
        let new = vec![b'a' + polls; 10_000];
        {
            let expected = at(&version);
            let mut write = backend.write(&name, &expected, &new);
            for _ in 0..polls {
                let poll =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx)));
                if poll.await.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // It may still land while we look, so a race may be lost, but to nobody else.
        version = loop {
            let seen = read(&backend, &name).await.expect("a record");
            assert!(seen.bytes == old || seen.bytes == new, "after {polls} polls: a part");
            let next = format!("after {polls}").into_bytes();
            match backend.write(&name, &at(&seen.version), &next).await.expect("an answer") {
                Written::Applied(version) => break version,
                Written::Conflict(_) => {}
            }
        };
    }
}
