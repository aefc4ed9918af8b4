//! What a user can get wrong: each mistake is told in one line that says what, where and what to do, ends with its exit
//! code, shows no password, and leaves directory and server as they were.

use anyhow::{Context, Result, ensure};
use harness::agent::{self, Profile};
use harness::certs::{Authority, KeyKind, ServerTls, Subject, write_private};
use harness::receiver::{Ended, Launch};
use harness::scripted::{Script, Scripted};
use harness::server::Server;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

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
    let more = ["connection to server ", "DETAIL:  ", "HINT:  "];
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

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_told() -> Result<()> {
    let place = Place::new()?;
    let server = Scripted::always(Script::default()).await?;
    let conninfo = server.conninfo();
    let run = |dir: String, expected: &'static [&'static str]| {
        let (place, conninfo) = (&place, &conninfo);
        async move {
            let args = ["-D", &dir, "--no-loop", "-w", "-d", conninfo];
            place.check_bare(&args, &[("PGPASSWORD", SECRET)], expected, 1).await
        }
    };
    let missing = place.home.path().join("missing");
    run(missing.display().to_string(), &["could not open directory \"", "missing\": No such file or directory"])
        .await?;
    ensure!(!missing.exists(), "it was made");
    let file = place.home.path().join("file");
    fs::write(&file, "")?;
    run(file.display().to_string(), &["could not open directory \"", "file\": Not a directory"]).await?;
    run(String::new(), &["could not open directory \"\""]).await?;
    ensure!(server.accepted() == 0, "the server was bothered");

    // Identity records that are none.
    let state = place.wal.path().join(".wal-agent");
    fs::create_dir(&state)?;
    for record in ["", "x", "wal-agent identity 1\nsystem-identifier x\n", "wal-agent identity 2\n"] {
        fs::write(state.join("identity"), record)?;
        let expected = ["/.wal-agent/identity\" is not a record", "move it away to have it written anew"];
        place.check(&["-d", &conninfo], &expected, 3).await?;
    }
    Ok(())
}

/// Root may write everywhere, so the agent runs as somebody else.
#[tokio::test]
async fn a_directory_that_is_closed_to_the_agent_is_told() -> Result<()> {
    let place = Place::new()?;
    let server = Scripted::always(Script::default()).await?;
    let bin = place.home.path().join("wal-agent");
    fs::copy(agent::binary(Profile::Dev)?, &bin)?;
    fs::set_permissions(place.home.path(), Permissions::from_mode(0o755))?;
    for (mode, expected) in [
        (0o555, "could not write to directory \""),
        (0o000, "could not open directory \""),
        (0o111, "could not open directory \""),
        (0o444, "Permission denied"),
    ] {
        fs::set_permissions(place.wal.path(), Permissions::from_mode(mode))?;
        let before = contents(place.wal.path())?;
        let launch = Launch::program(&bin).unprivileged()?.dbname(&server.conninfo()).directory(place.wal.path());
        let ended = launch.args(["--no-loop", "-w", "-S", "missing"]).env("PGPASSWORD", SECRET).run().await?;
        judge(&ended, true, &[expected, place.wal(), "Permission denied", "user id"], 1)?;
        ensure!(contents(place.wal.path())? == before, "the directory has changed");
    }
    Ok(fs::set_permissions(place.wal.path(), Permissions::from_mode(0o700))?)
}

#[tokio::test]
async fn another_clusters_directory_is_refused_with_both_values() -> Result<()> {
    let place = Place::new()?;
    let own = Script { segment_size: "1MB".into(), ..Script::default() };
    let first =
        Scripted::always(own.clone().fault(harness::scripted::Step::Stream, "", harness::scripted::Then::Close));
    let first = first.await?;
    let ended = Launch::wal_agent()?.dbname(&first.conninfo()).directory(place.wal.path()).args(["-n", "-w"]).run();
    ensure!(ended.await?.code == Some(1));

    let way_out = "connect to that cluster, or give this one an empty directory";
    let other = Scripted::always(Script { system: "666".into(), ..own.clone() }).await?;
    let expected = ["holds WAL of the cluster with system identifier 7000000000000000001", "server's is 666", way_out];
    place.check(&["-d", &other.conninfo(), "-S", "slot"], &[&expected[..], &[place.wal()]].concat(), 3).await?;
    let sizes = Scripted::always(Script { segment_size: "16MB".into(), ..own }).await?;
    let expected = ["holds WAL segments of 1 MB", "the server's are 16 MB", way_out, place.wal()];
    place.check(&["-d", &sizes.conninfo(), "-S", "slot"], &expected, 3).await
}

