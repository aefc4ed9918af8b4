//! The end of a segment that is still being received: whether the chain of records ends there, or is broken.
//!
//! A `.partial` ends somewhere, and behind that are zeros; after a crash of the machine also remains of what was
//! received and not yet durable, with zeros in sectors that were lost. So where the chain ends in a sector of zeros, it
//! was never received further, or will be received again. Anything else is damage.

use super::records::Break;
use crate::wal::Lsn;

/// A disk's smallest unit: what a crash keeps or loses as a whole.
const SECTOR: u64 = 512;

/// What is in a file from where its chain of records breaks.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// In which bytes something is wrong.
    from: Lsn,
    to: Lsn,
    /// A sector in there, or what is left of it behind `from`, that is all zeros.
    lost: Option<Lsn>,
    /// Behind the last byte that is not zero.
    end: Lsn,
}

/// What a [`Tail`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The end of what was received.
    Tip,
    /// That, and behind it remains of what was once received up to here.
    Remains(Lsn),
    /// Something else.
    Damage,
}

impl Tail {
    /// Of a file from `from`, where it breaks or, if the broken record begins in an earlier file, where it begins.
    pub(super) fn new(from: Lsn, broken: &Break) -> Self {
        Self { from, to: broken.to.max(from), lost: None, end: from }
    }

    /// Takes the bytes at `at`: all from `from` to the end of the file, in order, in pieces of whole sectors of the
    /// file but for the first.
    pub(super) fn take(&mut self, mut at: Lsn, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let to_boundary = (SECTOR - at.get() % SECTOR) as usize;
            let (sector, behind) = rest.split_at(rest.len().min(to_boundary));
            match sector.iter().rposition(|&byte| byte != 0) {
                Some(last) => self.end = Lsn::new(at.get() + last as u64 + 1),
                None if self.lost.is_none() && at < self.to => self.lost = Some(at),
                None => {}
            }
            at = Lsn::new(at.get() + sector.len() as u64);
            rest = behind;
        }
    }

    /// The judgement.
    pub(super) fn ending(&self) -> Ending {
        match self.lost {
            _ if self.end <= self.from => Ending::Tip,
            Some(lost) if self.end <= lost => Ending::Tip,
            Some(_) => Ending::Remains(self.end),
            None => Ending::Damage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::records::Reason;

    #[test]
    fn zeros_are_an_end_and_other_bytes_are_damage() {
        let check = |from: u64, to: u64, filled: &[(usize, usize)], expected| {
            let mut bytes = [0_u8; 8192];
            for (begin, end) in filled {
                bytes[*begin..*end].fill(1);
            }
            let broken = Break { at: Lsn::new(from), from: Lsn::new(from), to: Lsn::new(to), reason: Reason::Checksum };
            let mut tail = Tail::new(Lsn::new(from), &broken);
            tail.take(Lsn::new(from), &bytes[from as usize..]);
            assert_eq!(tail.ending(), expected, "{from} {to} {filled:?}");
        };
        // Nothing behind; a record that is not whole; one whose end is missing.
        check(1000, 1008, &[(0, 1000)], Ending::Tip);
        check(1000, 5000, &[(0, 3000)], Ending::Tip);
        check(1000, 1100, &[(0, 1099)], Ending::Damage);
        // A sector was lost in it or at its beginning, and others were not.
        check(1000, 5000, &[(0, 2048), (2560, 6000)], Ending::Remains(Lsn::new(6000)));
        check(1000, 1008, &[(0, 1000), (1024, 2000)], Ending::Remains(Lsn::new(2000)));
        // All is there.
        check(1000, 5000, &[(0, 8000)], Ending::Damage);
        check(1000, 1024, &[(0, 8000)], Ending::Damage);
        // Zeros that begin behind what is wrong are no excuse.
        check(1000, 1030, &[(0, 1536)], Ending::Damage);
    }
}
