//! Tests of `cli`: data in, expectation out.

use super::*;
use crate::logging::LogFormat;

/// What `args` mean to a program of that name, without an environment.
fn parse_as(program: &str, args: &[&str]) -> Result<Invocation, UsageError> {
    let args = [program].iter().chain(args).map(OsString::from).collect::<Vec<_>>();
    parse(args, |_| None)
}

fn receive(program: &str, args: &[&str]) -> Receive {
    match parse_as(program, args).unwrap().command {
        Command::Receive(receive) => receive,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_of_pg_receivewal() {
    let expected = Receive {
        connection: ConnectionOptions::default(),
        directory: "d".into(),
        slot: None,
        create_missing_slot: false,
        end_position: None,
        no_loop: false,
        status_interval: Some(Duration::from_secs(10)),
        flush: FlushMode::Asynchronous,
    };
    let invocation = parse_as("/usr/bin/wal-agent", &["-D", "d"]).unwrap();
    assert_eq!(invocation.program, "wal-agent");
    assert_eq!(invocation.logging, Logging { verbosity: 0, format: LogFormat::Text });
    assert_eq!(invocation.command, Command::Receive(expected));
}

#[test]
fn everything_that_is_typed_arrives() {
    let args = "-D d -E 0/2000000 -n -s 7 -S wal_replica -vv -Z none --synchronous -d dbname=x -h h -p 1 -U u -w";
    let args: Vec<&str> = args.split(' ').chain(["--if-not-exists", "--log-format=json"]).collect();
    let invocation = parse_as("wal-agent", &args).unwrap();
    assert_eq!(invocation.logging, Logging { verbosity: 2, format: LogFormat::Json });
    let expected = Receive {
        connection: ConnectionOptions {
            dbname: Some("dbname=x".to_owned()),
            host: Some("h".to_owned()),
            port: Some("1".to_owned()),
            username: Some("u".to_owned()),
            password_prompt: Prompt::Never,
        },
        directory: "d".into(),
        slot: Some("wal_replica".to_owned()),
        create_missing_slot: true,
        end_position: Some(Lsn::new(0x200_0000)),
        no_loop: true,
        status_interval: Some(Duration::from_secs(7)),
        flush: FlushMode::Synchronous,
    };
    assert_eq!(invocation.command, Command::Receive(expected));
}

#[test]
fn zero_switches_off() {
    let zeros = receive("wal-agent", &["-D", "d", "-E", "0/0", "-s", "0"]);
    assert_eq!((zeros.end_position, zeros.status_interval), (None, None));
    assert_eq!(receive("wal-agent", &["-D", "d", "--no-sync"]).flush, FlushMode::NoSync);
}

#[test]
fn a_missing_slot_is_created_only_where_nobody_expects_pg_receivewal() {
    let check = |program: &str, args: &[&str], expected: bool| {
        let args = [&["-D", "d"], args].concat();
        assert_eq!(receive(program, &args).create_missing_slot, expected, "{program} {args:?}");
    };
    check("wal-agent", &["-S", "s"], true);
    check("./anything", &["-S", "s"], true);
    check("wal-agent", &[], false);
    check("wal-agent", &["-S", "s", "--no-create-slot"], false);
    check("pg_receivewal", &["-S", "s"], false);
    check("/opt/bin/pg_receivewal", &["-S", "s"], false);
}

#[test]
fn slot_actions_need_no_directory_and_ignore_it() {
    let action =
        |if_not_exists| SlotAction { connection: ConnectionOptions::default(), slot: "s".to_owned(), if_not_exists };
    let check = |args: &[&str], expected| assert_eq!(parse_as("wal-agent", args).unwrap().command, expected);
    check(&["--create-slot", "-S", "s"], Command::CreateSlot(action(false)));
    check(&["--create-slot", "-S", "s", "-D", "d", "-Z", "gzip"], Command::CreateSlot(action(false)));
    check(&["--create-slot", "-S", "s", "--if-not-exists"], Command::CreateSlot(action(true)));
    check(&["--drop-slot", "-S", "s"], Command::DropSlot(action(false)));
}

#[test]
fn help_and_version_come_first_and_alone_decide() {
    for args in [&["--help"][..], &["-?"], &["--help", "--bogus"], &["-?", "x"]] {
        assert_eq!(parse_as("wal-agent", args).unwrap().command, Command::Help);
    }
    for args in [&["--version"][..], &["-V"], &["-V", "-s", "x"]] {
        assert_eq!(parse_as("wal-agent", args).unwrap().command, Command::Version);
    }
}

#[test]
fn errors_look_like_those_of_pg_receivewal() {
    let check = |program: &str, args: &[&str], expected: &str| {
        assert_eq!(parse_as(program, args).unwrap_err().to_string(), expected);
    };
    check(
        "/usr/bin/pg_receivewal",
        &[],
        "pg_receivewal: error: no target directory specified\n\
         pg_receivewal: hint: Try \"pg_receivewal --help\" for more information.",
    );
    check(
        "pg_receivewal",
        &["-D", "d", "-Z", "none:1"],
        "pg_receivewal: error: invalid compression specification: compression algorithm \"none\" does not accept a \
         compression level",
    );
    check(
        "wal-agent",
        &["-E", "x"],
        "wal-agent: error: could not parse end position \"x\": \
         write two hexadecimal numbers, as in 16/B374D848",
    );
    assert!(parse(Vec::new(), |_| None).unwrap_err().to_string().starts_with("wal-agent: error: no target"));
}

/// Each row breaks its rule and the rule of the row below: the upper one must be the one that is reported.
#[test]
fn rules_are_checked_in_the_order_of_pg_receivewal() {
    let check = |args: &str, expected: &str, hint: bool| {
        let args: Vec<&str> = args.split(' ').collect();
        let message = parse_as("wal-agent", &args).unwrap_err().to_string();
        assert!(message.starts_with(&format!("wal-agent: error: {expected}")), "{args:?}: {message}");
        assert_eq!(message.contains("\nwal-agent: hint: "), hint, "{args:?}: {message}");
    };
    check("-s x operand", "invalid value \"x\" for option -s/--status-interval", false);
    check("--bogus operand", "unrecognized option '--bogus'", true);
    check("operand --create-slot --drop-slot", "too many command-line arguments (first is \"operand\")", true);
    check("--create-slot --drop-slot", "cannot use --create-slot together with --drop-slot", true);
    check("--drop-slot --synchronous --no-sync", "--drop-slot needs a slot to be specified using --slot", true);
    check("--create-slot --synchronous --no-sync", "--create-slot needs a slot to be specified using --slot", true);
    check("--synchronous --no-sync", "cannot use --synchronous together with --no-sync", true);
    check("-Z brotli", "no target directory specified", true);
    check("-D d -Z brotli:bad", "unrecognized compression algorithm: \"brotli\"", false);
    check("-D d -Z zstd:99", "invalid compression specification: compression algorithm \"zstd\" expects", false);
    check("-D d -Z zstd -S Slot", "compression with ZSTD is not yet supported", false);
    check("-D d -Z gzip -S Slot", "invalid replication slot name \"Slot\"", false);
    let refusal = "compression with lz4 is not available in this version of wal-agent; use --compress=none, or keep \
                   pg_receivewal for this directory";
    check("-D d -Z lz4", refusal, false);
}

#[test]
fn a_slot_name_that_no_server_accepts_is_refused_here() {
    let check = |name: &str, fine: bool| {
        assert_eq!(parse_as("wal-agent", &["-D", "d", "-S", name]).is_ok(), fine, "{name:?}");
    };
    check("wal_replica", true);
    check("9_lives", true);
    check(&"s".repeat(63), true);
    for bad in ["", "Slot", "a-b", "a b", "ä", &"s".repeat(64)] {
        check(bad, false);
    }
}
