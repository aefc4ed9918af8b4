//! `pg_receivewal`'s options about the server. Their values go to `conninfo` as typed.

#[cfg(test)]
use super::testing::typed;
use super::{Kind, Opt};
use crate::cli::Prompt;

pub(super) const OPTIONS: &[Opt] = &[DBNAME, HOST, PORT, USERNAME, NO_PASSWORD, PASSWORD];

const DBNAME: Opt = Opt {
    long: "dbname",
    short: Some('d'),
    env: None,
    kind: Kind::Value {
        name: "CONNSTR",
        set: |typed, value| {
            typed.connection.dbname = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "connection string: key=value pairs or a postgresql:// URI",
};

#[test]
fn dbname_is_kept_as_typed() {
    assert_eq!(typed(&["-d", "host=a  port=b"]).connection.dbname.as_deref(), Some("host=a  port=b"));
}

const HOST: Opt = Opt {
    long: "host",
    short: Some('h'),
    env: None,
    kind: Kind::Value {
        name: "HOSTNAME",
        set: |typed, value| {
            typed.connection.host = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "server's host name or socket directory; overrides the connection string, as -p and -U do",
};

#[test]
fn host_may_be_a_list_or_a_directory() {
    assert_eq!(typed(&["-ha,b"]).connection.host.as_deref(), Some("a,b"));
    assert_eq!(typed(&["--host=/run/postgresql"]).connection.host.as_deref(), Some("/run/postgresql"));
}

const PORT: Opt = Opt {
    long: "port",
    short: Some('p'),
    env: None,
    kind: Kind::Value {
        name: "PORT",
        set: |typed, value| {
            typed.connection.port = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "server's port number",
};

#[test]
fn port_may_be_a_list() {
    assert_eq!(typed(&["-p", "5432,5433"]).connection.port.as_deref(), Some("5432,5433"));
}

const USERNAME: Opt = Opt {
    long: "username",
    short: Some('U'),
    env: None,
    kind: Kind::Value {
        name: "NAME",
        set: |typed, value| {
            typed.connection.username = Some(value.text()?.to_owned());
            Ok(())
        },
    },
    help: "role to connect as",
};

#[test]
fn username_is_kept_as_typed() {
    assert_eq!(typed(&["-U", "Größe"]).connection.username.as_deref(), Some("Größe"));
}

const NO_PASSWORD: Opt = Opt {
    long: "no-password",
    short: Some('w'),
    env: None,
    kind: Kind::Flag(|typed| typed.connection.password_prompt = Prompt::Never),
    help: "never ask for a password on the terminal",
};

const PASSWORD: Opt = Opt {
    long: "password",
    short: Some('W'),
    env: None,
    kind: Kind::Flag(|typed| typed.connection.password_prompt = Prompt::Always),
    help: "ask for a password before connecting; without it, only when the server wants one",
};

#[test]
fn the_last_word_about_prompting_wins() {
    for (args, expected) in [
        (&[][..], Prompt::Auto),
        (&["-w"], Prompt::Never),
        (&["-W"], Prompt::Always),
        (&["--password", "--no-password"], Prompt::Never),
        (&["-wW"], Prompt::Always),
    ] {
        assert_eq!(typed(args).connection.password_prompt, expected, "{args:?}");
    }
}
