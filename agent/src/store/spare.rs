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
    fs::{File, Open},
};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// Zeros are written in pieces of this size, so that commits' flushes never queue behind more.
const PIECE: usize = 64 << 10;

static ZEROS: [u8; PIECE] = [0; PIECE];

#[derive(Default)]
pub(super) struct Spare {
    /// Tells the work on this spare from the work on an earlier one.
    number: u64,
    state: State,
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
        under_way: bool,
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
    number: u64,
    file: Arc<dyn File>,
    from: u64,
    upto: u64,
    /// Whether the file is whole then, and shall be durable.
    last: bool,
}

impl Spare {
    /// The one rule of when a spare is made: while commits wait for our flushes and we have caught up with the server, at
    /// twice the pace of the open segment. In a catch-up each byte is written once.
    pub(super) fn due(&mut self, directory: &Directory, claim: &Claim, situation: &Situation) -> Option<Fill> {
        let size = claim.identity.segment_size.bytes();
        if situation.mode != FlushMode::Synchronous || !situation.caught_up {
            return None;
        }
        if matches!(self.state, State::Absent) {
            self.number += 1;
            self.state = match create(directory, claim.mode, size) {
                Ok(file) => State::Growing { file, filled: 0, under_way: false },
                Err(error) => {
                    tracing::debug!("no segment is prepared: {error}");
                    State::GivenUp
                }
            };
        }
        let State::Growing { file, filled, under_way: under_way @ false } = &mut self.state else { return None };
        if *filled >= size.min(2 * situation.offset) {
            return None;
        }
        *under_way = true;
        let upto = size.min(*filled + PIECE as u64);
        Some(Fill { number: self.number, file: file.clone(), from: *filled, upto, last: upto == size })
    }

    /// A piece has been written, or not.
    pub(super) fn filled(&mut self, directory: &Directory, number: u64, result: io::Result<u64>) {
        let State::Growing { filled, under_way, .. } = &mut self.state else { return };
        if number != self.number {
            return;
        }
        match result {
            Ok(upto) => (*filled, *under_way) = (upto, false),
            Err(error) => {
                tracing::debug!("no segment is prepared: {error}");
                self.remove(directory);
                self.state = State::GivenUp;
            }
        }
    }

    /// The file, if it is whole and durable.
    pub(super) fn ready(&self, claim: &Claim) -> Option<Arc<dyn File>> {
        match &self.state {
            State::Growing { file, filled, .. } if *filled == claim.identity.segment_size.bytes() => Some(file.clone()),
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
            self.remove(directory);
        }
        self.state = State::Absent;
    }

    fn remove(&self, directory: &Directory) {
        // One that stays is removed by the next agent.
        let _ = directory.fs.remove(SPARE);
    }
}

impl Fill {
    pub(super) fn run(self) -> Job {
        let Self { number, upto, .. } = self;
        Job::Filled { number, result: self.write().map(|()| upto) }
    }

    fn write(&self) -> io::Result<()> {
        let len = self.upto - self.from;
        let zeros = &ZEROS[..usize::try_from(len).unwrap_or(PIECE).min(PIECE)];
        self.file.write_at(&mut [IoSlice::new(zeros)], self.from)?;
        self.file.start_write_back(self.from, len);
        if self.last { self.file.sync() } else { Ok(()) }
    }
}

fn create(directory: &Directory, mode: u32, size: u64) -> io::Result<Arc<dyn File>> {
    match directory.fs.remove(SPARE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = directory.fs.open(SPARE, Open::Create(mode))?;
    match file.reserve(size) {
        // Writing its zeros reserves it as well.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(error) => {
            let _ = directory.fs.remove(SPARE);
            Err(error)
        }
        Ok(()) => Ok(file),
    }
}
