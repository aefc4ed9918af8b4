//! What the agent writes is what `pg_receivewal` writes, to the last byte, name and mode, whatever server, segment size
//! and transport.

use crate::common::{Pair, names, wait_replayed, whichever_is_primary, write};
use anyhow::{Context, Result, ensure};
use harness::certs::{Authority, KeyKind, ServerTls, write_private};
use harness::load::Load;
use harness::postgres::Tools;
use harness::receiver::Launch;
use harness::server::{Server, Stop};
use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;

/// The receivers stay connected to a standby, which is restarted, promoted and restarted as a primary.
async fn through_load_restarts_and_a_promotion(major: u32) -> Result<()> {
    let primary = Server::start_new(major).await?;
    let mut server = Server::standby_of(&primary).await?;
    let mut pair = Pair::of(&server).await?;

    let load = Load::of(2).start(&primary).await?;
    for _ in 0..2 {
        load.wait_more(50).await?;
        primary.switch_wal().await?;
    }
    server.restart().await?;
    load.wait_more(50).await?;
    load.stop().await;
    wait_replayed(&server, primary.flush_lsn().await?).await?;
    pair.wait_streaming(&server).await?;

    server.promote().await?;
    let load = Load::of(2).start(&server).await?;
    load.wait_more(50).await?;
    server.switch_wal().await?;
    server.restart().await?;
    load.wait_more(50).await?;
    load.stop().await;
    server.switch_wal().await?;
    let end = write(&server).await?;
    pair.wait_streaming(&server).await?;
    pair.wait_received(&server, end).await?;

    let files = names(pair.agent_dir.path())?;
    let equal = pair.stop_and_compare(&server).await?;
    ensure!(equal.histories == 1 && files.iter().any(|name| name == "00000002.history"), "{files:?}");
    // The last segment of the old timeline keeps its name for ever.
    ensure!(equal.partials == 2 && files.iter().any(|name| is_partial_of("00000001", name)), "{files:?}");
    ensure!(equal.segments >= 4, "{equal:?}");
    Ok(())
}

fn is_partial_of(timeline: &str, name: &str) -> bool {
    name.starts_with(timeline) && name.ends_with(".partial")
}

on_each_major!(through_load_restarts_and_a_promotion);

/// The receivers lose their server and find another one, promoted meanwhile, in its place.
async fn through_a_failover_to_another_server(major: u32) -> Result<()> {
    let mut primary = Server::builder(major).wal_segsize(1).start().await?;
    let standby = Server::standby_of(&primary).await?;
    let conninfo = whichever_is_primary(&primary, &standby);
    // The agent's slot reserves WAL from here on, and the other receiver begins here.
    primary.sql("CHECKPOINT").await?;
    let agent = Launch::wal_agent()?.dbname(&conninfo).slot("wal_replica").synchronous();
    let mut pair = Pair::start(&primary, agent, Launch::pg_receivewal(major)?.dbname(&conninfo)).await?;

    let load = Load::of(2).start(&primary).await?;
    load.wait_more(50).await?;
    primary.switch_wal().await?;
    primary.restart().await?;
    load.wait_more(50).await?;
    load.stop().await;
    primary.wait_streaming(&format!("standby_{}", primary.port())).await?;
    pair.wait_streaming(&primary).await?;

    // A shutdown waits until all receivers have everything.
    primary.stop(Stop::Fast).await?;
    standby.promote().await?;
    let load = Load::of(2).start(&standby).await?;
    for _ in 0..2 {
        load.wait_more(50).await?;
        standby.switch_wal().await?;
    }
    load.stop().await;
    let end = write(&standby).await?;
    pair.wait_streaming(&standby).await?;
    pair.wait_received(&standby, end).await?;

    let equal = pair.stop_and_compare(&standby).await?;
    ensure!(equal.histories == 1 && equal.partials == 2 && equal.segments >= 3, "{equal:?}");
    Ok(())
}

