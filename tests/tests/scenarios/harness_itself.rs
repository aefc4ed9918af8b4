//! The harness proves itself with PostgreSQL's own receiver before it judges ours.

use anyhow::{Result, ensure};
use harness::load::{Load, lost_commits};

use harness::receiver::Launch;
use harness::server::{BackupWal, Server};

use harness::compare;

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

    let recovered = Server::recover_from(backup, dir.path()).await?;
    assert_eq!(lost_commits(&recovered, &acknowledged).await?, []);
    ensure!(acknowledged.len() >= 100);
    Ok(())
}

macro_rules! for_each_major {
    ($check:ident: $($test:ident $major:literal)*) => {
        $(#[tokio::test]
        async fn $test() -> Result<()> {
            $check($major).await
        })*
    };
}

for_each_major! { pg_receivewal_survives_a_disaster:
    disaster_13 13
    disaster_14 14
    disaster_15 15
    disaster_16 16
    disaster_17 17
    disaster_18 18
}
