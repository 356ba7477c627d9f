//! What the library tells, in the types that a service goes on with.

use leasehold::FencingToken;

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
