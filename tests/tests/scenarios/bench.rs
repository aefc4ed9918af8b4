//! `cargo xtask bench`, much smaller: what it says of this machine means nothing, but it says it.

use anyhow::{Result, ensure};
use harness::agent::Profile;
use harness::bench::progress::Progress;
use harness::bench::{self, Options};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn the_benchmark_measures_and_leaves_nothing_but_its_report() -> Result<()> {
    let (dir, report_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    // The server's account has to find its way.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    let options = Options {
        only: vec!["P6"],
        rounds: 1,
        segments: 4,
        dir: Some(dir.path().to_owned()),
        profile: Profile::Dev,
        report: Some(report_dir.path().to_owned()),
        ..Options::quick()
    };
    let (_never, interrupted) = watch::channel(false);
    let report = bench::run(options, Progress::lines(io::sink()), interrupted).await?;
    ensure!(report.is_complete(), "{report:?}");
    assert_eq!(fs::read_dir(dir.path())?.count(), 0, "files are left");

    let json: Value = serde_json::from_slice(&fs::read(report_dir.path().join("report.json"))?)?;
    let figure = &json["P6"];
    let (ours, theirs) = (figure["ours"].as_f64(), figure["theirs"].as_f64());
    ensure!(ours.is_some_and(|ours| (0.99..1.5).contains(&ours)), "each byte is written once: {figure:#}");
    ensure!(theirs.is_some_and(|theirs| theirs > 1.8), "pg_receivewal writes each twice: {figure:#}");
    ensure!(figure["rounds"].as_array().map(Vec::len) == Some(1), "{figure:#}");
    ensure!(json["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{:#}", json["machine"]);
    for file in ["report.md", "P6.svg"] {
        ensure!(report_dir.path().join(file).is_file(), "{file} is missing");
    }
    Ok(())
}