on_majors! { through_a_failover_to_another_server: pg13 13 pg18 18 }

/// A switch and a start of the next segment.
async fn with_segments_of(megabytes: u64, major: u32) -> Result<()> {
    let builder = Server::builder(major).wal_segsize(megabytes).config("wal_init_zero", "off");
    let server = builder.config("wal_keep_size", "2GB").start().await?;
    let mut pair = Pair::of(&server).await?;
    let load = Load::of(2).payload(2000).start(&server).await?;
    load.wait_more(200).await?;
    server.switch_wal().await?;
    load.wait_more(200).await?;
    load.stop().await;
    let end = write(&server).await?;
    pair.wait_received(&server, end).await?;
    let equal = pair.stop_and_compare(&server).await?;
    ensure!(equal.segments >= 1 && equal.partials == 1 && equal.bytes > megabytes << 20, "{equal:?}");
    Ok(())
}

#[tokio::test]
async fn with_segments_of_1_mb() -> Result<()> {
    with_segments_of(1, 14).await
}

#[tokio::test]
async fn with_segments_of_16_mb() -> Result<()> {
    with_segments_of(16, 15).await
}

#[tokio::test]
async fn with_segments_of_64_mb() -> Result<()> {
    with_segments_of(64, 16).await
}

#[tokio::test]
async fn with_segments_of_1_gb() -> Result<()> {
    with_segments_of(1024, 18).await
}

#[tokio::test]
async fn with_a_data_directory_that_its_group_may_read() -> Result<()> {
    let primary = Server::builder(16).wal_segsize(1).initdb_arg("--allow-group-access").start().await?;
    let standby = Server::standby_of(&primary).await?;
    let mut pair = Pair::of(&standby).await?;
    primary.switch_wal().await?;
    wait_replayed(&standby, write(&primary).await?).await?;
    standby.promote().await?;
    standby.switch_wal().await?;
    let end = write(&standby).await?;
    pair.wait_received(&standby, end).await?;

    for name in names(pair.agent_dir.path())? {
        let mode = fs::metadata(pair.agent_dir.path().join(&name))?.permissions().mode() & 0o7777;
        ensure!(mode == 0o640, "{name} has mode {mode:o}");
    }
    let equal = pair.stop_and_compare(&standby).await?;
    ensure!(equal.segments >= 2 && equal.partials == 2 && equal.histories == 1, "{equal:?}");
    Ok(())
}

/// Streams over the transports that the two launches choose and compares. Returns how the agent was connected:
/// its address, whether over TLS, and with whose certificate.
async fn over(server: &Server, agent: Launch, reference: Launch) -> Result<String> {
    let mut pair = Pair::start(server, agent, reference).await?;
    let connected = format!(
        "SELECT concat_ws(' ', coalesce(host(client_addr), 'socket'), CASE WHEN ssl THEN 'TLS' END, client_dn) \
         FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE application_name = '{}'",
        pair.agent.name()
    );
    let connected = server.value(&connected).await?;
    server.switch_wal().await?;
    let end = write(server).await?;
    pair.wait_received(server, end).await?;
    let equal = pair.stop_and_compare(server).await?;
    ensure!(equal.segments >= 1 && equal.partials == 1, "{equal:?}");
    Ok(connected)
}

/// PostgreSQL's receiver with `conninfo` where there is one that can do TLS; else over the unix socket.
fn reference(server: &Server, conninfo: &str) -> Result<Launch> {
    let major = server.build().major;
    if major > 17 {
        return Ok(Launch::pg_receivewal(major)?.server(server));
    }
    Ok(Launch::program(&Tools::receivewal_with_tls_for(major)?).env("PGPASSWORD", PASSWORD).dbname(conninfo))
}

const PASSWORD: &str = "open sesame";

