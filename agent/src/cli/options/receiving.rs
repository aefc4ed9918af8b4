//! `pg_receivewal`'s options about what is received and how.

use std::{num::IntErrorKind, time::Duration};

#[cfg(test)]
use super::testing::{fault, typed};
use super::{Kind, Opt, Value};
use crate::cli::{Command, error::Fault};

pub(super) const OPTIONS: &[Opt] = &[
    DIRECTORY,
    ENDPOS,
    IF_NOT_EXISTS,
    NO_LOOP,
    NO_SYNC,
    STATUS_INTERVAL,
    SLOT,
    SYNCHRONOUS,
    VERBOSE,
    VERSION,
    COMPRESS,
    HELP,
];

const DIRECTORY: Opt = Opt {
    long: "directory",
    short: Some('D'),
    env: None,
    kind: Kind::Value {
        name: "DIR",
        set: |typed, value| {
            typed.directory = Some(value.path());
            Ok(())
        },
    },
    help: "where to write WAL segments; must exist",
};

#[test]
fn directory_is_any_path() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    assert_eq!(typed(&["-D", "a", "--directory=b"]).directory, Some("b".into()));
    let raw = OsString::from_vec(b"/wal\xff".to_vec());
    let typed = super::as_typed([OsString::from("-D"), raw.clone()], |_| None).unwrap();
    assert_eq!(typed.directory, Some(raw.into()));
}

const ENDPOS: Opt = Opt {
    long: "endpos",
    short: Some('E'),
    env: None,
    kind: Kind::Value {
        name: "LSN",
        set: |typed, value| {
            let text = value.text()?;
            let position = text.parse().map_err(|_| {
                Fault::value(format!(
                    "could not parse end position \"{text}\": write two hexadecimal numbers, as in 16/B374D848"
                ))
            })?;
            typed.end_position = Some(position);
            Ok(())
        },
    },
    help: "stop, successfully, once WAL up to LSN is received; 0/0 never stops. \
           Unlike in pg_receivewal, nothing may follow the LSN",
};

#[test]
fn endpos_is_an_lsn_and_nothing_else() {
    assert_eq!(typed(&["-E", "16/b374D848"]).end_position.unwrap().to_string(), "16/B374D848");
    for bad in ["", "1", "0/1zz", "0/1 ", "0x0/1", "0/123456789"] {
        let expected =
            format!("could not parse end position \"{bad}\": write two hexadecimal numbers, as in 16/B374D848");
        assert_eq!(fault(&["--endpos", bad]), Fault::value(expected));
    }
}

const IF_NOT_EXISTS: Opt = Opt {
    long: "if-not-exists",
    short: None,
    env: None,
    kind: Kind::Flag(|typed| typed.if_not_exists = true),
    help: "with --create-slot: a slot that is there already is no error",
};

#[test]
fn if_not_exists_is_a_flag() {
    assert!(typed(&["--if-not-exists"]).if_not_exists);
}

const NO_LOOP: Opt = Opt {
    long: "no-loop",
    short: Some('n'),
    env: None,
    kind: Kind::Flag(|typed| typed.no_loop = true),
    help: "exit when the connection fails or is lost, instead of connecting again",
};

#[test]
fn no_loop_is_a_flag() {
    assert!(typed(&["-n"]).no_loop && typed(&["--no-loop"]).no_loop);
}

const NO_SYNC: Opt = Opt {
    long: "no-sync",
    short: None,
    env: None,
    kind: Kind::Flag(|typed| typed.no_sync = true),
    help: "never wait for WAL to be safe on disk: a crash of this machine may lose what was acknowledged",
};

#[test]
fn no_sync_is_a_flag() {
    assert!(typed(&["--no-sync"]).no_sync);
}

const STATUS_INTERVAL: Opt = Opt {
    long: "status-interval",
    short: Some('s'),
    env: None,
    kind: Kind::Value {
        name: "SECS",
        set: |typed, value| {
            typed.status_interval = Some(Duration::from_secs(status_interval(value)?));
            Ok(())
        },
    },
    help: "seconds between status packets (default: 10); 0: only as often as the server needs them",
};

