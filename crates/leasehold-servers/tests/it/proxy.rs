//! The proxy, each mode once, on a connection that stood before the mode was set.

use std::io::ErrorKind;
use std::time::Duration;

use leasehold_servers::gcs::{Fake, When};
use leasehold_servers::proxy::{Mode, Proxy};

use crate::client::{Call, Connection};
use crate::store::fake;

const SILENCE: Duration = Duration::from_millis(300);

/// A server, a proxy before it, and a connection that has worked once.
fn standing() -> (Fake, Proxy, Connection) {
    let fake = fake();
    let proxy = Proxy::start(fake.address());
    let mut connection = Connection::to(proxy.address());
    let reply = connection.call(&Call::read("x", "")).expect("the connection works");
    assert_eq!(reply.code, 404);
    (fake, proxy, connection)
}

fn is_silent(connection: &mut Connection) -> bool {
    connection.set_patience(SILENCE);
    let failure = connection.receive().expect_err("nothing comes");
    matches!(failure.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn works(proxy: &Proxy) -> bool {
    Call::read("x", "").on(proxy.address()).code == 404
}

/// Everything goes through, byte by byte, many pieces long.
#[test]
fn pass() {
    let (_fake, _proxy, mut connection) = standing();
    let bytes: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).take(900_000).collect();
    assert_eq!(connection.call(&Call::create("y", &bytes)).unwrap().code, 200);
    assert!(connection.call(&Call::read("y", "")).unwrap().body == bytes);
    connection.end_sending();
    assert_eq!(connection.rest().unwrap(), b"");
}

/// The way is long: between the arrivals of two requests, of which the second awaits the answer to the first,
/// lies the way back and the way there.
#[test]
fn delay() {
    let (fake, proxy, mut connection) = standing();
    let delay = Duration::from_millis(100);
    proxy.set(Mode::Delay(delay));
    for _ in 0..2 {
        assert_eq!(connection.call(&Call::read("x", "")).unwrap().code, 404);
    }
    let [_, first, second] = fake.seen().try_into().expect("three requests");
    assert!(second.at >= first.at + 2 * delay, "{:?} and {:?}", first.at, second.at);
}

/// The network is gone: nothing arrives and nothing comes back. When it is back, what was swallowed stays
/// lost and new connections work.
#[test]
fn black_hole() {
    let (fake, proxy, mut connection) = standing();
    proxy.set(Mode::BlackHole);
    connection.send(&Call::create("x", b"1")).unwrap();
    assert!(is_silent(&mut connection));
    let mut new = Connection::to(proxy.address());
    new.send(&Call::create("x", b"1")).unwrap();
    new.end_sending();
    assert!(is_silent(&mut new));
    proxy.set(Mode::Pass);
    assert!(is_silent(&mut connection));
    assert!(works(&proxy));
    assert_eq!(fake.seen().iter().filter(|seen| seen.when == When::Create).count(), 0);
}

/// A firewall forgets its connections: the present one and new ones end with a RST, which is an error and no
/// end of file.
#[test]
fn reset() {
    let (_fake, proxy, mut connection) = standing();
    proxy.set(Mode::Reset);
    assert_eq!(connection.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut new = Connection::to(proxy.address());
    assert_eq!(new.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.set(Mode::Pass);
    assert!(works(&proxy));
}

/// Only the way back is gone: the write lands, its writer hears nothing, ever.
#[test]
fn drop_replies() {
    let (fake, proxy, mut connection) = standing();
    proxy.set(Mode::DropReplies);
    connection.send(&Call::create("x", b"1")).unwrap();
    fake.await_done(When::Create, 1);
    assert!(is_silent(&mut connection));
    proxy.set(Mode::Pass);
    connection.send(&Call::read("x", "")).unwrap();
    fake.await_seen(When::Read, 2);
    assert!(is_silent(&mut connection), "there is a gap before this reply");
}

/// The same, and the connection is closed in good order.
#[test]
fn drop_reply_then_close() {
    let (fake, proxy, mut connection) = standing();
    proxy.set(Mode::DropReplyThenClose);
    let lost = connection.call(&Call::create("x", b"1")).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::UnexpectedEof);
    fake.await_done(When::Create, 1);
    proxy.set(Mode::Pass);
    assert_eq!(Call::read("x", "").on(proxy.address()).body, b"1");
}

/// The server is gone: whoever connects to the proxy is told so.
#[test]
fn no_server() {
    let (fake, proxy, _) = standing();
    drop(fake);
    let failure = Connection::to(proxy.address()).receive().unwrap_err();
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
    assert!(kinds.contains(&failure.kind()), "{failure}");
}
