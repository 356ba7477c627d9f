//! `leasehold demo`, which others will believe.

use serde_json::Value;

use super::world;

/// Somebody wants to see it on their store: three processes with four clients each, two rounds. Exactly
/// one line is written each time, into a file that has other lines already, and the account for
/// programs says what the file shows.
#[test]
fn one_line_each_round() {
    let Some(world) = world() else { return };
    world.write("lines", "a line of somebody else's\n");
    let words = ["demo", "--processes", "3", "--clients", "4", "--rounds", "2", "--for", "50ms"];
    let words = [&words[..], &["--output", "lines", "--json"]].concat();
    let seen = world.run(&words).expect(0);
    let value: Value = serde_json::from_str(&seen.out).expect("JSON");
    assert_eq!((&value["as_promised"], &value["told"]), (&true.into(), &22.into()), "{value}");
    assert_eq!((&value["lines"], &value["clients"]), (&2.into(), &12.into()), "{value}");
    let text = world.read("lines");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, round) in lines.iter().zip([1, 2]) {
        let told = &value["rounds"][round - 1];
        let winner = told["winner"].as_str().expect("a winner");
        let wanted = format!("round {round}: written by {winner}, token ");
        assert!(line.contains(&wanted), "{line:?}, and not {wanted:?}");
        assert!(told["worst_ms"].as_f64() >= told["median_ms"].as_f64(), "{told}");
    }
}

/// A demo for people fits on a screen, controls no terminal that is none, and a second one is not
/// troubled by the first: both begin at nothing.
#[test]
fn a_second_demo_begins_anew() {
    let Some(world) = world() else { return };
    for _ in 0..2 {
        let words = ["demo", "--processes", "2", "--clients", "2", "--for", "0"];
        let seen = world.run(&words).expect(0);
        assert!(seen.out.contains("exactly one line was written"), "{seen:?}");
        assert!(seen.out.contains("3 of 3 others"), "{seen:?}");
        assert!(seen.out.lines().count() < 12 && !seen.out.contains('\u{1b}'), "{seen:?}");
    }
}
