//! Service files and password files, as text and on disk.

use super::*;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const SERVICES: &str = "\
# host=comment
host=before any section
[other]
host=other
[mine]
  # more of it
  host=from-service
port=7\r
host=second
dbname=ignored
user=
[mine]
port=8
";

/// A home directory with these files, all of them private.
fn home(files: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let environment = Environment { home: Some(directory.path().into()), ..bare() };
    (directory, environment)
}

#[test]
fn a_service_stands_between_connection_string_and_environment() {
    let (directory, environment) = home(&[(".pg_service.conf", SERVICES)]);
    let conninfo = resolve_in("service=mine", &environment).unwrap();
    assert_eq!((hosts(&conninfo), conninfo.user.as_str()), (vec!["from-service 7".to_owned()], "me"));
    assert_eq!(conninfo.dbname, None);
    assert_eq!(hosts(&resolve_in("service=mine port=9", &environment).unwrap()), ["from-service 9"]);

    let path = directory.path().join(".pg_service.conf").into_os_string().into_string().unwrap();
    for (variables, text) in [
        (&[("PGSERVICE", "mine"), ("PGSERVICEFILE", &path), ("PGHOST", "environment")][..], ""),
        (&[("PGSERVICE", "other"), ("PGSERVICEFILE", &path)], "service=mine"),
        (&[("PGSERVICE", "mine"), ("PGSERVICEFILE", "/nonexistent")], &format!("servicefile='{path}'")),
    ] {
        let conninfo = resolve_in(text, &super::environment(variables)).unwrap();
        assert_eq!(hosts(&conninfo), ["from-service 7"], "{text}");
    }
}

#[test]
fn the_system_s_service_file_comes_second() {
    let (system, _) = home(&[("pg_service.conf", "[shared]\nhost=shared\n[mine]\nhost=not this\n")]);
    let (own, _) = home(&[(".pg_service.conf", SERVICES)]);
    let environment = |home: Option<&Path>| Environment {
        home: home.map(PathBuf::from),
        user: Some("me".to_owned()),
        ..Environment::new([("PGSYSCONFDIR", system.path())])
    };
    for (home, service, expected) in [
        (Some(own.path()), "shared", "shared 5432"),
        (Some(own.path()), "mine", "from-service 7"),
        (Some(Path::new("/nonexistent")), "shared", "shared 5432"),
        (None, "shared", "shared 5432"),
    ] {
        let conninfo = resolve_in(&format!("service={service}"), &environment(home)).unwrap();
        assert_eq!(hosts(&conninfo), [expected]);
    }
}

#[test]
fn faults_of_a_service_are_located() {
    let said = |content: &str| match parse_service_file(content, "s", "/f".as_ref()) {
        Ok(Some(_)) => "found".to_owned(),
        Ok(None) => "not found".to_owned(),
        Err(error) => error.to_string(),
    };
    for (content, expected) in [
        ("[s]", "found"),
        ("[s] host=x\n", "found"),
        ("[s\n[ss]\nhost=x", "not found"),
        ("[other]\nnonsense\n[s]\n\n#\nhost=x\n[other]\nnonsense", "found"),
        ("\n[s]\nnonsense", "syntax error in service file \"/f\", line 3"),
        (
            "[s]\nhosts=x",
            "syntax error (unknown parameter \"hosts\"; no blanks around \"=\") in service file \"/f\", line 2",
        ),
        (
            "[s]\nhost = x",
            "syntax error (unknown parameter (not shown, as it may hold a password); no blanks around \"=\") in service file \"/f\", line 2",
        ),
        ("[s]\nservice=t", "nested service specifications not supported in service file \"/f\", line 2"),
        ("[s]\nservicefile=t", "nested service specifications not supported in service file \"/f\", line 2"),
        ("[s]\nldap://h/dn", "LDAP lookups are not supported in service file \"/f\", line 2"),
        ("[s]\nhost=a\0b", "value of connection option \"host\" contains a NUL (service file /f:2)"),
    ] {
        assert_eq!(said(content), expected, "{content:?}");
    }

    let (directory, environment) = home(&[(".pg_service.conf", "[a]\nport=0\n")]);
    let said = |text| resolve_in(text, &environment).unwrap_err().to_string();
    let path = directory.path().join(".pg_service.conf");
    assert_eq!(said("service=a"), format!("invalid port number: \"0\" (service file {}:2)", path.display()));
    assert_eq!(said("service=b"), "definition of service \"b\" not found (connection string)");
    assert_eq!(said("service=a servicefile=/nonexistent"), "service file \"/nonexistent\" not found");
    let error = resolve_in("", &super::environment(&[("PGSERVICE", "")])).unwrap_err();
    assert_eq!(error.to_string(), "definition of service \"\" not found (environment variable PGSERVICE)");
}

