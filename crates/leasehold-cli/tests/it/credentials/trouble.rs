//! Credentials that cannot be had for a while: each failure costs an attempt, and never the lock or the wait.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use leasehold_servers::tokens::Mode;

use super::place::{ACCOUNT, Place};
use crate::world::{Running, end, until};

/// A run that ends at once when it has the lock. It waits for a store for as long as its ttl.
fn run(place: &Place) -> Command {
    place.leasehold(&["run", "x", "--ttl", "5s", "--", "true"])
}

/// The same with the metadata server and nothing else to give out tokens.
fn run_on_a_machine(place: &Place) -> Command {
    let mut command = run(place);
    command.env("GCE_METADATA_HOST", place.tokens.address().to_string());
    command
}

/// A pod has just been started, and its metadata server is not ready: it says so in ways that would be
/// final from anybody else. The lock is taken when it is.
#[test]
fn a_metadata_server_that_is_not_ready_is_waited_for() {
    for code in [404, 403, 503] {
        let place = Place::new();
        place.tokens.set(Mode::Refuse(code, "<html><title>Not yet</title></html>".into()));
        let run = Running::of(run_on_a_machine(&place));
        until("it is asked twice", || place.tokens.asked().len() >= 2);
        place.tokens.set(Mode::Give);
        run.end().expect(0);
    }
    let place = Place::new();
    place.tokens.set(Mode::Refuse(404, String::new()));
    let mut command = place.leasehold(&["run", "x", "--ttl", "1s", "--", "true"]);
    command.env("GCE_METADATA_HOST", place.tokens.address().to_string());
    let seen = end(command).expect(69);
    assert!(seen.err.contains("the metadata server") && seen.err.contains("404"), "{seen:?}");
}

/// A proxy is set for the way out. The metadata server is a neighbour: no proxy can reach it, and none may
/// see its tokens.
#[test]
fn the_metadata_server_is_asked_directly() {
    let place = Place::new();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("it is ours");
    let address = format!("http://{}", proxy.local_addr().expect("its address"));
    let mut command = run_on_a_machine(&place);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"] {
        command.env(name, &address);
    }
    end(command).expect(0);
    let called = proxy.accept().expect_err("nobody came").kind();
    assert_eq!(called, ErrorKind::WouldBlock);
}

/// gRPC in clear, to an emulator in the next container, with a proxy set for the way out. A proxy of HTTP
/// would make nothing of it, so it is not asked.
#[test]
fn grpc_in_clear_is_sent_directly() {
    let place = Place::new();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("it is ours");
    let mut command = place.leasehold(&["status", "x"]);
    command
        .env("LEASEHOLD_BACKEND", "spanner://acme/main/locks?endpoint=http://leasehold.invalid:1")
        .env("http_proxy", format!("http://{}", proxy.local_addr().expect("its address")));
    end(command).expect(69);
    assert_eq!(proxy.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
}

/// The token server takes the first request and never answers it, as behind a connection that is
/// dead. The next one is answered, long before anybody gives up.
#[test]
fn a_request_for_a_token_that_hangs_costs_an_attempt() {
    let place = Place::new();
    place.has_file(&place.login());
    place.tokens.set(Mode::Hang);
    let run = Running::of(run(&place));
    until("it is asked", || !place.tokens.asked().is_empty());
    place.tokens.set(Mode::Give);
    run.end().expect(0);
}

/// The token server is overloaded for a moment, or breaks off. The library that asks keeps such an
/// error for ten seconds; the one who waits for a lock does not.
#[test]
fn a_failure_to_get_a_token_is_not_kept() {
    for mode in [Mode::Refuse(503, String::new()), Mode::Close, Mode::Refuse(200, "{\"acc".into())]
    {
        let place = Place::new();
        place.has_file(&place.login());
        place.tokens.set(mode);
        let run = Running::of(run(&place));
        until("it is asked", || !place.tokens.asked().is_empty());
        place.tokens.set(Mode::Give);
        run.end().expect(0);
    }
}

/// An administrator ends all tokens that were given out while one holds a lock and two wait, one of them for
/// something that is run once. Nobody gives up: fresh tokens are all that it takes.
#[test]
fn who_waits_survives_a_token_that_was_withdrawn() {
    let place = Place::new();
    place.has_file(&place.login());
    let mut holder =
        place.leasehold(&["run", "x", "--ttl", "3s", "--", "sh", "-c", "echo up; read w"]);
    holder.stdin(Stdio::piped());
    let mut holder = Running::of(holder);
    holder.await_line("up");
    let mut task =
        place.leasehold(&["once", "y", "--ttl", "3s", "--", "sh", "-c", "echo up; read w"]);
    task.stdin(Stdio::piped());
    let mut task = Running::of(task);
    task.await_line("up");
    let waits = |words: &[&str], object: &str| {
        let waiter = Running::of(place.leasehold(words));
        let reads = || place.gcs.seen().iter().filter(|seen| seen.object.ends_with(object)).count();
        let before = reads();
        until("it has looked", || reads() > before + 4);
        waiter
    };
    let waiting = waits(&["run", "x", "--ttl", "3s", "--", "echo", "mine"], "x");
    let other = waits(&["once", "y", "--ttl", "3s", "--", "echo", "never"], "y");
    let given = place.tokens.given().len();
    place.tokens.revoke();
    until("all have fresh tokens", || place.tokens.given().len() >= given + 4);
    holder.write("end\n");
    task.write("end\n");
    holder.end().expect(0);
    task.end().expect(0);
    assert_eq!(waiting.end().expect(0).out, "mine\n");
    assert_eq!(other.end().expect(0).out, "");
}

/// What fails names the credentials that failed: the file, and whose account it is for.
#[test]
fn what_fails_names_the_credentials() {
    let place = Place::new();
    place.has_file(&place.federation(Some(&place.tokens.impersonation_url(ACCOUNT))));
    place.tokens.set(Mode::Refuse(400, r#"{"error":"invalid_grant"}"#.into()));
    let seen = end(run(&place)).expect(77);
    let file = place.file().display().to_string();
    for word in [file.as_str(), ACCOUNT, "invalid_grant"] {
        assert!(seen.err.contains(word), "{word}: {seen:?}");
    }
    place.tokens.set(Mode::Give);
    place.gcs.accept(|_| false);
    let seen = end(run(&place)).expect(77);
    assert!(seen.err.contains(&file) && seen.err.contains("401"), "{seen:?}");
}
