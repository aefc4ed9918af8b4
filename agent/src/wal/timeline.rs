//! `TimelineId` and `SystemIdentifier`: which history, of which cluster.

use std::{fmt, num::NonZeroU32};

/// The number of a timeline. There is no timeline 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(NonZeroU32);

impl TimelineId {
    /// Where every cluster starts; the only timeline without a history file.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for 0, which PostgreSQL never uses.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `initdb` draws once for a cluster, and all its standbys share (`pg_control_system()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemIdentifier(u64);

impl SystemIdentifier {
    /// The identifier as PostgreSQL stores it.
    pub const fn new(identifier: u64) -> Self {
        Self(identifier)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