#[test]
fn lines_of_a_password_file() {
    let login = Login { host: "h", port: 5432, dbname: "replication", user: "u" };
    let tricky = Login { host: "::1", port: 1, dbname: "a\\b", user: "*" };
    for (login, content, expected) in [
        (login, "h:5432:replication:u:secret\n", Some("secret")),
        (login, "*:*:*:*:secret", Some("secret")),
        (login, "*:*:*:*:secret\r\n", Some("secret")),
        (login, "*:*:*:*:s\\:e\\\\c\\r\\", Some("s:e\\cr\\")),
        (login, "*:*:*:*:se:cret", Some("se")),
        (login, "*:*:*:*:", Some("")),
        (login, "*:*:*:u:first\n*:*:*:*:second", Some("first")),
        (login, "#*:*:*:*:no\n\n*:*:*:x:no\nh:5432\n*:*:*:*:yes", Some("yes")),
        (login, "\\h:5\\432:*:u:secret", Some("secret")),
        (login, "h*:*:*:*:no", None),
        (login, "hh:*:*:*:no", None),
        (login, ":*:*:*:no", None),
        (login, "h:5432:postgres:u:no", None),
        (login, "h:5432:replication:u", None),
        (login, "h\\", None),
        (login, "", None),
        (tricky, "\\:\\:1:1:a\\\\b:\\*:secret", Some("secret")),
        (tricky, "::1:1:a\\\\b:*:no", None),
        (tricky, "*:1:a\\b:*:no", None),
    ] {
        let found = find_password(content.as_bytes(), &login).map(|(_, password)| String::from_utf8(password).unwrap());
        assert_eq!(found.as_deref(), expected, "{content:?}");
    }
}

#[test]
fn each_host_has_its_own_password() {
    let (directory, environment) = home(&[(
        ".pgpass",
        "localhost:*:replication:me:socket\na:1:*:*:for a\n10.0.0.1:*:*:*:address\n2001\\:DB8\\:\\:1:*:*:*:six\n*:*:d:*:database\n/tmp:*:*:*:tmp\n",
    )]);
    let find = |text: &str| {
        let conninfo = resolve_in(text, &environment).unwrap();
        passwords(&conninfo)
            .into_iter()
            .map(|password| password.unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(find("host=a,b,a port=1,1,2"), "for a,-,-");
    assert_eq!(find(""), "socket");
    assert_eq!(find("host=/run/sockets"), "socket");
    assert_eq!(find("host=/tmp"), "tmp");
    assert_eq!(find("host=localhost"), "socket");
    assert_eq!(find("host=localhost user=other"), "-");
    assert_eq!(find("hostaddr=10.0.0.1,10.0.0.2"), "address,-");
    assert_eq!(find("hostaddr=2001:DB8::1"), "six");
    assert_eq!(find("host=b hostaddr=10.0.0.1"), "-");
    assert_eq!(find("host=b dbname=d"), "database");
    assert_eq!(find("host=a,b password=given"), "given,given");
    assert_eq!(find("host=a port=1 passfile=/nonexistent"), "-");
    let path = directory.path().join(".pgpass");
    let named = super::environment(&[("PGPASSFILE", path.to_str().unwrap())]);
    assert_eq!(passwords(&resolve_in("", &named).unwrap()), [Some("socket")]);
}

#[test]
fn a_password_file_that_is_not_private_or_not_a_file_is_ignored() {
    let (directory, environment) = home(&[("open", "*:*:*:*:secret"), ("binary", "")]);
    let path = |name| directory.path().join(name);
    fs::set_permissions(path("open"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(path("binary"), b"*:*:*:other:x\n*:*:*:*:\xff").unwrap();
    let resolve = |name| {
        let text = format!("passfile='{}'", path(name).display());
        Conninfo::resolve(Some(&text), &Overrides::default(), &environment)
    };
    for (name, reason) in [
        ("open", "it has group or world access; permissions should be u=rw (0600) or less"),
        ("", "it is not a plain file"),
    ] {
        let (conninfo, warnings) = resolve(name).unwrap();
        assert_eq!(passwords(&conninfo), [None]);
        let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
        assert_eq!(warnings, [format!("password file \"{}\" is ignored: {reason}", path(name).display())]);
    }
    let error = resolve("binary").unwrap_err().to_string();
    assert!(error.contains("line 2, is not valid UTF-8"), "{error}");
    let (_, warnings) = resolve("missing").unwrap();
    assert!(warnings.is_empty());
}
