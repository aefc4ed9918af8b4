//! What a user can get wrong: each mistake is told in one line that says what, where and what to do, ends with its exit
//! code, shows no password, and leaves directory and server as they were.

mod directory;
mod server;

use anyhow::{Context, Result, ensure};
use harness::receiver::{Ended, Launch};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The password in every case: it must not be seen.
const SECRET: &str = "s3cr3t-Marker";

/// Far more than any refusal takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory for WAL, and a home directory without any of libpq's files.
struct Place {
    wal: TempDir,
    home: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        Ok(Self { wal: tempfile::tempdir()?, home: tempfile::tempdir()? })
    }

    fn wal(&self) -> &str {
        self.wal.path().to_str().unwrap_or_default()
    }

    /// Runs the agent with `args` alone, and once more with all that it can say.
    async fn check_bare(&self, args: &[&str], env: &[(&str, &str)], expected: &[&str], code: i32) -> Result<()> {
        for verbose in [&[][..], &["-vvv"]] {
            let before = contents(self.wal.path())?;
            let mut launch = Launch::wal_agent()?.args(verbose).args(args).env("HOME", self.home.path());
            for (name, value) in env {
                launch = launch.env(name, value);
            }
            let ended = launch.spawn()?.wait_exit(PATIENCE).await.with_context(|| format!("{args:?} {env:?}"))?;
            judge(&ended, verbose.is_empty(), expected, code).with_context(|| format!("{args:?} {env:?}"))?;
            ensure!(contents(self.wal.path())? == before, "{args:?} {env:?}: the directory has changed");
        }
        Ok(())
    }

    /// Runs the agent on this directory, with `--no-loop` and these arguments.
    async fn check(&self, args: &[&str], expected: &[&str], code: i32) -> Result<()> {
        let args = [&["-D", self.wal(), "--no-loop", "-w"], args].concat();
        self.check_bare(&args, &[("PGPASSWORD", SECRET)], expected, code).await
    }

    async fn check_conninfo(&self, conninfo: &str, expected: &[&str]) -> Result<()> {
        self.check(&["-d", conninfo], expected, 1).await
    }
}

/// Names, sizes, modes and times of all there is below `dir`, but for the lock of a directory that an agent has used: it
/// notes who held it last.
fn contents(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with(".wal-agent/lock") {
            continue;
        }
        let meta = path.symlink_metadata()?;
        let times = (meta.mtime(), meta.mtime_nsec());
        found.push(format!("{} {} {:o} {times:?}", path.display(), meta.len(), meta.mode()));
        found.extend(contents(&path)?);
    }
    found.sort();
    Ok(found)
}

fn judge(ended: &Ended, terse: bool, expected: &[&str], code: i32) -> Result<()> {
    let Ended { stdout, stderr, .. } = ended;
    ensure!(!stderr.contains(SECRET) && !stdout.contains(SECRET), "the password is shown:\n{stdout}{stderr}");
    ensure!(stdout.is_empty(), "on stdout: {stdout}");
    ensure!(ended.code == Some(code), "exit code {:?}, not {code}:\n{stderr}", ended.code);
    for word in expected {
        ensure!(stderr.contains(word), "not {word:?} in:\n{stderr}");
    }
    // pg_receivewal says these beside.
    let beside = ["wal-agent: error: disconnected", "wal-agent: hint: Try \"wal-agent --help\" for more information."];
    // As in libpq, each attempt to connect has a line, and so have a server's further words.
    let more = ["connection to server ", "DETAIL:  ", "HINT:  ", "wal-agent: waiting up to "];
    let lines = stderr.lines().filter(|line| !beside.contains(line) && !more.iter().any(|more| line.starts_with(more)));
    let lines: Vec<_> = lines.collect();
    let errors = lines.iter().filter(|line| line.starts_with("wal-agent: error: ")).count();
    ensure!(errors == 1 && (!terse || lines.len() == 1), "more than one line:\n{stderr}");
    Ok(())
}

