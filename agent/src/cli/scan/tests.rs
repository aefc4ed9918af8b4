//! Tests of `scan`: data in, expectation out.

use proptest::prelude::*;

use super::*;

/// What `args` are cut into: `name` or `name=value` for options, `:text` for operands, `!message` for the first fault.
fn scanned(args: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    for item in Scanner::new(args.iter().map(OsString::from)) {
        seen.push(match item {
            Ok(Item::Option(option, None)) => option.long.to_owned(),
            Ok(Item::Option(option, Some(value))) => format!("{}={}", option.long, value.to_string_lossy()),
            Ok(Item::Operand(operand)) => format!(":{}", operand.to_string_lossy()),
            Err(fault) => {
                seen.push(format!("!{}", fault_message(&fault)));
                break;
            }
        });
    }
    seen
}

fn fault_message(fault: &Fault) -> String {
    let error = super::super::UsageError { program: "p".to_owned(), fault: fault.clone() }.to_string();
    error.lines().next().unwrap().trim_start_matches("p: error: ").to_owned()
}

#[test]
fn arguments_are_cut_as_getopt_long_cuts_them() {
    let check = |args: &[&str], expected: &[&str]| assert_eq!(scanned(args), expected, "{args:?}");
    check(&["--directory", "d"], &["directory=d"]);
    check(&["--directory=d"], &["directory=d"]);
    check(&["--directory="], &["directory="]);
    check(&["--dbname=host=a port=1"], &["dbname=host=a port=1"]);
    check(&["-Dd"], &["directory=d"]);
    check(&["-D", "d"], &["directory=d"]);
    check(&["-D=d"], &["directory==d"]);
    check(&["-D", ""], &["directory="]);
    check(&["-nvDd", "-w"], &["no-loop", "verbose", "directory=d", "no-password"]);
    check(&["-nvD", "-w"], &["no-loop", "verbose", "directory=-w"]);
    check(&["--directory", "--verbose"], &["directory=--verbose"]);
    check(&["a", "-n", "-", "b", "--", "-n", "--"], &[":a", "no-loop", ":-", ":b", ":-n", ":--"]);
    check(&["-D", "--", "-n"], &["directory=--", "no-loop"]);
    check(&[""], &[":"]);
}

#[test]
fn unambiguous_prefixes_are_understood() {
    let check = |arg: &str, expected: &str| assert_eq!(scanned(&[arg]), [expected], "{arg}");
    check("--dir=d", "directory=d");
    check("--e=0/1", "endpos=0/1");
    check("--ho=h", "host=h");
    check("--sl=s", "slot=s");
    check("--st=1", "status-interval=1");
    check("--sy", "synchronous");
    check("--no-p", "no-password");
    check("--pa", "password");
    check("--i", "if-not-exists");
    check("--lo=text", "log-format=text");
    check("--no-c", "no-create-slot");
    // Whole names win over longer ones.
    check("--no-sync", "no-sync");
}

#[test]
fn our_options_never_make_an_inherited_prefix_ambiguous() {
    for option in options::inherited() {
        for end in 1..=option.long.len() {
            let prefix = &option.long[..end];
            let rivals = options::inherited().filter(|other| other.long.starts_with(prefix)).count();
            let found = find_long(prefix).is_ok_and(|found| found.long == option.long);
            assert_eq!(found, rivals == 1 || prefix == option.long, "{prefix}");
        }
    }
}

#[test]
fn faults_are_told_as_getopt_long_tells_them() {
    let check = |args: &[&str], expected: &str| {
        assert_eq!(scanned(args).last().map(String::as_str), Some(expected), "{args:?}");
    };
    check(&["--bogus"], "!unrecognized option '--bogus'");
    check(&["--verbosee"], "!unrecognized option '--verbosee'");
    check(&["--s"], "!option '--s' is ambiguous; possibilities: '--status-interval' '--slot' '--synchronous'");
    check(&["--no"], "!option '--no' is ambiguous; possibilities: '--no-loop' '--no-sync' '--no-password'");
    check(&["-n", "--directory"], "!option '--directory' requires an argument");
    check(&["--dir"], "!option '--directory' requires an argument");
    check(&["--verb=1"], "!option '--verbose' doesn't allow an argument");
    check(&["-vx"], "!invalid option -- 'x'");
    check(&["-é"], "!invalid option -- 'é'");
    check(&["-nD"], "!option requires an argument -- 'D'");
}

#[test]
fn a_mistyped_name_does_not_print_a_password() {
    assert_eq!(scanned(&["--dbnme=password=hush"]), ["!unrecognized option '--dbnme'"]);
    assert_eq!(
        scanned(&["--d=password=hush"]),
        ["!option '--d' is ambiguous; possibilities: '--directory' '--dbname' '--drop-slot'"]
    );
}

proptest! {
    #[test]
    fn any_bytes_are_cut_or_refused(
        args in proptest::collection::vec("-{0,2}[a-zA-Z=é\\PC]{0,6}", 0..6),
        raw: Vec<u8>,
    ) {
        let args = args.into_iter().map(OsString::from).chain([OsString::from_vec(raw)]);
        let _ = Scanner::new(args).collect::<Vec<_>>();
    }
}
