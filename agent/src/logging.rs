//! Logging.
macro_rules! verbose {
    ($($arg:tt)*) => { tracing::info!(target: "wal_agent::verbose", $($arg)*) };
}
pub(crate) use verbose;
