//! Tokens that end while a lock is held.

use std::process::Stdio;
use std::time::Duration;

use leasehold_servers::tokens::Mode;

use super::place::Place;
use crate::world::{Running, end, until};

/// The library renews a token that lives for less than four minutes after ten seconds.
const LIFE: Duration = Duration::from_secs(12);

/// A command that ends when it reads a line, under a lock.
fn held(place: &Place, ttl: &str) -> Running {
    let script = "echo up; read word; echo $word";
    let mut command = place.leasehold(&["run", "x", "--ttl", ttl, "--", "sh", "-c", script]);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("up");
    run
}

/// A command runs for longer than a token lives. Another token is fetched in time, and the command hears
/// nothing of it.
#[test]
fn a_lock_is_held_beyond_the_life_of_a_token() {
    let place = Place::new();
    place.has_file(&place.login());
    place.tokens.set_life(LIFE);
    let mut run = held(&place, "3s");
    until("a second token is used", || {
        let token = place.tokens.given().get(1).cloned();
        token.is_some() && place.gcs.seen().iter().any(|seen| seen.bearer == token)
    });
    run.write("end\n");
    let seen = run.end().expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("end\n", ""));
    assert!(place.gcs.seen().iter().all(|seen| seen.status != Some(401)), "none was too old");
}

/// Whoever gives out tokens is away for longer than the last one lives. The command is stopped before the
/// lease ends, and what is said names the credentials and not the store, which is well.
#[test]
fn without_a_new_token_the_command_is_stopped_in_time() {
    let place = Place::new();
    place.has_file(&place.login());
    place.tokens.set_life(LIFE);
    let mut run = held(&place, "3s");
    let stdin = run.stdin.take();
    place.tokens.set(Mode::Close);
    let seen = run.end().expect(79);
    drop(stdin);
    assert_eq!(seen.out, "", "it was stopped, not ended by itself");
    assert!(seen.err.contains("cannot get credentials"), "{seen:?}");
    assert!(place.gcs.seen().iter().all(|seen| seen.status != Some(401)), "none was too old");
}

/// An administrator ends all tokens that were given out. The next renewal is refused, and goes through
/// with another token.
#[test]
fn a_token_that_was_withdrawn_is_replaced() {
    let place = Place::new();
    place.has_file(&place.login());
    let mut run = held(&place, "3s");
    place.tokens.revoke();
    until("a second token is used", || {
        let token = place.tokens.given().get(1).cloned();
        token.is_some() && place.gcs.seen().iter().any(|seen| seen.bearer == token)
    });
    run.write("end\n");
    assert_eq!(run.end().expect(0).out, "end\n");
}

/// A login is withdrawn and made again while a lock is held: the new one is found, without a restart.
#[test]
fn a_new_login_is_found() {
    let place = Place::new();
    place.has_file(&place.login());
    let mut run = held(&place, "6s");
    let body = r#"{"error":"invalid_grant"}"#.to_owned();
    place.tokens.set(Mode::Refuse(400, body));
    place.tokens.revoke();
    until("the refusal is met", || place.tokens.asked().len() >= 2);
    let mut login = place.login();
    login["refresh_token"] = "1//secret-second".into();
    place.has_file(&login);
    place.tokens.set(Mode::Give);
    run.write("end\n");
    assert_eq!(run.end().expect(0).out, "end\n");
    let seen = end(place.leasehold(&["run", "-n", "x", "--", "true"])).expect(0);
    assert_eq!(seen.err, "", "it was released");
}
