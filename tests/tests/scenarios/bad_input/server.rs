//! Servers that refuse us, that we must not trust, and slots that cannot be used.

use super::{Place, SECRET};
use anyhow::{Result, ensure};
use harness::certs::{Authority, KeyKind, Pair, ServerTls, Subject, write_private};
use harness::receiver::Launch;
use harness::scripted::{Script, Scripted};
use harness::server::Server;
use harness::wait::{self, Poll};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

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
    let pair = |name: &str, pair: &Pair| -> Result<String> {
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
    wait::until("the certificate to be replaced", wait::DEADLINE, async || {
        let launch = Launch::wal_agent()?.dbname(&expired).directory(place.wal.path()).args(["-n", "-w"]);
        let said = launch.env("PGPASSWORD", SECRET).run().await?.stderr;
        let replaced = said.contains("expired");
        Ok(if replaced { Poll::Ready(()) } else { Poll::Pending(said) })
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
