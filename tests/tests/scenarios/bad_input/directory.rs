//! Directories that cannot be used, or are somebody else's.

use super::{Place, SECRET, contents, judge};
use anyhow::{Result, ensure};
use harness::agent::{self, Profile};
use harness::receiver::Launch;
use harness::scripted::{Script, Scripted, Step, Then};
use harness::server::Server;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::time::Instant;

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
    let first = Scripted::always(own.clone().fault(Step::Stream, "", Then::Close));
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
    ensure!((9..35).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

    let mut third = launch()?.spawn()?;
    first.stop().await?;
    third.wait_streaming(&server).await?;
    ensure!(third.stop().await?.code == Some(0));
    Ok(())
}
