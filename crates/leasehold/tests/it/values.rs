//! What the library tells, in the types that a service goes on with.

use std::time::{Duration, UNIX_EPOCH};

use leasehold::{FencingToken, Ran};

/// A service keeps the token of the last writer in a column of its database and in a header. It comes back
/// as the same token, and what no token can be is refused in words.
#[test]
fn a_token_goes_through_a_column_and_a_header() {
    for number in [0, 7, 1_766_000_000_124, FencingToken::MAX.0] {
        let token = FencingToken::try_from(number).expect("a token");
        assert_eq!(u64::from(token), number);
        assert_eq!(FencingToken::try_from(i64::from(token)), Ok(token));
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    let none = FencingToken::MAX.0 + 1;
    for refused in [FencingToken::try_from(none), FencingToken::try_from(-1_i64)] {
        let words = refused.expect_err("it is none").to_string();
        assert_eq!(words, "a token is a whole number from 0 to 9007199254740991");
    }
    for text in ["", " 7", "7 ", "+7", "-7", "0x7", "7.0", "9007199254740992", "٧"] {
        assert!(text.parse::<FencingToken>().is_err(), "{text:?}");
    }
    assert_eq!(i64::from(FencingToken(u64::MAX)), i64::MAX);
}

/// A service shows on its own page since when a lock is held, who held it before and what became of a
/// migration, in the time type that its other code uses.
#[tokio::test]
async fn moments_are_of_the_standard_library() -> Result<(), leasehold::Error> {
    let moment = |ms| UNIX_EPOCH + Duration::from_millis(ms);
    let client = leasehold::connect("memory://").await?;
    client.mutex("x").acquire().await?.release().await?;
    let _guard = client.mutex("x").acquire().await?;
    let status = client.status("x").await?;
    let mut holder = status.holder.expect("it is held");
    assert_eq!(holder.since(), moment(holder.since_unix_ms));
    let past = status.past.expect("it was held before");
    assert_eq!(past.at(), moment(past.unix_ms));
    // A stranger's record may say anything that the format allows, and the field is the user's to set.
    for unix_ms in [(1 << 53) - 1, u64::MAX] {
        holder.since_unix_ms = unix_ms;
        assert_eq!(holder.since(), moment(253_402_300_799_999));
    }

    let once = client.once("y").with_max_attempts(1);
    let Ran::GaveUp(failed) = once.run(async |_| Err::<(), _>("no such table")).await? else {
        panic!("it has failed")
    };
    assert_eq!(failed.at(), Some(moment(failed.at_unix_ms)));
    let ending = client.status("y").await?.outcome.and_then(|it| it.ending).expect("it ended");
    assert_eq!(failed.at(), Some(ending.at()));
    let (first, second) = (client.once("z").keyed("1"), client.once("z").keyed("2"));
    drop(first.run(async |_| Ok::<_, String>(())).await?);
    let Ran::Before(done) = first.run(async |_| Ok::<_, String>(())).await? else {
        panic!("it was done before")
    };
    assert_eq!(done.at(), Some(moment(done.at_unix_ms)));
    drop(second.run(async |_| Ok::<_, String>(())).await?);
    let Ran::Before(done) = first.run(async |_| Ok::<_, String>(())).await? else {
        panic!("it was done before")
    };
    assert_eq!(done.at(), None);
    Ok(())
}
