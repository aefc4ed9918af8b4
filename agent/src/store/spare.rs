//! The spare: a file for the next segment, filled with zeros before it is needed.
//!
//! A flush of a few pages is some 1.5 times faster where the blocks have been written before than in space that is merely
//! reserved: nothing but the data has to reach the disk. The spare has a name that no WAL tool takes for WAL, there is at
//! most one, and it gets a segment's name only when the segment before is complete and durable. A spare that cannot be
//! had is no error: the next segment is then made as in a catch-up.

use super::{
    Claim, FlushMode,
    directory::{Directory, SPARE},
    engine::Job,
    fs::{File, FileSystem, Open},
};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// Zeros are written in pieces of this size, so that commits' flushes never queue behind more.
pub(super) const PIECE: usize = 64 << 10;

static ZEROS: [u8; PIECE] = [0; PIECE];

#[derive(Default)]
pub(super) struct Spare {
    state: State,
    /// A piece is being written; whether for the spare that there is, or for one that is given up. One that hangs on the disk
    /// is waited for: no second one is begun.
    under_way: Option<bool>,
}

#[derive(Default)]
enum State {
    #[default]
    Absent,
    /// It failed, and is not tried again for this segment.
    GivenUp,
    Growing {
        file: Arc<dyn File>,
        filled: u64,
    },
}

/// What the rule looks at.
pub(super) struct Situation {
    pub(super) mode: FlushMode,
    /// Whether the last bytes received were the last that the server had.
    pub(super) caught_up: bool,
    /// How far the open segment is written.
    pub(super) offset: u64,
}

/// The zeros that are written next.
pub(super) struct Fill {
    /// `None`: it is yet to be made.
    file: Option<Arc<dyn File>>,
    mode: u32,
    size: u64,
    from: u64,
}

/// A file, and how much of it is filled.
pub(super) type Filled = io::Result<(Arc<dyn File>, u64)>;

impl Spare {
    /// The one rule of when a spare is made: while commits wait for our flushes and we have caught up with the server, at
    /// twice the pace of the open segment. In a catch-up each byte is written once.
    pub(super) fn due(&mut self, claim: &Claim, situation: &Situation) -> Option<Fill> {
        let size = claim.identity.segment_size.bytes();
        if situation.mode != FlushMode::Synchronous || !situation.caught_up || self.under_way.is_some() {
            return None;
        }
        let (file, from) = match &self.state {
            State::Absent => (None, 0),
            State::Growing { file, filled } => (Some(file.clone()), *filled),
            State::GivenUp => return None,
        };
        if from >= size.min(2 * situation.offset) {
            return None;
        }
        self.under_way = Some(true);
        Some(Fill { file, mode: claim.mode, size, from })
    }

    /// A piece has been written, or not.
    pub(super) fn filled(&mut self, directory: &Directory, filled: Filled) {
        let wanted = self.under_way.take() == Some(true);
        self.state = match filled {
            Ok((file, filled)) if wanted => State::Growing { file, filled },
            Err(error) if wanted => {
                tracing::debug!("no segment is prepared: {error}");
                remove(directory);
                State::GivenUp
            }
            // It may have been made after it was discarded.
            _ => return remove(directory),
        };
    }

    /// The file, if it is whole and durable.
    pub(super) fn ready(&self, claim: &Claim) -> Option<Arc<dyn File>> {
        match &self.state {
            State::Growing { file, filled } if *filled == claim.identity.segment_size.bytes() => Some(file.clone()),
            _ => None,
        }
    }

    /// The file has become a segment, or another one was opened: the next spare is another file.
    pub(super) fn used(&mut self) {
        self.state = State::Absent;
    }

    /// A segment was opened without it: a spare that is growing is for the one after, a failure is forgotten.
    pub(super) fn passed_over(&mut self) {
        if matches!(self.state, State::GivenUp) {
            self.state = State::Absent;
        }
    }

    /// No spare is needed any more.
    pub(super) fn discard(&mut self, directory: &Directory) {
        if matches!(self.state, State::Growing { .. }) {
            remove(directory);
        }
        self.state = State::Absent;
        self.under_way = self.under_way.map(|_wanted| false);
    }
}

impl Fill {
    pub(super) fn run(self, fs: &dyn FileSystem) -> Job {
        Job::Filled(self.write(fs))
    }

    fn write(self, fs: &dyn FileSystem) -> Filled {
        let file = match self.file {
            Some(file) => file,
            None => create(fs, self.mode, self.size)?,
        };
        let upto = self.size.min(self.from + PIECE as u64);
        let zeros = &ZEROS[..usize::try_from(upto - self.from).unwrap_or(PIECE).min(PIECE)];
        file.write_at(&mut [IoSlice::new(zeros)], self.from)?;
        file.start_write_back(self.from, upto - self.from)?;
        if upto == self.size {
            file.sync()?;
        }
        Ok((file, upto))
    }
}

fn create(fs: &dyn FileSystem, mode: u32, size: u64) -> io::Result<Arc<dyn File>> {
    match fs.remove(SPARE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.open(SPARE, Open::Create(mode))?;
    match file.reserve(size) {
        // Writing its zeros reserves it as well.
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(file),
    }
}

fn remove(directory: &Directory) {
    // One that stays is removed by the next agent.
    let _ = directory.fs.remove(SPARE);
}
