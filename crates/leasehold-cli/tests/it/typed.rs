//! What is typed and what the environment says: a lock inside itself, stores that nobody else sees, variables
//! in place of options, and what is said of a mistake.

use crate::world::{World, end};

/// A command asks for the lock that it runs under, directly, further down or through a shell that took it.
/// It is told so at once, and does not wait for its own parent.
#[test]
fn a_lock_inside_itself_is_refused_at_once() {
    let world = World::new();
    let hold = r#"code=$(leasehold acquire a) && eval "${code:-false}" || exit 1; "#;
    let refused = [
        "leasehold run a -- leasehold run a -- true",
        "leasehold run a -- leasehold run -w 5m a -- true",
        "leasehold run a -- leasehold run b -- leasehold run a -- true",
        "leasehold run a -- leasehold once o --max-attempts 1 -- leasehold run a -- true",
        "leasehold once p --max-attempts 1 -- leasehold once p -- true",
        "leasehold run a -- leasehold wait a",
        "leasehold run a -- sh -c 'leasehold acquire a'",
        &format!("{hold} leasehold run a -- true"),
        &format!("{hold} leasehold run b -- leasehold run a -- true"),
        "leasehold acquire a --pid $$ --json >lock; leasehold run a -- true",
    ];
    for text in refused {
        let seen = world.sh(text).expect(64);
        assert!(seen.err.contains("wait for itself for ever"), "{text}: {seen:?}");
    }
    let allowed = [
        // It does not wait, and is told who holds it.
        ("leasehold run a -- leasehold run -n a -- true", 75),
        ("leasehold run a -- leasehold run -n -E 3 a -- true", 3),
        ("leasehold once q --max-attempts 1 -- leasehold once -n q -- true", 75),
        // Another store, and a lock that was released: only its traces are in the environment.
        ("leasehold run a -- leasehold --backend file://$PWD/other run a -- true", 0),
        (&format!("{hold} leasehold release; leasehold run a -- true"), 0),
    ];
    for (text, code) in allowed {
        let seen = world.sh(text).expect(code);
        assert!(!seen.err.contains("for ever"), "{text}: {seen:?}");
    }
}

/// In a CI job no store is named: the lock is a file that no other job sees, and one line says so. Where one
/// is named, or quiet is wanted, none does.
#[test]
fn a_store_that_nobody_else_sees_is_told_in_a_ci_job() {
    let world = World::new();
    let with = |text: &str| {
        let mut script = world.script("sh", text);
        script.env_remove("LEASEHOLD_BACKEND").env("XDG_STATE_HOME", world.path("state"));
        end(script)
    };
    for text in [
        "CI=true leasehold run a -- true",
        "KUBERNETES_SERVICE_HOST=10.0.0.1 leasehold once o -- true",
        "GITHUB_ACTIONS=true leasehold acquire z >/dev/null",
        "CI=true leasehold run a -- leasehold run b -- true",
    ] {
        let seen = with(text).expect(0);
        assert_eq!(seen.err.matches("no store is named").count(), 1, "{text}: {seen:?}");
        assert!(seen.err.contains("LEASEHOLD_BACKEND"), "{text}: {seen:?}");
        assert_eq!(seen.err.lines().count(), 1, "{text}: {seen:?}");
    }
    for text in [
        "CI=true leasehold run -q a -- true",
        "CI=true leasehold --backend file://$PWD/store run a -- true",
        "CI=true LEASEHOLD_BACKEND=file://$PWD/store leasehold run a -- true",
    ] {
        assert_eq!(with(text).expect(0).err, "", "{text}");
    }
}

