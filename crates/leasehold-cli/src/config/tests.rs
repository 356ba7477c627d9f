//! Files of py-spanner-mutex: its own, those of careful users, and those with a mistake in them.

use super::*;

/// What its Terraform module writes for its own tests.
const ITS_OWN: &str = r#"{
  "mutex_uuid": "f01cae82-db2d-4ee4-a2bb-28f209126a4f",
  "instance_id": "locks",
  "database_id": "distributed_mutex",
  "table_id": "distributed_mutex",
  "project_id": "acme-prod",
  "mutex_display_name": "test_mutex_not_for_production",
  "mutex_ttl_in_secs": 30,
  "mutex_staleness_in_secs": 300,
  "mutex_wait_time_in_secs": 20,
  "mutex_max_retries": 5
}"#;

/// The four fields that must be there, and what a test adds.
fn with(more: &str) -> Result<Config, String> {
    let comma = if more.is_empty() { "" } else { ", " };
    parse(
        &format!(
            r#"{{"mutex_uuid": "f01cae82-db2d-4ee4-a2bb-28f209126a4f", "instance_id": "i",
            "database_id": "d", "table_id": "t"{comma}{more}}}"#
        ),
        Some("p"),
    )
}

fn refused(more: &str) -> String {
    with(more).expect_err(more)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Somebody has the file and wants the same lock, the same patience and the same limits.
#[test]
fn its_own_file_is_understood() {
    let config = parse(ITS_OWN, None).expect("its own");
    assert_eq!(config.name, "f01cae82-db2d-4ee4-a2bb-28f209126a4f");
    let url = "spanner://acme-prod/locks/distributed_mutex?table=distributed_mutex_leasehold";
    assert_eq!(config.backend, url);
    assert_eq!(config.display_name.as_deref(), Some("test_mutex_not_for_production"));
    assert_eq!((config.deadline, config.ttl), (secs(30), secs(30)));
    assert_eq!((config.wait, config.backoff, config.max_attempts), (secs(100), secs(20), 5));
    assert_eq!(config.valid_for(false), Some(secs(300)));
    assert_eq!(config.valid_for(true), Some(secs(300)));
}

/// A file with only what must be there means its program's defaults: five minutes for the work, fifty
/// looks ten seconds apart, and ten minutes of memory, unless a key tells one release from the next.
#[test]
fn what_is_not_said_is_its_default() {
    let config = with("").expect("the least");
    assert_eq!(config.backend, "spanner://p/i/d?table=t_leasehold");
    assert_eq!(config.display_name, None);
    assert_eq!((config.deadline, config.ttl), (secs(300), secs(30)));
    assert_eq!((config.wait, config.backoff, config.max_attempts), (secs(500), secs(10), 50));
    assert_eq!(config.valid_for(false), Some(secs(600)));
    assert_eq!(config.valid_for(true), None);
    assert_eq!(with(r#""project_id": null, "mutex_max_retries": null"#), Ok(config));
}

/// The time for the work is longer than ours for noticing a death, or shorter; a dead host is never
/// waited for longer than there.
#[test]
fn a_short_ttl_is_ours_too() {
    let ttl = |n: u64| {
        let config = with(&format!(r#""mutex_ttl_in_secs": {n}"#)).expect("allowed");
        (config.deadline, config.ttl)
    };
    assert_eq!(ttl(10), (secs(10), secs(10)));
    assert_eq!(ttl(29), (secs(29), secs(29)));
    assert_eq!(ttl(31), (secs(31), secs(30)));
}

/// Looks ten minutes apart are no reason to leave a failed command alone for so long.
#[test]
fn the_time_after_a_failure_is_bounded() {
    let fields = r#""mutex_wait_time_in_secs": 600, "mutex_max_retries": 2"#;
    let config = with(&format!(r#"{fields}, "mutex_staleness_in_secs": 1201"#)).expect("allowed");
    assert_eq!((config.backoff, config.wait, config.max_attempts), (secs(60), secs(1200), 2));
}

/// Two teams write the same UUID in two ways, and mean one lock.
#[test]
fn every_form_of_a_uuid_is_one_name() {
    let forms = [
        "F01CAE82-DB2D-4EE4-A2BB-28F209126A4F",
        "f01cae82db2d4ee4a2bb28f209126a4f",
        "{f01cae82-db2d-4ee4-a2bb-28f209126a4f}",
        "urn:uuid:f01cae82-db2d-4ee4-a2bb-28f209126a4f",
    ];
    for form in forms {
        let found = parse(&ITS_OWN.replace("f01cae82-db2d-4ee4-a2bb-28f209126a4f", form), None);
        let name = found.map(|config| config.name);
        assert_eq!(name.as_deref(), Ok("f01cae82-db2d-4ee4-a2bb-28f209126a4f"), "{form}");
    }
    let wrong =
        ["", "schema", "f01cae82-db2d-4ee4-a2bb-28f209126a4", "{f01cae82", "é", "-------- "];
    let long = "f01cae82-db2d-4ee4-a2bb-28f209126a4f0";
    let shifted = "f01cae8-2db2d-4ee4-a2bb-28f209126a4f";
    let signed = "+01cae82-db2d-4ee4-a2bb-28f209126a4f";
    for text in wrong.into_iter().chain([long, shifted, signed]) {
        let file = ITS_OWN.replace("f01cae82-db2d-4ee4-a2bb-28f209126a4f", text);
        let why = parse(&file, None).expect_err(text);
        assert!(why.starts_with("mutex_uuid is ") && why.contains("must be a UUID"), "{why}");
    }
}

/// Each number has the least value that it has there, and is a whole number.
#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let fields = [
        ("mutex_ttl_in_secs", 10),
        ("mutex_staleness_in_secs", 11),
        ("mutex_wait_time_in_secs", 1),
        ("mutex_max_retries", 2),
    ];
    for (field, least) in fields {
        let below = (least - 1).to_string();
        let values = [below.as_str(), "-1", "30.0", "1e2", "\"30\"", "true", "[]", "3153600001"];
        for value in values.into_iter().chain(["18446744073709551616"]) {
            let why = refused(&format!("\"{field}\": {value}"));
            let allowed = format!("it must be a whole number from {least} to 3153600000");
            assert!(why.starts_with(&format!("{field} is ")) && why.ends_with(&allowed), "{why}");
        }
    }
}

/// A process that still waits must find the outcome; its program refuses such numbers, and so do we.
#[test]
fn a_staleness_below_the_wait_is_refused() {
    let why = refused(r#""mutex_staleness_in_secs": 500"#);
    assert!(why.starts_with("mutex_staleness_in_secs is 500: it must be more than"), "{why}");
    assert!(why.contains("(300)") && why.contains("(50 × 10 = 500)"), "{why}");
    assert!(with(r#""mutex_staleness_in_secs": 501"#).is_ok());
    let why = refused(r#""mutex_ttl_in_secs": 600"#);
    assert!(why.starts_with("mutex_staleness_in_secs is missing, which means 600"), "{why}");
    let most = r#""mutex_wait_time_in_secs": 3153600000, "mutex_max_retries": 3153600000"#;
    assert!(refused(most).contains("9945192960000000000"), "no overflow");
}

/// A name with a slash, a question mark or a per cent sign would be another path of the URL.
#[test]
fn names_mean_themselves() {
    for field in ["instance_id", "database_id", "project_id"] {
        for text in ["", "a/b", "a?b", "a%2fb", "..", "a b", "é", "a\\nb"] {
            let mut parts = vec![];
            for known in ["instance_id", "database_id", "project_id"] {
                let value = if known == field { text } else { "x" };
                parts.push(format!("\"{known}\": \"{value}\""));
            }
            let file = format!(
                "{{\"mutex_uuid\": \"{}\", \"table_id\": \"t\", {}}}",
                "f".repeat(32),
                parts.join(", ")
            );
            let why = parse(&file, None).expect_err(&file);
            assert!(why.starts_with(&format!("{field} is ")) && !why.contains('\n'), "{why}");
        }
    }
    for text in ["", "a-b", "1a", "_a", "a.b", &"t".repeat(119)] {
        let file = ITS_OWN.replace(r#""table_id": "distributed_mutex""#, &table_is(text));
        assert!(parse(&file, None).expect_err(text).contains("the name of a table"), "{text}");
    }
    let file = ITS_OWN.replace(r#""table_id": "distributed_mutex""#, &table_is(&"t".repeat(118)));
    assert!(parse(&file, None).is_ok());
}

fn table_is(text: &str) -> String {
    format!("\"table_id\": \"{text}\"")
}

/// A typing error in a name is not the default in silence, and what is missing is said by its name.
#[test]
fn unknown_and_missing_fields_are_named() {
    let why = refused(r#""mutex_ttl": 30"#);
    assert!(why.starts_with(r#"there is no field "mutex_ttl"; there are mutex_uuid, "#), "{why}");
    for field in ["mutex_uuid", "instance_id", "database_id", "table_id"] {
        let without: String = ITS_OWN.lines().filter(|line| !line.contains(field)).collect();
        assert_eq!(parse(&without, None), Err(format!("{field} is missing")));
        let null = ITS_OWN.lines().map(|line| match line.split_once(": ") {
            Some((name, _)) if name.contains(field) => format!("{name}: null,"),
            _ => line.to_owned(),
        });
        assert_eq!(parse(&null.collect::<String>(), None), Err(format!("{field} is missing")));
    }
    let why = refused(r#""mutex_display_name": 7"#);
    assert_eq!(why, "mutex_display_name is a number: it must be a text");
}

/// The project is the file's, or else the environment's, or else a question to the user.
#[test]
fn a_project_is_found_or_asked_for() {
    let without: String = ITS_OWN.lines().filter(|line| !line.contains("project_id")).collect();
    let url = |project| parse(&without, project).map(|config| config.backend);
    assert!(url(Some("acme")).is_ok_and(|url| url.starts_with("spanner://acme/locks/")));
    assert!(url(None).is_err_and(|why| why.contains("GOOGLE_CLOUD_PROJECT is not set")));
    assert!(url(Some("a/b")).is_err_and(|why| why.starts_with("GOOGLE_CLOUD_PROJECT is \"a/b\"")));
    assert!(parse(ITS_OWN, Some("other")).is_ok_and(|c| c.backend.contains("acme-prod")));
}

/// The wrong file, half a file, no file: each is said of the file that was named.
#[test]
fn what_is_no_configuration_is_refused() {
    for text in ["", "{", "{} {}", "mutex_uuid: x", "\u{feff}{}"] {
        assert!(parse(text, None).is_err_and(|why| why.starts_with("not JSON: ")), "{text:?}");
    }
    for text in ["[]", "null", "7", "\"{}\""] {
        assert!(parse(text, None).is_err_and(|why| why.contains("not a JSON object")), "{text}");
    }
    let long = format!("{ITS_OWN}{}", " ".repeat(64 * 1024));
    assert!(parse(&long, None).is_err_and(|why| why.contains("65536")));
    let nowhere = Path::new("/nowhere/mutex.json");
    assert!(read(nowhere).is_err_and(|why| why.starts_with("/nowhere/mutex.json: cannot be read")));
    assert!(read(Path::new("/dev/zero")).is_err_and(|why| why.starts_with("/dev/zero: ")));
}
