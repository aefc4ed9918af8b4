//! The harness proves itself with PostgreSQL's own programs before it judges ours.

use anyhow::{Result, ensure};
use harness::certs::{Authority, KeyKind, ServerTls, Subject, write_private};
use harness::load::{Load, lost_commits};
use harness::postgres::Tools;
use harness::receiver::Launch;
use harness::server::{BackupWal, Server, Stop};
use harness::{compare, postgres};
use std::fs;
use std::path::Path;

/// A disaster with pg_receivewal: all that a scenario with the agent does.
async fn pg_receivewal_survives_a_disaster(major: u32) -> Result<()> {
    let mut server = Server::start_new(major).await?;
    ensure!(server.value("SHOW server_version_num").await?.starts_with(&major.to_string()));
    server.create_slot("reference", true).await?;

    let dir = tempfile::tempdir()?;
    let receiver = Launch::pg_receivewal(major)?.server(&server).directory(dir.path()).slot("reference");
    let mut receiver = receiver.synchronous().arg("-v").spawn()?;
    receiver.wait_for_line("starting log streaming").await?;
    receiver.wait_streaming(&server).await?;
    server.set("synchronous_standby_names", receiver.name()).await?;
    let backup = server.base_backup(BackupWal::None)?;

    let load = Load::of(3).start(&server).await?;
    load.wait_more(50).await?;
    let switched = server.switch_wal().await?;
    receiver.wait_flushed(&server, switched).await?;
    load.wait_more(50).await?;
    server.kill();
    let acknowledged = load.stop().await;
    receiver.stop().await?;

    let equal = compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    ensure!(equal.segments >= 2 && equal.partials == 1, "{equal:?}");
    server.destroy()?;

    let second = backup.copy()?;
    let recovered = Server::recover_from(backup, dir.path()).await?;
    assert_eq!(lost_commits(&recovered, &acknowledged).await?, Vec::<i64>::new());
    // It waits for none of the old server's standbys.
    recovered.sql("INSERT INTO load VALUES (-1, 'after')").await?;
    drop(recovered);

    // The judge can say no: without the segment that was being received, commits are lost.
    for entry in fs::read_dir(dir.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "partial") {
            fs::remove_file(path)?;
        }
    }
    let recovered = Server::recover_from(second, dir.path()).await?;
    ensure!(lost_commits(&recovered, &acknowledged).await?.len() >= 50);
    Ok(())
}

macro_rules! on_each_major {
    ($check:ident: $($test:ident $major:literal)*) => {
        $(#[tokio::test]
        async fn $test() -> Result<()> {
            $check($major).await
        })*
    };
}

on_each_major! { pg_receivewal_survives_a_disaster:
    disaster_13 13
    disaster_14 14
    disaster_15 15
    disaster_16 16
    disaster_17 17
    disaster_18 18
}

#[tokio::test]
async fn two_receivers_follow_a_promotion_and_are_equal() -> Result<()> {
    let primary = Server::builder(17).wal_segsize(1).initdb_arg("--allow-group-access").start().await?;
    let standby = Server::standby_of(&primary).await?;
    let (a, b) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let launch = |dir: &Path| Launch::pg_receivewal(17)?.server(&standby).directory(dir).status_interval(1).spawn();
    let (mut one, mut two) = (launch(a.path())?, launch(b.path())?);
    one.wait_streaming(&standby).await?;
    two.wait_streaming(&standby).await?;

    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 30000) AS i").await?;
    let end = primary.switch_wal().await?;
    primary.wait_for_replication(&format!("standby_{}", primary.port()), "to replay", |row| row.replay >= end).await?;
    standby.promote().await?;
    let end = standby.switch_wal().await?;
    one.wait_received(&standby, end).await?;
    two.wait_received(&standby, end).await?;
    assert_eq!(one.stop().await?.code, Some(0));
    assert_eq!(two.stop().await?.code, Some(0));

    let equal = compare::receivers(a.path(), b.path(), primary.segment_size())?;
    ensure!(equal.segments >= 3 && equal.histories == 1, "{equal:?}");
    compare::with_server(a.path(), &standby.wal_dir(), standby.segment_size())?;
    Ok(())
}

