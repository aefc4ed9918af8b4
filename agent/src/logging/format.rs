//! An event as a line: pure functions, no clock, no terminal.

use std::fmt::{self, Write};

use serde_json::Value;
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

const BOLD: &str = "\x1b[01m";
const RED: &str = "\x1b[01;31m";
const MAGENTA: &str = "\x1b[01;35m";
const RESET: &str = "\x1b[0m";

/// What every JSON object has; fields of these names are set apart by an underscore.
const RESERVED: [&str; 3] = ["timestamp", "level", "message"];

/// What an event says.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) message: String,
    /// In the order of the event.
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// Reads an event.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self { level: *event.metadata().level(), message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    /// As PostgreSQL's programs write it: the level is named unless it is INFO, inner newlines stay, a last one goes.
    /// Fields, where there are any, follow as ` (key=value, …)`.
    pub(super) fn text(&self, program: &str, color: bool) -> String {
        let (level, level_color) = match self.level {
            Level::ERROR => ("error: ", RED),
            Level::WARN => ("warning: ", MAGENTA),
            Level::INFO => ("", ""),
            Level::DEBUG => ("debug: ", ""),
            Level::TRACE => ("trace: ", ""),
        };
        let mut text = painted(&format!("{program}: "), if color { BOLD } else { "" });
        text += &painted(level, if color { level_color } else { "" });
        let message = self.message.strip_suffix('\n').unwrap_or(&self.message);
        escape(message, |char| char == '\n' || char == '\t', &mut text);
        for (index, (name, value)) in self.fields.iter().enumerate() {
            text += if index == 0 { " (" } else { ", " };
            text += name;
            text.push('=');
            match value {
                Value::String(value) => escape(value, |_| false, &mut text),
                scalar => text += &scalar.to_string(),
            }
        }
        text += if self.fields.is_empty() { "\n" } else { ")\n" };
        text
    }

    /// One JSON object: timestamp, level, message, then the fields.
    pub(super) fn json(&self, timestamp: &str) -> String {
        let level = self.level.as_str().to_ascii_lowercase();
        let message = self.message.strip_suffix('\n').unwrap_or(&self.message);
        let mut text = format!(
            r#"{{"timestamp":{},"level":{},"message":{}"#,
            Value::from(timestamp),
            Value::from(level),
            Value::from(message)
        );
        for (name, value) in &self.fields {
            let apart = if RESERVED.contains(name) { "_" } else { "" };
            text += &format!(",{}:{value}", Value::from(format!("{name}{apart}")));
        }
        text += "}\n";
        text
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }
}

/// `text` in `color`, an escape sequence; plain where that is empty.
fn painted(text: &str, color: &str) -> String {
    if color.is_empty() { text.to_owned() } else { format!("{color}{text}{RESET}") }
}

/// Appends `text`, with control characters escaped but those that are `allowed`.
fn escape(text: &str, allowed: fn(char) -> bool, to: &mut String) {
    for char in text.chars() {
        if char.is_control() && !allowed(char) {
            // A String takes every text.
            let _ = write!(to, "{}", char.escape_default());
        } else {
            to.push(char);
        }
    }
}
