//! The identity record: to which cluster a directory belongs, as three lines of text.

use crate::wal::{SegmentSize, SystemIdentifier};
use std::fmt;

/// The cluster whose WAL is kept. It never changes for a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn by `initdb`.
    pub system: SystemIdentifier,
    /// Chosen by `initdb`.
    pub segment_size: SegmentSize,
}

const FORMAT: &str = "wal-agent identity 1";

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}")?;
        writeln!(f, "system-identifier {}", self.system)?;
        writeln!(f, "segment-size {}", self.segment_size.bytes())
    }
}

impl Identity {
    /// Bytes that are read of a record at most: far more than one has.
    pub(super) const MAX_LEN: usize = 4096;

    /// Reads a record; the error says what is wrong with it.
    pub(super) fn parse(record: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(record).map_err(|_| "it is not text".to_owned())?;
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return Err(format!("its first line is not \"{FORMAT}\""));
        }
        let mut number = |key: &str| {
            let value = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse::<u64>().ok());
            value.ok_or_else(|| format!("it has no \"{key}\""))
        };
        let system = SystemIdentifier::new(number("system-identifier")?);
        let segment_size = SegmentSize::new(number("segment-size")?).map_err(|error| error.to_string())?;
        Ok(Self { system, segment_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(system: u64, shift in 20_u32..=30) {
            let segment_size = SegmentSize::new(1 << shift).expect("in range");
            let identity = Identity { system: SystemIdentifier::new(system), segment_size };
            prop_assert_eq!(Identity::parse(identity.to_string().as_bytes()), Ok(identity));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Identity::parse(&bytes);
        }
    }

    #[test]
    fn a_torn_record_is_refused() {
        let whole = Identity { system: SystemIdentifier::new(1), segment_size: SegmentSize::DEFAULT }.to_string();
        for end in 0..whole.len() - "16777216\n".len() {
            assert!(Identity::parse(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