#[tokio::test]
async fn each_wrong_option_is_told() -> Result<()> {
    let place = Place::new()?;
    let dir = place.wal().to_owned();
    let hint = "wal-agent: hint: Try \"wal-agent --help\" for more information.";
    let usage = |args: &[&str], expected: &'static str| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).replace("DIR", &dir)).collect();
        (args, vec![expected, hint])
    };
    let value = |args: &[&str], expected: &'static str| (usage(args, expected).0, vec![expected]);
    for (args, expected) in [
        usage(&[], "no target directory specified"),
        usage(&["--bogus"], "unrecognized option '--bogus'"),
        usage(&["-D", "DIR", "-Q"], "invalid option -- 'Q'"),
        usage(&["-D"], "option requires an argument -- 'D'"),
        usage(&["--directory"], "option '--directory' requires an argument"),
        usage(&["--no-loop=yes"], "option '--no-loop' doesn't allow an argument"),
        usage(&["--no", "-D", "DIR"], "option '--no' is ambiguous"),
        usage(&["-D", "DIR", "operand"], "too many command-line arguments (first is \"operand\")"),
        usage(&["--create-slot", "--drop-slot", "-S", "a"], "cannot use --create-slot together with --drop-slot"),
        usage(&["--create-slot"], "--create-slot needs a slot to be specified using --slot"),
        usage(&["--drop-slot"], "--drop-slot needs a slot to be specified using --slot"),
        usage(&["-D", "DIR", "--synchronous", "--no-sync"], "cannot use --synchronous together with --no-sync"),
        value(&["-D", "DIR", "-s", "x"], "invalid value \"x\" for option -s/--status-interval"),
        value(&["-D", "DIR", "-s", "-1"], "-s/--status-interval must be in range 0..2147483"),
        value(&["-D", "DIR", "-E", "x"], "could not parse end position \"x\": write two hexadecimal numbers"),
        value(&["-D", "DIR", "-S", "Slot"], "use 1 to 63 lower-case letters, digits and underscores"),
        value(&["-D", "DIR", "-Z", "brotli"], "unrecognized compression algorithm: \"brotli\""),
        value(&["-D", "DIR", "-Z", "gzip:99"], "expects a compression level between 1 and 9"),
        value(&["-D", "DIR", "-Z", "gzip"], "use --compress=none, or keep pg_receivewal for this directory"),
        value(&["-D", "DIR", "--log-format", "xml"], "invalid value \"xml\" for option --log-format: use text or json"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.check_bare(&args, &[("PGPASSWORD", SECRET)], &expected, 1).await?;
    }
    let args = ["-D", place.wal()];
    let wrong = ["WAL_AGENT_LOG_FORMAT", "xml"];
    place.check_bare(&args, &[("WAL_AGENT_LOG_FORMAT", "xml")], &wrong, 1).await?;
    place.check_bare(&args, &[("WAL_AGENT_NO_CREATE_SLOT", "maybe")], &["WAL_AGENT_NO_CREATE_SLOT"], 1).await
}

#[tokio::test]
async fn each_malformed_connection_string_is_told_with_its_place() -> Result<()> {
    let place = Place::new()?;
    let here = "(connection string)";
    for (conninfo, expected) in [
        ("host", "missing \"=\" after \"host\" in connection info string"),
        ("host='a", "unterminated quoted string in connection info string"),
        ("bogus=1", "invalid connection option \"bogus\" (connection string)"),
        ("hostname=a", "invalid connection option \"hostname\" (connection string)"),
        ("port=x", "invalid integer value \"x\" for connection option \"port\" (connection string)"),
        ("port=0", "invalid port number: \"0\" (connection string)"),
        ("port=65536", "invalid port number: \"65536\" (connection string)"),
        ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts (connection string)"),
        ("host=a,b hostaddr=::1", "could not match 2 host names to 1 hostaddr values (connection string)"),
        ("hostaddr=localhost", "could not parse network address \"localhost\""),
        ("connect_timeout=soon", "invalid integer value \"soon\" for connection option \"connect_timeout\""),
        ("keepalives_idle=x", "invalid integer value \"x\" for connection option \"keepalives_idle\""),
        ("sslmode=always", "invalid sslmode value: \"always\" (connection string)"),
        ("sslmode=prefer sslnegotiation=direct", "weak sslmode \"prefer\" may not be used with sslnegotiation=direct"),
        ("sslmode=require sslrootcert=system", "weak sslmode \"require\" may not be used with sslrootcert=system"),
        ("ssl_min_protocol_version=TLSv9", "invalid \"ssl_min_protocol_version\" value: \"TLSv9\""),
        ("ssl_max_protocol_version=TLSv1.1", "invalid SSL protocol version range"),
        ("channel_binding=x", "invalid channel_binding value: \"x\""),
        ("target_session_attrs=master", "invalid target_session_attrs value: \"master\""),
        ("load_balance_hosts=yes", "invalid load_balance_hosts value: \"yes\""),
        ("require_auth=ntlm", "invalid require_auth value: \"ntlm\""),
        ("require_auth=md5,!gss", "cannot be mixed"),
        ("service=nowhere", "definition of service \"nowhere\" not found (connection string)"),
        ("servicefile=/nowhere service=a", "service file \"/nowhere\" not found"),
        ("postgresql://[::1", "matching \"]\" in IPv6 host address"),
        ("postgresql://a:b@h/%zz", "invalid percent-encoded token in the dbname of the URI"),
        ("postgresql://h/?bogus=1", "invalid URI query parameter: \"bogus\""),
        ("postgresql://h/?sslmode", "missing key/value separator \"=\" in URI query parameter"),
        ("postgresql://h:x/", "invalid integer value \"x\" for connection option \"port\" (connection string)"),
    ] {
        place.check_conninfo(conninfo, &[expected]).await?;
    }
    // A password where another word was meant to be.
    for conninfo in [
        format!("password={SECRET} extra {SECRET}"),
        format!("host=h password='{SECRET}"),
        format!("postgresql://u:{SECRET}%zz@h/"),
        format!("postgresql://u:{SECRET}/x@h/"),
        format!("postgresql://h/?password={SECRET}={SECRET}"),
        format!("postgresql://h/?password={SECRET}&{SECRET}"),
        format!("password={SECRET} sslmode=x"),
    ] {
        place.check_conninfo(&conninfo, &[]).await?;
    }
    place.check(&["-p", "x"], &["for connection option \"port\" (command line option --port)"], 1).await?;
    place.check_conninfo(&format!("password={SECRET} port=x"), &[here]).await
}

