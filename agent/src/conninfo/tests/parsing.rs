//! Texts to typed values, and back.

use super::*;
use proptest::prelude::*;

/// `name=value` lines in the order of the names.
fn typed(text: &str) -> String {
    match parse_connection_string(text) {
        Ok(typed) => typed.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|"),
        Err(error) => error.to_string(),
    }
}

fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(typed(text), *expected, "{text:?}");
    }
}

#[test]
fn key_value_pairs() {
    check(&[
        ("", ""),
        ("   ", ""),
        ("host=a port=1", "host=a|port=1"),
        ("host = 'a b' port=1", "host=a b|port=1"),
        ("host='a'port=5", "host=a|port=5"),
        ("host=a\u{b}port=2\r\n", "host=a|port=2"),
        ("host=a\\", "host=a"),
        ("host=\\'a\\\\b\\ c", "host='a\\b c"),
        ("host='it\\'s \\\\'", "host=it's \\"),
        ("host=a'b'c", "host=a'b'c"),
        ("host==x", "host==x"),
        ("host='' port=''", "host=|port="),
        ("host=", "host="),
        ("host=a host=b", "host=b"),
        ("user=ü", "user=ü"),
        ("requiressl=1", "sslmode=require"),
        ("requiressl=0", "sslmode=prefer"),
    ]);
}

#[test]
fn malformed_key_value_pairs() {
    let unterminated = "unterminated quoted string in connection info string";
    check(&[
        ("mydb", "missing \"=\" after \"mydb\" in connection info string"),
        ("host=a mydb ", "missing \"=\" after \"mydb\" in connection info string"),
        ("host", "missing \"=\" after \"host\" in connection info string"),
        ("a=b", "invalid connection option \"a\" (connection string)"),
        ("=x", "invalid connection option \"\" (connection string)"),
        ("Host=x", "invalid connection option \"Host\" (connection string)"),
        ("host='abc", unterminated),
        ("host='a\\", unterminated),
    ]);
}

#[test]
fn uris() {
    check(&[
        ("postgres://", ""),
        (
            "postgres://u:p@h1:1,h2:2/db?sslmode=require",
            "dbname=db|host=h1,h2|password=p|port=1,2|sslmode=require|user=u",
        ),
        ("postgresql://u@", "user=u"),
        ("postgres://u:p:q@h", "host=h|password=p:q|user=u"),
        ("postgres://:p@h", "host=h|password=p"),
        ("postgres://@h", "host=h"),
        ("postgres://u:@h", "host=h|user=u"),
        ("postgres://u@x@h/d", "dbname=d|host=x@h|user=u"),
        ("postgres://[::1]:5/", "host=::1|port=5"),
        ("postgres://[::1],[::2]:7/", "host=::1,::2|port=,7"),
        ("postgres://h:/db", "dbname=db|host=h"),
        ("postgres://,,", "host=,,|port=,,"),
        ("postgres://h1,h2:1", "host=h1,h2|port=,1"),
        ("postgres://h:1,:2", "host=h,|port=1,2"),
        ("postgres://%2Ftmp/x", "dbname=x|host=/tmp"),
        ("postgres:///db?host=/tmp", "dbname=db|host=/tmp"),
        ("postgres:///?user=u%20%C3%BC", "user=u ü"),
        ("postgres://h/a/b?user=x", "dbname=a/b|host=h|user=x"),
        ("postgres://h/a@b", "dbname=a@b|host=h"),
        ("postgres://h#frag", "host=h#frag"),
        ("postgres://h?host=g", "host=g"),
        ("postgres://h?", "host=h"),
        ("postgres://h?user=x&", "host=h|user=x"),
        ("postgres://h?user=", "host=h|user="),
        ("postgres://h?use%72=x", "host=h|user=x"),
        ("postgres://h?user=x%20y+z", "host=h|user=x y+z"),
        ("postgres://h? user = x ", "host=h|user=x"),
        ("postgres:// h /db", "dbname=db|host=h"),
        ("postgres://h?user=a\tb", "host=h|user=a\tb"),
        ("postgres://h?ssl=true", "host=h|sslmode=require"),
        ("postgres://h1?requiressl=1", "host=h1|sslmode=require"),
    ]);
}

