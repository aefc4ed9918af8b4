//! Tests of `logging`: data in, expectation out.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{format::Line, *};

fn line(level: Level, message: &str, fields: &[(&'static str, Value)]) -> Line {
    Line { level, message: message.to_owned(), fields: fields.to_vec() }
}

#[test]
fn text_has_the_form_of_pg_receivewal() {
    let check = |level: Level, message: &str, fields: &[(&'static str, Value)], expected: &str| {
        assert_eq!(line(level, message, fields).text("pg_receivewal", false), expected);
    };
    check(Level::INFO, "disconnected", &[], "pg_receivewal: disconnected\n");
    check(Level::ERROR, "it failed", &[], "pg_receivewal: error: it failed\n");
    check(Level::WARN, "odd", &[], "pg_receivewal: warning: odd\n");
    check(Level::DEBUG, "detail", &[], "pg_receivewal: debug: detail\n");
    check(Level::TRACE, "bytes", &[], "pg_receivewal: trace: bytes\n");
    check(Level::ERROR, "no\nDETAIL:  so\n", &[], "pg_receivewal: error: no\nDETAIL:  so\n");
    let fields = [("lsn", Value::from("0/1")), ("size", Value::from(16)), ("last", Value::from(true))];
    check(Level::INFO, "done", &fields, "pg_receivewal: done (lsn=0/1, size=16, last=true)\n");
}

#[test]
fn colors_are_those_of_pg_receivewal() {
    let check = |level, expected: &str| assert_eq!(line(level, "m", &[]).text("p", true), expected);
    check(Level::ERROR, "\x1b[01mp: \x1b[0m\x1b[01;31merror: \x1b[0mm\n");
    check(Level::WARN, "\x1b[01mp: \x1b[0m\x1b[01;35mwarning: \x1b[0mm\n");
    check(Level::INFO, "\x1b[01mp: \x1b[0mm\n");
    check(Level::DEBUG, "\x1b[01mp: \x1b[0mdebug: m\n");
}

#[test]
fn a_server_cannot_write_to_the_terminal() {
    let hostile = "\x1b[2J\r\u{9b}31m\u{7f}\ta\nb";
    let text = line(Level::ERROR, hostile, &[("from", Value::from(hostile))]).text("p", false);
    let message = r"\u{1b}[2J\r\u{9b}31m\u{7f}";
    assert_eq!(text, format!("p: error: {message}\ta\nb (from={message}\\ta\\nb)\n"));
}

#[test]
fn json_is_one_object_a_line() {
    let fields = [
        ("size", Value::from(16)),
        ("text", Value::from("\x1b\n\"é")),
        ("level", Value::from("own")),
        ("ratio", Value::from(f64::NAN)),
    ];
    let json = line(Level::WARN, "two\nlines\n", &fields).json("2026-01-02T03:04:05Z");
    assert_eq!(
        json,
        concat!(
            r#"{"timestamp":"2026-01-02T03:04:05Z","level":"warn","message":"two\nlines","size":16,"#,
            r#""text":"\u001b\n\"é","level_":"own","ratio":null}"#,
            "\n"
        )
    );
    assert!(serde_json::from_str::<Value>(&json).unwrap().is_object());
}

/// The lines that `log` causes under these settings.
fn logged(verbosity: u8, format: LogFormat, log: fn()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let write = move |line: &str| sink.lock().unwrap().push(line.to_owned());
    let logging = Logging { verbosity, format };
    let printer = Printer { program: "p".to_owned(), logging, color: false, write };
    tracing::subscriber::with_default(Registry::default().with(printer), log);
    lines.lock().unwrap().clone()
}

#[test]
fn each_v_shows_more() {
    let log = || {
        tracing::error!("e");
        tracing::warn!("w");
        tracing::info!("i");
        crate::verbose!("v {}", 1);
        tracing::debug!("d");
        tracing::trace!("t");
    };
    let all = ["p: error: e\n", "p: warning: w\n", "p: i\n", "p: v 1\n", "p: debug: d\n", "p: trace: t\n"];
    for (verbosity, shown) in [(0, 3), (1, 4), (2, 5), (3, 6), (255, 6)] {
        assert_eq!(logged(verbosity, LogFormat::Text, log), all[..shown], "{verbosity}");
    }
}

#[test]
fn events_keep_the_types_of_their_fields() {
    let log = || {
        let error = io::Error::other("full");
        tracing::info!(size = 1_u64, less = -1_i64, flag = true, name = "a b", %error, debug = ?Some("x"), "said");
        crate::verbose!(lsn = %crate::wal::Lsn::new(1), "at");
    };
    let lines = logged(1, LogFormat::Text, log);
    assert_eq!(
        lines,
        ["p: said (size=1, less=-1, flag=true, name=a b, error=full, debug=Some(\"x\"))\n", "p: at (lsn=0/1)\n"]
    );
    let object: Value = serde_json::from_str(&logged(1, LogFormat::Json, log)[0]).unwrap();
    assert_eq!((&object["size"], &object["flag"], &object["error"]), (&1.into(), &true.into(), &"full".into()));
    let time = object["timestamp"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
}
