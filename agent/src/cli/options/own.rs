//! The options that `pg_receivewal` does not have. Each can be set by an environment variable, too.

#[cfg(test)]
use super::testing::{fault, typed};
use super::{Kind, Opt};
use crate::logging::LogFormat;

pub(super) const OPTIONS: &[Opt] = &[LOG_FORMAT, NO_CREATE_SLOT];

const LOG_FORMAT: Opt = Opt {
    long: "log-format",
    short: None,
    env: Some("WAL_AGENT_LOG_FORMAT"),
    kind: Kind::Value {
        name: "FORMAT",
        set: |typed, value| {
            typed.log_format = match value.text()? {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(value.invalid(": use text or json")),
            };
            Ok(())
        },
    },
    help: "text (default): lines for people, as pg_receivewal writes them; json: one object a line",
};

#[test]
fn log_format_is_text_or_json() {
    use crate::cli::error::Fault;
    assert_eq!(typed(&[]).log_format, LogFormat::Text);
    assert_eq!(typed(&["--log-format", "json"]).log_format, LogFormat::Json);
    assert_eq!(typed(&["--log-format=json", "--log-format=text"]).log_format, LogFormat::Text);
    let expected = Fault::value("invalid value \"JSON\" for option --log-format: use text or json");
    assert_eq!(fault(&["--log-format", "JSON"]), expected);
}

const NO_CREATE_SLOT: Opt = Opt {
    long: "no-create-slot",
    short: None,
    env: Some("WAL_AGENT_NO_CREATE_SLOT"),
    kind: Kind::Flag(|typed| typed.no_create_slot = true),
    help: "do not create a missing slot when streaming starts",
};

#[test]
fn no_create_slot_is_a_flag() {
    assert!(typed(&["--no-create-slot"]).no_create_slot);
}