/// Who needs a lock among hosts says so, and a store of one machine is refused before anything is made.
#[test]
fn a_store_can_be_required_to_be_shared() {
    let world = World::new();
    for text in [
        "leasehold run --require-shared a -- touch ran",
        "LEASEHOLD_REQUIRE_SHARED=1 leasehold run a -- touch ran",
        "LEASEHOLD_REQUIRE_SHARED=1 leasehold once a -- touch ran",
        "LEASEHOLD_REQUIRE_SHARED=1 leasehold acquire a >/dev/null",
        "leasehold acquire --require-shared a >/dev/null",
        "leasehold --require-shared --backend memory:// run a -- touch ran",
        "unset LEASEHOLD_BACKEND; XDG_STATE_HOME=$PWD/store leasehold run --require-shared a -- id",
    ] {
        let seen = world.sh(text).expect(64);
        assert!(seen.err.contains("this machine or container only"), "{text}: {seen:?}");
    }
    assert!(!world.path("store").exists() && !world.path("ran").exists());
    world.sh("LEASEHOLD_REQUIRE_SHARED=0 leasehold run a -- true").expect(0);
    let shared =
        "leasehold run --require-shared --backend $LEASEHOLD_BACKEND?network-fs=allow a -- true";
    world.sh(shared).expect(0);
}

/// Options come from variables where a command line cannot be changed. What is typed has precedence, and a
/// mistake is told by the variable's name.
#[test]
fn variables_stand_for_options() {
    let world = World::new();
    let status = "-- sh -c 'leasehold status a --json'";
    let seen =
        world.sh(&format!("LEASEHOLD_TTL=1m30s LEASEHOLD_LABEL=me leasehold run a {status}"));
    let seen = seen.expect(0);
    assert!(seen.out.contains("\"ttl_ms\": 90000"), "{seen:?}");
    assert!(seen.out.contains("\"label\": \"me\""), "{seen:?}");
    let seen = world.sh(&format!("LEASEHOLD_TTL=9s leasehold run --ttl 20s a {status}")).expect(0);
    assert!(seen.out.contains("\"ttl_ms\": 20000"), "{seen:?}");
    let mut holder = world.start(&["run", "a", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    for command in ["run a -- true", "acquire a", "run -n a -- true"] {
        world.sh(&format!("LEASEHOLD_WAIT=0.1 leasehold {command}")).expect(75);
        let seen = world.sh(&format!("LEASEHOLD_TTL=soon leasehold {command}")).expect(64);
        assert!(seen.err.contains("LEASEHOLD_TTL: \"soon\" is not a time"), "{seen:?}");
    }
    world.sh("LEASEHOLD_WAIT=0.1 leasehold wait a").expect(75);
    holder.finish();
}

/// What was nearly right is answered with what is.
#[test]
fn mistakes_are_answered_with_what_is_right() {
    let world = World::new();
    for (text, code, hint) in [
        ("run a echo hello", 64, "put `--` before the command: leasehold run a -- echo hello"),
        ("run a -- 'echo hi | cat'", 127, "a line for a shell is run by: -- sh -c"),
        ("--backend /tmp/x status a", 64, "did you mean \"file:///tmp/x\"?"),
        ("--backend ./x status a", 64, "/x\"?"),
        ("--backend s3://b/p status a", 64, "there is no backend \"s3://\" in this version"),
        ("lock a", 64, "instead of `lock` there is `leasehold run NAME -- CMD`"),
    ] {
        let seen = world.sh(&format!("leasehold {text}")).expect(code);
        assert!(seen.err.contains(hint), "{text}: {seen:?}");
    }
    world.run(&["run", "a", "--", "true"]).expect(0);
    assert!(world.run(&["ls"]).expect(0).out.contains("a "));
    world.run(&["force-unlock", "a", "--reason", "test"]).expect(0);
    let unlock = "leasehold unlock && leasehold run -n a -- true";
    world.sh(&format!(r#"code=$(leasehold acquire a) && eval "$code"; {unlock}"#)).expect(0);
}

/// Help is read in groups, with colour on a terminal alone. Who types the name of the program only is told
/// which commands there are, and not the whole help.
#[test]
fn help_has_groups_and_a_word_too_few_is_answered_shortly() {
    let world = World::new();
    let help = world.run(&["run", "--help"]).expect(0).out;
    for heading in ["Lease:", "Waiting:", "Messages:", "Store:"] {
        assert!(help.contains(&format!("\n{heading}\n")), "{heading}: {help}");
    }
    assert!(!help.contains('\u{1b}'), "{help}");
    let alone = world.run(&[]).expect(64);
    assert!(alone.err.contains("try '--help'") && alone.err.lines().count() < 10, "{alone:?}");
}
