//! Waiting for a condition: bounded, and with an error that says what did not come.

use anyhow::{Result, bail};
use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Far more than anything takes that works: only a failing test waits so long.
pub const DEADLINE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

/// How often something is looked at whose moment is measured.
const CLOSE: Duration = Duration::from_millis(1);

/// What a condition looks like when it is asked.
#[derive(Debug)]
pub enum Poll<T> {
    /// It holds; this comes with it.
    Ready(T),
    /// It does not hold yet; the text says how far it is, for the error.
    Pending(String),
}

/// Asks for `condition` every 10 ms until it holds, fails, or `deadline` has passed.
///
/// # Errors
/// The condition's own error at once; or a sentence with `what`, `deadline` and how far the condition was.
pub async fn until<T>(
    what: impl Display,
    deadline: Duration,
    condition: impl AsyncFnMut() -> Result<Poll<T>>,
) -> Result<T> {
    poll(POLL, what, deadline, condition).await
}

/// [`until`], but asks every millisecond: for a moment that is measured.
///
/// # Errors
/// As [`until`].
pub async fn closely<T>(
    what: impl Display,
    deadline: Duration,
    condition: impl AsyncFnMut() -> Result<Poll<T>>,
) -> Result<T> {
    poll(CLOSE, what, deadline, condition).await
}

async fn poll<T>(
    every: Duration,
    what: impl Display,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<Poll<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = String::from("nothing was heard of it");
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A condition that is never answered (it may ask a frozen server) must not be waited for either.
        match timeout_at(end, condition()).await {
            Ok(Ok(Poll::Ready(value))) => return Ok(value),
            Ok(Ok(Poll::Pending(state))) => last = state,
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} in vain for {what}: {last}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_did_not_come_is_said() {
        let never =
            until("snow", Duration::from_millis(20), async || Ok(Poll::<()>::Pending("still rain".into()))).await;
        assert_eq!(never.unwrap_err().to_string(), "waited 20ms in vain for snow: still rain");
    }

    #[tokio::test]
    async fn silence_is_not_waited_for() {
        let silent = until("an answer", Duration::from_millis(20), std::future::pending::<Result<Poll<()>>>).await;
        let expected = "waited 20ms in vain for an answer: nothing was heard of it";
        assert_eq!(silent.unwrap_err().to_string(), expected);
    }

    #[tokio::test]
    async fn what_comes_later_is_returned() {
        let mut asked = 0;
        let third = until("three", DEADLINE, async || {
            asked += 1;
            Ok(if asked == 3 { Poll::Ready(asked) } else { Poll::Pending(asked.to_string()) })
        });
        assert_eq!(third.await.unwrap(), 3);
    }
}