#[test]
fn malformed_uris() {
    check(&[
        ("postgres://h?foo=1", "invalid URI query parameter: \"foo\""),
        ("postgres://h?ssl=false", "invalid URI query parameter: \"ssl\""),
        ("postgres://h?=x", "invalid URI query parameter: \"\""),
        ("postgres://h?a=b=c", "extra key/value separator \"=\" in URI query parameter: \"a\""),
        ("postgres://h?a", "missing key/value separator \"=\" in URI query parameter: \"a\""),
        ("postgres://h?&", "missing key/value separator \"=\" in URI query parameter: \"\""),
        ("postgres://h?user=x&&", "missing key/value separator \"=\" in URI query parameter: \"\""),
        ("postgres://h/d%", "invalid percent-encoded token in the dbname of the URI"),
        ("postgres://h/d%0", "invalid percent-encoded token in the dbname of the URI"),
        ("postgres://h/d%zz", "invalid percent-encoded token in the dbname of the URI"),
        ("postgres://h/d%00", "forbidden value %00 in the dbname of the URI"),
        ("postgres://h/d%ff", "a percent-encoded value that is not valid UTF-8 in the dbname of the URI"),
        (
            "postgres://a b/db",
            "unexpected spaces found (use percent-encoded spaces (%20) instead) in the host of the URI",
        ),
        ("postgres://h?user=%zz", "invalid percent-encoded token in the value of URI query parameter: \"user\""),
        (
            "postgres://h?u%=1",
            "invalid percent-encoded token in the name of a URI query parameter: (not shown, as it may hold a password)",
        ),
        ("postgres://[::1", "end of string reached when looking for matching \"]\" in IPv6 host address in URI"),
        ("postgres://[]", "IPv6 host address may not be empty in URI"),
        ("postgres://[::1]x", "unexpected character \"x\" at position 17 in URI (expected \":\" or \"/\")"),
        ("postgres:/h", "missing \"=\" after (not shown, as it may hold a password) in connection info string"),
    ]);
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "password=hunter two",
        "password=hunter2 hunter two=",
        "password='hunter2' sslmode='hunter",
        "u:hunter2@host/db",
        "postgress://u:hunter2@host/db?sslmode=require",
        " postgres://u:hunter2@host/db",
        "postgres://u:hunter%2@host/db",
        "postgres://u:hunter 2@host/db",
        "postgres://u:hunter/2@host/db",
        "postgres://u:hunter%/2@host/db",
        "postgres://u@host/db?password=hunter%zz",
        "postgres://u@host/db?password=a&hunter",
        "postgres://u@host/db?password=a&hunter=2",
        "postgres://u@host/db?password=hunter=2",
        "postgres://u:hunter2@[host/db",
        "password=hunter2 port=x",
        "password=hunter2 sslpassword=hunter2",
        "scram_client_key=hunter2",
    ] {
        let error = resolve(text).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("hunter"), "{text:?}: {shown}");
        }
    }
    let typed = parse_connection_string("user=u password=hunter2").unwrap();
    assert_eq!(typed.get("password"), Some("hunter2"));
    assert!(!format!("{typed:?}").contains("hunter"));
}

/// Pieces that reach more than letters do.
fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ a-z=:/@?&%,'#*\\[\\]\\\\\\r\\n\\t\\x00é]{0,6}",
        prop::sample::select(vec![
            "postgres://",
            "password=",
            "host=",
            "%2F",
            "[a]",
            "ldap",
            "service=",
            "sslmode=",
            "1"
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in awkward(), other in "\\PC{0,40}") {
        for text in [text.as_str(), &other, &format!("postgres://{text}")] {
            let _ = parse_connection_string(text);
            let _ = resolve(text);
        }
    }

    #[test]
    fn any_file_is_read_or_refused(text in awkward(), bytes: Vec<u8>) {
        let _ = parse_service_file(&format!("[a]\n{text}"), "a", "f".as_ref());
        let _ = parse_service_file(&text, "", "f".as_ref());
        let login = Login { host: "h", port: 1, dbname: "*", user: "\\" };
        for content in [text.as_bytes(), &bytes] {
            let _ = find_password(content, &login);
        }
    }

    #[test]
    fn quoting_is_undone(host in "[^\\x00]*", user in "[^\\x00]*") {
        let quote = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        let typed = parse_connection_string(&format!("host={} user = {}", quote(&host), quote(&user))).unwrap();
        prop_assert_eq!((typed.get("host"), typed.get("user")), (Some(host.as_str()), Some(user.as_str())));
    }

    #[test]
    fn percent_encoding_is_undone(user in "[^\\x00]+", password in "[^\\x00]+", dbname in "[^\\x00]+", name in "[^\\x00]*") {
        let encode = |value: &str| value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let (u, p, d, n) = (encode(&user), encode(&password), encode(&dbname), encode(&name));
        let typed = parse_connection_string(&format!("postgres://{u}:{p}@[::1]/{d}?application_name={n}")).unwrap();
        for (parameter, expected) in
            [("user", &user), ("password", &password), ("dbname", &dbname), ("application_name", &name)]
        {
            prop_assert_eq!(typed.get(parameter), Some(expected.as_str()));
        }
    }
}
