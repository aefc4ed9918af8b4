//! `Lsn`: a byte position in the write-ahead log.

use std::{fmt, str::FromStr};

/// A log sequence number: the position of a byte in the WAL, counted from the beginning of the cluster's log.
///
/// Its only text form is PostgreSQL's `pg_lsn`: two hexadecimal halves, `16/B374D848`.
/// `0/0` is what PostgreSQL calls *invalid*: no WAL ever stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// The text is not an LSN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an LSN (two hexadecimal numbers of up to 8 digits, separated by a slash)")]
pub struct ParseLsnError(String);

impl Lsn {
    /// PostgreSQL's `InvalidXLogRecPtr`, "no position".
    pub const INVALID: Self = Self(0);

    /// The position `bytes` from the beginning of the log.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes from the beginning of the log.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is a position at all, not `0/0`.
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The position `bytes` further on, or `None` beyond the end of the 64-bit log.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// How many bytes this position lies beyond `earlier`; 0 if it does not.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let plausible = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plausible.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_value_are_the_same_thing(bytes: u64) {
            let lsn = Lsn::new(bytes);
            prop_assert_eq!(lsn.to_string().parse::<Lsn>(), Ok(lsn));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            let _ = text.parse::<Lsn>();
        }
    }

    #[test]
    fn postgresql_writes_and_reads_the_same_texts() {
        assert_eq!("16/B374D848".parse(), Ok(Lsn::new(0x16_B374_D848)));
        assert_eq!("0/0".parse(), Ok(Lsn::INVALID));
        // PostgreSQL 19 pads the lower half.
        assert_eq!("0/01400000".parse(), Ok(Lsn::new(0x0140_0000)));
        for bad in ["", "/", "0", "0/", "/0", "0/1zz", "0/1 ", "+0/1", "0/123456789", "g/0", "0/0/0"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?}");
        }
    }
}