#[tokio::test]
async fn a_directory_in_use_is_refused_after_ten_seconds_and_a_leaving_predecessor_is_waited_for() -> Result<()> {
    let server = Server::start_new(17).await?;
    let dir = tempfile::tempdir()?;
    let launch = || anyhow::Ok(Launch::wal_agent()?.server(&server).directory(dir.path()).args(["--no-loop", "-v"]));
    let mut first = launch()?.spawn()?;
    first.wait_streaming(&server).await?;

    let begin = Instant::now();
    let second = launch()?.spawn()?;
    let ended = second.wait_exit(Duration::from_secs(40)).await?;
    judge(&ended, true, &["is in use by another wal-agent (process ", "give this one a directory of its own"], 4)?;
    ensure!((9..20).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

    let mut third = launch()?.spawn()?;
    first.stop().await?;
    third.wait_streaming(&server).await?;
    ensure!(third.stop().await?.code == Some(0));
    Ok(())
}

fn path(dir: &TempDir, name: &str, content: &str) -> Result<String> {
    let path = dir.path().join(name);
    write_private(&path, content)?;
    Ok(path.display().to_string())
}

#[tokio::test]
async fn each_refusal_of_a_server_and_each_doubt_about_it_is_told() -> Result<()> {
    let place = Place::new()?;
    let (authority, stranger) = (Authority::new("authority")?, Authority::new("stranger")?);
    let tls = |pair| ServerTls { pair, client_ca: Some(authority.pem().to_owned()), crl: None };
    let server = Server::builder(17)
        .tls(tls(authority.server()?))
        .hba("host replication pw all scram-sha-256")
        .hba("hostssl replication certified all cert")
        .hba("host replication plain all trust")
        .hba("host replication nologin all trust")
        .start()
        .await?;
    for role in ["pw LOGIN REPLICATION PASSWORD 'right'", "certified LOGIN REPLICATION", "plain LOGIN", "other LOGIN"] {
        server.sql(&format!("CREATE ROLE {role}")).await?;
    }
    server.sql("CREATE ROLE nologin REPLICATION NOLOGIN").await?;
    let slots = "SELECT count(*) FROM pg_replication_slots";

    let files = tempfile::tempdir()?;
    let root = path(&files, "root.crt", authority.pem())?;
    let other_root = path(&files, "other.crt", stranger.pem())?;
    let good = authority.client("certified", KeyKind::Ec)?;
    let foreign = stranger.client("certified", KeyKind::Ec)?;
    let other_user = authority.client("somebody", KeyKind::Ec)?;
    let pair = |name: &str, pair: &harness::certs::Pair| -> Result<String> {
        let certificate = path(&files, &format!("{name}.crt"), pair.certificate())?;
        Ok(format!("sslcert={certificate} sslkey={}", path(&files, &format!("{name}.key"), &pair.key_pkcs8())?))
    };
    let (good, foreign, other_user) = (pair("good", &good)?, pair("foreign", &foreign)?, pair("other", &other_user)?);
    let open_key = files.path().join("open.key");
    fs::copy(files.path().join("good.key"), &open_key)?;
    fs::set_permissions(&open_key, Permissions::from_mode(0o644))?;
    let (crt, key) = (files.path().join("good.crt"), files.path().join("good.key"));
    let (crt, key, open_key) = (crt.display(), key.display(), open_key.display());

    let at = |more: &str| format!("host=localhost hostaddr=127.0.0.1 port={} {more}", server.port());
    let certified = |more: &str| at(&format!("user=certified sslmode=require {more}"));
    let to = "connection to server at \"localhost\" (127.0.0.1), port";
    for (conninfo, expected) in [
        (at("user=pw"), "FATAL:  password authentication failed for user \"pw\""),
        (at("user=absent"), "no pg_hba.conf entry for replication connection from host"),
        (at("user=other"), "no pg_hba.conf entry for replication connection from host"),
        (at("user=plain"), "FATAL:  permission denied to start WAL sender"),
        (at("user=nologin"), "FATAL:  role \"nologin\" is not permitted to log in"),
        (at("user=pw require_auth=md5"), "authentication method requirement \"md5\" failed"),
        (at("user=pw channel_binding=require sslmode=disable"), "channel binding"),
        (certified(&format!("{good} options='-c bogus'")), "-c bogus requires a value"),
        (at("user=pw sslmode=verify-ca"), "root certificate file"),
        (at("user=pw sslmode=verify-full sslrootcert=/nowhere"), "root certificate file \"/nowhere\" does not exist"),
        (at(&format!("user=pw sslmode=verify-ca sslrootcert={other_root}")), &other_root),
        (
            format!(
                "host=db.example hostaddr=127.0.0.1 port={} user=pw sslmode=verify-full sslrootcert={root}",
                server.port()
            ),
            "does not match host name \"db.example\"",
        ),
        (certified("sslcertmode=disable"), "connection requires a valid client certificate"),
        (certified(&foreign), "foreign.crt"),
        (certified(&other_user), "certificate authentication failed for user \"certified\""),
        (certified(&format!("sslcert={crt} sslkey={open_key}")), "has group or world access; file must have"),
        (certified(&format!("sslcert={crt} sslkey=/nowhere")), "but not private key file \"/nowhere\""),
        (certified(&format!("sslcert=/nowhere sslkey={key} sslcertmode=require")), "valid SSL certificate"),
        (certified(&format!("sslcert={root} sslkey={key}")), "renew them together"),
        (
            certified(&format!("sslmode=verify-ca sslrootcert={root} sslcrl=/nowhere")),
            "certificate revocation list file \"/nowhere\"",
        ),
        (at("user=pw target_session_attrs=standby"), "password authentication failed"),
    ] {
        let to = if conninfo.contains("db.example") { "connection to server at \"db.example\"" } else { to };
        place.check(&["-d", &conninfo, "-S", "slot"], &[to, expected], 1).await?;
    }
    ensure!(server.value(slots).await? == "0");

    server.renew_tls(&authority.sign(&Subject::named("localhost").also("localhost").expired())?)?;
    let expired = at(&format!("user=pw sslmode=verify-ca sslrootcert={root}"));
    harness::wait::until("the certificate to be replaced", harness::wait::DEADLINE, async || {
        let launch = Launch::wal_agent()?.dbname(&expired).directory(place.wal.path()).args(["-n", "-w"]);
        let said = launch.env("PGPASSWORD", SECRET).run().await?.stderr;
        let replaced = said.contains("expired");
        Ok(if replaced { harness::wait::Poll::Ready(()) } else { harness::wait::Poll::Pending(said) })
    })
    .await?;
    place.check_conninfo(&expired, &["expired", to]).await?;

    // Nobody there, no name, no TLS, no password.
    let scripted = Scripted::always(Script::default()).await?;
    let no_tls = scripted.conninfo().replace("sslmode=disable", "sslmode=require");
    place.check_conninfo(&no_tls, &["server does not support SSL, but SSL was required", "lower sslmode"]).await?;
    let nobody = "host=127.0.0.1 port=1 connect_timeout=5";
    place.check_conninfo(nobody, &["port 1 failed", "is the server running there and accepting connections?"]).await?;
    place
        .check_conninfo("host=/nowhere port=1", &["on socket \"/nowhere/.s.PGSQL.1\"", "is the server running"])
        .await?;
    place
        .check_conninfo("host=no.such.host.invalid", &["could not translate host name \"no.such.host.invalid\""])
        .await?;
    let args = ["-D", place.wal(), "--no-loop", "-w", "-d", &at("user=pw")];
    let no_password = ["server asked for a password and none was supplied", "password file, or set PGPASSWORD"];
    place.check_bare(&args, &[], &no_password, 1).await
}

async fn slots_are_told(major: u32) -> Result<()> {
    let place = Place::new()?;
    let server = Server::builder(major).config("max_wal_senders", "3").config("wal_level", "logical").start().await?;
    server.create_slot("taken", true).await?;
    server.sql("SELECT pg_create_logical_replication_slot('logical', 'pgoutput')").await?;
    let conninfo = server.socket_conninfo();
    let slots = "SELECT string_agg(slot_name || ' ' || coalesce(restart_lsn::text, ''), ' ' ORDER BY 1) \
                 FROM pg_replication_slots WHERE slot_type = 'physical'";
    let before = server.value(slots).await?;
    let check =
        async |args: &[&str], expected: &[&str]| place.check(&[&["-d", &conninfo], args].concat(), expected, 1).await;

    let missing = ["replication slot \"missing\" does not exist", "create it with --create-slot"];
    check(&["-S", "missing", "--no-create-slot"], &missing).await?;
    check(&["-S", "logical"], &["logical"]).await?;
    check(&["--drop-slot", "-S", "missing"], &["replication slot \"missing\" does not exist"]).await?;
    check(&["--create-slot", "-S", "taken"], &["replication slot \"taken\" already exists"]).await?;

    ensure!(server.value(slots).await? == before, "a slot has changed");

    let mut holders = Vec::new();
    for _ in 0..3 {
        let dir = tempfile::tempdir()?;
        let mut holder = Launch::wal_agent()?.server(&server).directory(dir.path()).spawn()?;
        holder.wait_streaming(&server).await?;
        holders.push((holder, dir));
    }
    check(&[], &["FATAL:  number of requested standby connections exceeds", "max_wal_senders"]).await
}

#[tokio::test]
async fn slots_are_told_13() -> Result<()> {
    slots_are_told(13).await
}

#[tokio::test]
async fn slots_are_told_18() -> Result<()> {
    slots_are_told(18).await
}

#[tokio::test]
async fn an_active_slot_is_told_and_an_end_position_in_the_past_is_reached_at_once() -> Result<()> {
    let place = Place::new()?;
    let server = Server::start_new(17).await?;
    server.create_slot("taken", true).await?;
    let other = tempfile::tempdir()?;
    let mut holder = Launch::wal_agent()?.server(&server).directory(other.path()).slot("taken").spawn()?;
    holder.wait_streaming(&server).await?;
    let active = ["replication slot \"taken\" is active for PID"];
    place.check(&["-d", &server.socket_conninfo(), "-S", "taken"], &active, 1).await?;
    place.check(&["-d", &server.socket_conninfo(), "--drop-slot", "-S", "taken"], &active, 1).await?;
    holder.stop().await?;

    let launch = Launch::wal_agent()?.server(&server).directory(place.wal.path()).args(["-n", "-E", "0/1"]);
    let ended = launch.run().await?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    Ok(())
}
