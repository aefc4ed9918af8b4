//! The server's version, and what follows from it.

use std::{fmt, str::FromStr};

/// The version of a server, from its `server_version` parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    major: u32,
    /// As the server writes it, without the packager's addition.
    text: String,
}

/// How well this agent knows a major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Below 13.
    TooOld,
    /// 13 to 18.
    Full,
    /// Above 18: nothing is known against it.
    Newer,
}

/// The text is no server version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no server version")]
pub struct ParseVersionError(String);

impl Version {
    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether this agent can stream from it.
    pub fn support(&self) -> Support {
        match self.major {
            0..=12 => Support::TooOld,
            13..=18 => Support::Full,
            _ => Support::Newer,
        }
    }

    /// Whether READ_REPLICATION_SLOT, and the parenthesised options of CREATE_REPLICATION_SLOT, are known (15).
    pub(super) fn reads_slots(&self) -> bool {
        self.major >= 15
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = text.split_whitespace().next().unwrap_or_default();
        let digits = version.find(|c: char| !c.is_ascii_digit()).map_or(version, |end| &version[..end]);
        let major = digits.parse().map_err(|_| ParseVersionError(text.chars().take(40).collect()))?;
        Ok(Self { major, text: version.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_their_version_in_many_ways() {
        let check = |text: &str, major, support| {
            let version: Version = text.parse().expect(text);
            assert_eq!((version.major(), version.support()), (major, support), "{text}");
        };
        check("15.18 (Debian 15.18-0+deb12u1)", 15, Support::Full);
        check("12.22", 12, Support::TooOld);
        check("9.6.24", 9, Support::TooOld);
        check("13.23", 13, Support::Full);
        check("18.4", 18, Support::Full);
        check("19beta1", 19, Support::Newer);
        check("20devel", 20, Support::Newer);
        for bad in ["", "x", " ", "99999999999"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
