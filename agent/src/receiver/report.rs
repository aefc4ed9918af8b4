//! What a person is told about trouble: each state once, a reminder now and then, and when it is over.

use super::Trouble;
use crate::{
    verbose,
    wal::{Lsn, TimelineId},
};
use std::time::Duration;
use tokio::time::Instant;

/// A trouble that stays is told again after this.
const REMINDER: Duration = Duration::from_secs(300);

/// Remembers what was told last.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    /// The trouble that is not known to be over, and when it was last told.
    current: Option<(String, Instant)>,
}

impl Reporter {
    /// A connection ended with `trouble`; the next attempt follows after `wait`.
    pub(super) fn trouble(&mut self, trouble: &Trouble, wait: Duration) {
        let text = trouble.to_string();
        let again = if wait.is_zero() {
            "disconnected; trying again".to_owned()
        } else {
            format!("disconnected; waiting {:.1} seconds to try again", wait.as_secs_f64())
        };
        if !self.is_news(&text, Instant::now()) {
            verbose!("{text}");
            verbose!("{again}");
            return;
        }
        if trouble.needs_a_person() {
            tracing::error!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        tracing::info!("{again}");
    }

    /// WAL streams as it did before the trouble.
    pub(super) fn streaming(&mut self, at: Lsn, timeline: TimelineId) {
        if self.current.take().is_some() {
            tracing::info!("streaming again at {at} (timeline {timeline})");
        }
    }

    /// Whether a trouble was told and not its end.
    pub(super) fn is_troubled(&self) -> bool {
        self.current.is_some()
    }

    /// The next trouble is another one, even if it reads the same.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let known = self.current.as_ref().is_some_and(|(told, at)| told == text && now < *at + REMINDER);
        if !known {
            self.current = Some((text.to_owned(), now));
        }
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_once_and_again_after_a_while() {
        let (mut reporter, now) = (Reporter::default(), Instant::now());
        let minutes = |number: u64| now + Duration::from_secs(60 * number);
        assert!(reporter.is_news("refused", now));
        assert!(!reporter.is_news("refused", minutes(4)));
        assert!(reporter.is_news("refused", minutes(5)));
        assert!(!reporter.is_news("refused", minutes(6)));
        assert!(reporter.is_news("no route", minutes(6)));
        assert!(reporter.is_news("refused", minutes(6)));
        reporter.streaming(Lsn::new(1), TimelineId::FIRST);
        assert!(reporter.is_news("refused", minutes(6)), "it was over in between");
    }
}