#[tokio::test]
async fn each_parameter_that_cannot_be_honoured_is_refused_in_one_sentence() -> Result<()> {
    let place = Place::new()?;
    for (name, value, reason) in [
        ("sslpassword", SECRET, "give a key without a password"),
        ("sslcrldir", "/crl", "give a file as sslcrl"),
        ("requirepeer", "postgres", "the owner of the server process is not checked"),
        ("min_protocol_version", "3.2", "protocol 3.0 is spoken, and no later one"),
        ("gssencmode", "require", "encryption by GSSAPI is not supported"),
        ("gssdelegation", "1", "credentials cannot be delegated"),
        ("scram_client_key", SECRET, "give the password"),
        ("scram_server_key", SECRET, "give the password"),
        ("oauth_issuer", "https://x", "OAuth authentication is not supported"),
        ("oauth_client_id", "x", "OAuth authentication is not supported"),
        ("oauth_client_secret", SECRET, "OAuth authentication is not supported"),
        ("oauth_scope", "x", "OAuth authentication is not supported"),
        ("sslkeylogfile", "/keys", "TLS secrets are never written to a file"),
        ("sslkey", "engine:key", "give a file"),
    ] {
        let refused = format!("connection option \"{name}\" is refused: ");
        place.check_conninfo(&format!("{name}='{value}'"), &[&refused, reason, "(connection string)"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_environment_and_service_files_are_told_with_their_place() -> Result<()> {
    let place = Place::new()?;
    let args = ["-D", place.wal(), "--no-loop", "-w"];
    for (name, value, expected) in [
        ("PGPORT", "x", "\"port\" (environment variable PGPORT)"),
        ("PGSSLMODE", "x", "invalid sslmode value: \"x\" (environment variable PGSSLMODE)"),
        ("PGCONNECT_TIMEOUT", "x", "\"connect_timeout\" (environment variable PGCONNECT_TIMEOUT)"),
        ("PGTARGETSESSIONATTRS", "x", "(environment variable PGTARGETSESSIONATTRS)"),
        ("PGREQUIREPEER", "x", "\"requirepeer\" is refused"),
        ("PGGSSENCMODE", "require", "\"gssencmode\" is refused"),
        ("PGSERVICE", "nowhere", "definition of service \"nowhere\" not found (environment variable PGSERVICE)"),
    ] {
        place.check_bare(&args, &[(name, value), ("PGPASSWORD", SECRET)], &[expected], 1).await?;
    }

    let file = place.home.path().join("services");
    let path = file.to_str().context("a path")?;
    let hidden = "syntax error (unknown parameter (not shown, as it may hold a password); no blanks around \"=\")";
    for (content, expected) in [
        ("[a]\nbogus=1\n", "syntax error (unknown parameter \"bogus\"; no blanks around \"=\") in service file"),
        ("[a]\npassword=SECRET\nhost = h\n", hidden),
        ("[a]\npassword=SECRET\nSECRET=1\n", hidden),
        ("[a]\npassword=SECRET\nhost\n", "syntax error in service file"),
        ("[a]\nservice=b\n", "nested service specifications not supported in service file"),
        ("[a]\nldap://x\n", "LDAP lookups are not supported in service file"),
        ("[b]\nport=1\n", "definition of service \"a\" not found (environment variable PGSERVICE)"),
        ("[a]\npassword=SECRET\nport=x\n", "services:3)"),
    ] {
        fs::write(&file, content.replace("SECRET", SECRET))?;
        place.check_bare(&args, &[("PGSERVICEFILE", path), ("PGSERVICE", "a")], &[expected], 1).await?;
    }
    Ok(())
}