#[tokio::test]
async fn over_a_unix_socket_ipv4_and_ipv6() -> Result<()> {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
        .context("this machine has no IPv6 loopback address (::1), so IPv6 cannot be judged: enable it")?;
    let server = Server::builder(17).wal_segsize(1).start().await?;
    for (conninfo, expected) in [
        (server.socket_conninfo(), "socket"),
        (server.tcp_conninfo("127.0.0.1"), "127.0.0.1"),
        (server.tcp_conninfo("::1"), "::1"),
        (format!("postgresql://postgres@[::1]:{}/", server.port()), "::1"),
    ] {
        let agent = Launch::wal_agent()?.dbname(&conninfo);
        assert_eq!(over(&server, agent, reference(&server, &conninfo)?).await?, expected, "{conninfo}");
    }
    Ok(())
}

async fn over_tls_with_client_certificates(major: u32) -> Result<()> {
    let authority = Authority::new("tests")?;
    let tls = ServerTls { pair: authority.server()?, client_ca: Some(authority.pem().into()), crl: None };
    let builder = Server::builder(major).wal_segsize(1).tls(tls);
    let server = builder.hba("hostssl replication app all cert").start().await?;
    server.sql("CREATE ROLE app LOGIN REPLICATION").await?;

    let home = tempfile::tempdir()?;
    let file = |name: &str, pem: &str| -> Result<String> {
        write_private(&home.path().join(name), pem)?;
        Ok(home.path().join(name).display().to_string())
    };
    let root = file("root.crt", authority.pem())?;
    let (ec, rsa) = (authority.client("app", KeyKind::Ec)?, authority.client("app", KeyKind::Rsa)?);
    for (pair, key) in [(&ec, ec.key_sec1()?), (&ec, ec.key_pkcs8()), (&rsa, rsa.key_pkcs1()?), (&rsa, rsa.key_pkcs8())]
    {
        let (cert, key) = (file("client.crt", pair.certificate())?, file("client.key", &key)?);
        let conninfo = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=app sslmode=verify-full sslrootcert={root} \
             sslcert={cert} sslkey={key}",
            server.port()
        );
        let agent = Launch::wal_agent()?.dbname(&conninfo);
        assert_eq!(over(&server, agent, reference(&server, &conninfo)?).await?, "127.0.0.1 TLS /CN=app");
    }
    Ok(())
}

on_majors! { over_tls_with_client_certificates: pg13 13 pg17 17 pg18 18 }

async fn with_scram_with_and_without_channel_binding(major: u32) -> Result<()> {
    let authority = Authority::new("tests")?;
    let tls = ServerTls { pair: authority.server()?, client_ca: None, crl: None };
    let builder = Server::builder(major).wal_segsize(1).tls(tls).config("password_encryption", "scram-sha-256");
    let server = builder.hba("host replication app all scram-sha-256").start().await?;
    server.sql(&format!("CREATE ROLE app LOGIN REPLICATION PASSWORD '{PASSWORD}'")).await?;

    let home = tempfile::tempdir()?;
    let root = home.path().join("root.crt");
    write_private(&root, authority.pem())?;
    let root = root.display();
    for (parameters, expected) in [
        (format!("sslmode=verify-full sslrootcert={root} channel_binding=require"), "::1 TLS"),
        (format!("sslmode=verify-full sslrootcert={root} channel_binding=disable"), "::1 TLS"),
        ("sslmode=disable channel_binding=disable require_auth=scram-sha-256".to_owned(), "::1"),
    ] {
        let conninfo = format!("host=::1 port={} user=app {parameters}", server.port());
        let agent = Launch::wal_agent()?.env("PGPASSWORD", PASSWORD).dbname(&conninfo);
        assert_eq!(over(&server, agent, reference(&server, &conninfo)?).await?, expected, "{parameters}");
    }
    Ok(())
}

on_majors! { with_scram_with_and_without_channel_binding: pg13 13 pg17 17 pg18 18 }