#[tokio::test]
async fn a_server_comes_back_where_it_was() -> Result<()> {
    let mut server = Server::builder(16).config("application_name", "it's \\ quoted").fsync().create()?;
    ensure!(!server.is_running());
    server.start().await?;
    assert_eq!(server.value("SHOW application_name").await?, "it's \\ quoted");
    server.sql("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await?;
    for stop in [Stop::Fast, Stop::Smart, Stop::Immediate] {
        server.stop(stop).await?;
        server.start().await?;
    }
    server.kill();
    ensure!(!server.is_running() && server.rows("SELECT 1").await.is_err());
    server.start().await?;
    server.wait_for("(SELECT count(*) = 1 FROM t)").await?;
    ensure!(server.log().contains("automatic recovery") || server.log().contains("not properly shut down"));
    let error = server.sql("SELECT 1/0").await.unwrap_err();
    assert_eq!(format!("{error:#}"), "in \"SELECT 1/0\": ERROR: division by zero (22012)");

    server.stop(Stop::Fast).await?;
    fs::write(server.data_dir().join("postgresql.conf"), "no_such_setting = 1")?;
    let error = format!("{:#}", server.start().await.unwrap_err());
    ensure!(error.contains("unrecognized configuration parameter \"no_such_setting\""), "{error}");
    Ok(())
}

/// Logs in with psql over TLS; what psql says is the error.
async fn psql(server: &Server, home: &Path, parameters: &str) -> Result<String> {
    let conninfo =
        format!("host=localhost hostaddr=127.0.0.1 port={} user=app dbname=postgres {parameters}", server.port());
    let psql = Launch::program(&Tools::psql()?).env("HOME", home).dbname(&conninfo);
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ended = psql.args(["-X", "-w", "-A", "-t", "-c", query]).run().await?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    Ok(ended.stdout)
}

#[tokio::test]
async fn certificates_are_what_libpq_takes() -> Result<()> {
    for major in [13, 18] {
        let (authority, stranger) = (Authority::new("tests")?, Authority::new("others")?);
        let client = authority.client("app", KeyKind::Ec)?;
        let rsa = authority.client("app", KeyKind::Rsa)?;
        let revoked = authority.client("app", KeyKind::Ec)?;
        let tls = ServerTls {
            pair: authority.server()?,
            client_ca: Some(authority.pem().into()),
            crl: Some(authority.crl(&[&revoked])?),
        };
        let server = Server::builder(major).tls(tls).hba("hostssl all app all cert").start().await?;
        server.sql("CREATE ROLE app LOGIN").await?;

        let home = tempfile::tempdir()?;
        let file = |name: &str, pem: &str| -> Result<String> {
            write_private(&home.path().join(name), pem)?;
            Ok(home.path().join(name).display().to_string())
        };
        let root = file("root.crt", authority.pem())?;
        let verify = format!("sslmode=verify-full sslrootcert={root}");
        for (pair, key) in [
            (&client, client.key_pkcs8()),
            (&client, client.key_sec1()?),
            (&rsa, rsa.key_pkcs8()),
            (&rsa, rsa.key_pkcs1()?),
        ] {
            let (cert, key) = (file("client.crt", pair.certificate())?, file("client.key", &key)?);
            assert_eq!(psql(&server, home.path(), &format!("{verify} sslcert={cert} sslkey={key}")).await?, "t");
        }

        let refused = async |pair: &harness::certs::Pair, verify: &str, expected: &str| -> Result<()> {
            let (cert, key) = (file("client.crt", pair.certificate())?, file("client.key", &pair.key_pkcs8())?);
            let error = psql(&server, home.path(), &format!("{verify} sslcert={cert} sslkey={key}")).await;
            let error = error.unwrap_err().to_string();
            ensure!(error.contains(expected), "expected was {expected:?}: {error}");
            Ok(())
        };
        refused(&revoked, &verify, "certificate revoked").await?;
        refused(&authority.sign(&Subject::named("app").expired())?, &verify, "certificate expired").await?;
        let strange = format!("sslmode=verify-full sslrootcert={}", file("strange.crt", stranger.pem())?);
        refused(&client, &strange, "certificate verify failed").await?;

        server.renew_tls(&authority.sign(&Subject::named("elsewhere"))?)?;
        // The reload takes effect when the postmaster comes to it.
        server.wait_for("pg_conf_load_time() > pg_postmaster_start_time()").await?;
        refused(&client, &verify, "does not match host name").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_receiver_is_observed() -> Result<()> {
    let server = Server::start_new(15).await?;
    let ended = Launch::pg_receivewal(15)?.server(&server).run().await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    ensure!(ended.stderr.contains("no target directory specified"));

    let dir = tempfile::tempdir()?;
    let mut receiver = Launch::pg_receivewal(15)?.server(&server).directory(dir.path()).args(["-v", "-n"]).spawn()?;
    receiver.wait_for_line("starting log streaming").await?;
    ensure!(receiver.is_running()? && receiver.mark() >= 1);
    drop(server);
    let error = receiver.wait_for_line("no such line").await.unwrap_err().to_string();
    ensure!(error.contains("it ended (exit status: 1) without it") && error.contains("disconnected"), "{error}");
    Ok(())
}

#[test]
fn a_complete_postgresql_is_found() -> Result<()> {
    let found = postgres::find_any()?;
    ensure!(found.build.major >= 13 && found.build.bin("pg_basebackup").is_some(), "{found:?}");
    Ok(())
}

#[test]
fn pg_waldump_is_of_the_servers_major() -> Result<()> {
    let majors = postgres::MAJORS.into_iter().filter_map(|major| Some((major, Tools::waldump(major).transpose()?)));
    let mut found = Vec::new();
    for (major, program) in majors {
        let output = std::process::Command::new(program?).arg("--version").output()?;
        ensure!(String::from_utf8_lossy(&output.stdout).contains(&format!(") {major}.")), "{output:?}");
        found.push(major);
    }
    assert_eq!(found, [15, 16, 17, 18]);
    Ok(())
}