/// PostgreSQL's `option_parse_int`: surrounding white space and a sign are fine; the bound is `INT_MAX / 1000`.
fn status_interval(value: &Value<'_>) -> Result<u64, Fault> {
    const MAX: i64 = i32::MAX as i64 / 1000;
    let out_of_range = || Fault::value(format!("-s/--status-interval must be in range 0..{MAX}"));
    match value.text()?.trim().parse::<i64>() {
        Ok(seconds) if seconds <= MAX => u64::try_from(seconds).map_err(|_| out_of_range()),
        Ok(_) => Err(out_of_range()),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Err(out_of_range()),
            _ => Err(value.invalid("")),
        },
    }
}

#[test]
fn status_interval_is_a_number_of_seconds() {
    for (text, seconds) in [("0", 0), ("10", 10), ("+5", 5), (" 7 ", 7), ("2147483", 2_147_483)] {
        assert_eq!(typed(&["-s", text]).status_interval, Some(Duration::from_secs(seconds)), "{text:?}");
    }
    for text in ["-1", "2147484", "99999999999999999999", "-99999999999999999999"] {
        let expected = Fault::value("-s/--status-interval must be in range 0..2147483");
        assert_eq!(fault(&["-s", text]), expected, "{text:?}");
    }
    for text in ["", " ", "1x", "x", "1 0", "1.5", "0x10"] {
        let expected = Fault::value(format!("invalid value \"{text}\" for option -s/--status-interval"));
        assert_eq!(fault(&["--status-interval", text]), expected);
    }
}

const SLOT: Opt = Opt {
    long: "slot",
    short: Some('S'),
    env: None,
    kind: Kind::Value {
        name: "SLOTNAME",
        set: |typed, value| {
            typed.slot = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "replication slot to use; created when missing, unless --no-create-slot is given or the program is called \
           pg_receivewal",
};

#[test]
fn slot_has_no_default() {
    assert_eq!(typed(&[]).slot, None);
    assert_eq!(typed(&["-Swal_replica"]).slot.as_deref(), Some("wal_replica"));
}

const SYNCHRONOUS: Opt = Opt {
    long: "synchronous",
    short: None,
    env: None,
    kind: Kind::Flag(|typed| typed.synchronous = true),
    help: "make WAL durable as soon as it is written, and acknowledge it at once",
};

#[test]
fn synchronous_is_a_flag() {
    assert!(typed(&["--synchronous"]).synchronous);
}

const VERBOSE: Opt = Opt {
    long: "verbose",
    short: Some('v'),
    env: None,
    kind: Kind::Flag(|typed| typed.verbosity = typed.verbosity.saturating_add(1)),
    help: "say more: once, progress as in pg_receivewal; twice, debugging; three times, everything",
};

#[test]
fn verbose_counts() {
    assert_eq!(typed(&["-v", "--verbose", "-nvv"]).verbosity, 4);
    assert_eq!(typed(&[format!("-{}", "v".repeat(300)).as_str()]).verbosity, u8::MAX);
}

const VERSION: Opt = Opt {
    long: "version",
    short: Some('V'),
    env: None,
    kind: Kind::First(|| Command::Version),
    help: "print the version, then exit; only as the first argument",
};

#[test]
fn version_must_come_first() {
    for args in [["-v", "-V"], ["-v", "--version"], ["-v", "--vers"]] {
        assert_eq!(fault(&args), Fault::usage("option -V/--version must be the first argument"));
    }
}

const COMPRESS: Opt = Opt {
    long: "compress",
    short: Some('Z'),
    env: None,
    kind: Kind::Value {
        name: "METHOD[:DETAIL]",
        set: |typed, value| {
            typed.compress = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "how to compress segments; this version only knows none",
};

#[test]
fn compress_is_judged_later() {
    assert_eq!(typed(&["-Z", "nonsense:9"]).compress.as_deref(), Some("nonsense:9"));
}

const HELP: Opt = Opt {
    long: "help",
    short: Some('?'),
    env: None,
    kind: Kind::First(|| Command::Help),
    help: "print this help, then exit; only as the first argument",
};

#[test]
fn help_must_come_first() {
    for args in [["-v", "-?"], ["-v", "--help"], ["-v", "--hel"]] {
        assert_eq!(fault(&args), Fault::usage("option -?/--help must be the first argument"));
    }
}
