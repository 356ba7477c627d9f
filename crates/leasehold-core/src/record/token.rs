//! The fencing token, and how it is made from a number or a text that somebody else wrote.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The fencing token: rises at every change of holder, for the whole life of a name.
///
/// A record's first token is the store's Unix time in milliseconds, and from there it counts. At
/// less than one change of holder a millisecond a record that was deleted and made anew therefore
/// starts above every earlier token. It stays below 2^53, so JSON tools read it exactly, and an `i64` (the
/// integer of most databases) holds it.
///
/// A number from elsewhere (a column, a header, a command line) becomes a token by [`TryFrom`] or
/// [`FromStr`], which refuse what no token can be:
///
/// ```
/// use leasehold_core::record::{FencingToken, NotAToken};
///
/// let token: FencingToken = "1766000000124".parse()?;
/// assert_eq!(token, FencingToken::try_from(1_766_000_000_124_u64)?);
/// assert_eq!(i64::from(token), 1_766_000_000_124); // for a column
/// assert!(FencingToken::try_from(1_u64 << 53).is_err());
/// # Ok::<(), NotAToken>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl FencingToken {
    /// The largest token.
    pub const MAX: FencingToken = FencingToken((1 << 53) - 1);

    /// The token after this one.
    pub fn next(self) -> FencingToken {
        FencingToken(self.0.saturating_add(1).min(FencingToken::MAX.0))
    }

    /// Whether no record can have a higher one.
    pub fn is_last(self) -> bool {
        self.next() >= FencingToken::MAX
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a number or a text is no [`FencingToken`]. Its `Display` is a sentence for a person.
///
/// ```
/// use leasehold_core::record::FencingToken;
///
/// let error = "+7".parse::<FencingToken>().unwrap_err();
/// assert_eq!(error.to_string(), "a token is a whole number from 0 to 9007199254740991");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NotAToken(());

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token is a whole number from 0 to {}", FencingToken::MAX)
    }
}

impl std::error::Error for NotAToken {}

/// Takes a number as a token. Fails above [`MAX`](FencingToken::MAX); 0 is a token, the lowest.
impl TryFrom<u64> for FencingToken {
    type Error = NotAToken;

    fn try_from(number: u64) -> Result<FencingToken, NotAToken> {
        let token = FencingToken(number);
        if token <= FencingToken::MAX { Ok(token) } else { Err(NotAToken(())) }
    }
}

/// Takes a number of a database's column as a token. Fails below 0 and above
/// [`MAX`](FencingToken::MAX).
impl TryFrom<i64> for FencingToken {
    type Error = NotAToken;

    fn try_from(number: i64) -> Result<FencingToken, NotAToken> {
        u64::try_from(number).map_err(|_| NotAToken(()))?.try_into()
    }
}

/// Reads what `Display` writes: decimal digits and nothing else, up to [`MAX`](FencingToken::MAX).
impl FromStr for FencingToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<FencingToken, NotAToken> {
        // A number's parser would take `+7` too.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits);
        number.ok_or(NotAToken(()))?.try_into()
    }
}

/// The number, for storage that compares tokens.
impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> u64 {
        token.0
    }
}

/// The number, for a database's column: every token up to [`MAX`](FencingToken::MAX) fits. A token that was
/// made by hand above it becomes `i64::MAX` at most, never a negative number.
impl From<FencingToken> for i64 {
    fn from(token: FencingToken) -> i64 {
        i64::try_from(token.0).unwrap_or(i64::MAX)
    }
}
