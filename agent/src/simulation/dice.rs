//! Chance that repeats itself: everything that a run leaves open is decided here, by its seed.

use proptest::{
    prelude::RngExt,
    test_runner::{RngAlgorithm, TestRng},
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

#[derive(Clone)]
pub(super) struct Dice(TestRng);

impl Dice {
    /// The dice of `whom` in the run of `seed`: none disturbs another's.
    pub(super) fn new(seed: u64, whom: &str) -> Self {
        let mut bytes = [0; 16];
        for (half, part) in bytes.chunks_mut(8).enumerate() {
            let mut hasher = DefaultHasher::new();
            (seed, whom, half).hash(&mut hasher);
            part.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        Self(TestRng::from_seed(RngAlgorithm::XorShift, &bytes))
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..=to)
    }

    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Up to `most`; short ones are as likely as long ones.
    pub(super) fn duration(&mut self, most: Duration) -> Duration {
        let bits = u64::from(u128::BITS - most.as_micros().leading_zeros());
        let end = 1 << self.between(0, bits);
        Duration::from_micros(self.below(end)).min(most)
    }
}
