//! Log lines on stderr: for people in `pg_receivewal`'s form, or as JSON. It formats events and decides which are
//! shown; what is worth an event is decided where it happens.
//!
//! Text from a server cannot forge or hide lines on a terminal: control characters are escaped, in fields newlines too.
//! A line that stderr does not take is lost: nothing may stop because nobody listens. Spans are not shown.

mod format;

use std::io::{self, IsTerminal, Write};

use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::{Context, SubscriberExt},
};

/// The target of events that are shown with `-v` only. Use [`verbose!`](crate::verbose).
pub const VERBOSE: &str = "wal_agent::verbose";

/// Logs what `pg_receivewal` says with `-v` only, at level INFO: `verbose!("finished segment at {lsn}")`.
#[macro_export]
macro_rules! verbose {
    ($($event:tt)+) => { ::tracing::info!(target: $crate::logging::VERBOSE, $($event)+) };
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// How often `-v` was given: 0 shows INFO, 1 also [`VERBOSE`], 2 DEBUG, 3 and more TRACE.
    pub verbosity: u8,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `pg_receivewal: error: message (key=value)`
    #[default]
    Text,
    /// `{"timestamp":"…","level":"error","message":"…","key":"value"}`
    Json,
}

/// Begins logging to stderr, for the whole program. Only the first call counts.
///
/// Messages are coloured as PostgreSQL's PG_COLOR says: `always`, or `auto` where stderr is a terminal.
pub fn init(program: &str, logging: &Logging) {
    let color = match std::env::var("PG_COLOR").as_deref() {
        Ok("always") => true,
        Ok("auto") => io::stderr().is_terminal(),
        _ => false,
    };
    let write = |line: &str| {
        let _ = io::stderr().lock().write_all(line.as_bytes());
    };
    let printer = Printer { program: program.to_owned(), logging: *logging, color, write };
    let _ = tracing::subscriber::set_global_default(Registry::default().with(printer));
}

/// Turns events into lines and hands each to `write`, newline included.
struct Printer<W> {
    program: String,
    logging: Logging,
    color: bool,
    write: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for Printer<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_shown(self.logging.verbosity, *metadata.level(), metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.logging.verbosity {
            0 | 1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = format::Line::of(event);
        (self.write)(&match self.logging.format {
            LogFormat::Text => line.text(&self.program, self.color),
            LogFormat::Json => line.json(&now()),
        });
    }
}

/// Whether an event is shown.
fn is_shown(verbosity: u8, level: Level, target: &str) -> bool {
    match verbosity {
        0 => level <= Level::INFO && target != VERBOSE,
        1 => level <= Level::INFO,
        2 => level <= Level::DEBUG,
        _ => true,
    }
}

/// The time of day, RFC 3339 in UTC.
fn now() -> String {
    let mut text = String::new();
    // A String takes every text.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests;
