//! `cargo xtask demo`, shorter: the first command of the README does not rot.

use anyhow::{Result, ensure};
use harness::agent::Profile;
use harness::demo::screen::Screen;
use harness::demo::{self, Options};
use harness::wait::{self, DEADLINE, Poll};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_holds() -> Result<()> {
    let lines = tempfile::NamedTempFile::new()?;
    let options = Options { load: Duration::from_secs(3), profile: Profile::Dev, ..Options::default() };
    let (_never, interrupted) = watch::channel(false);
    let ending = demo::run(&options, &mut Screen::lines(lines.reopen()?), interrupted).await?;

    let proof = ending.proof;
    ensure!(proof.acknowledged.len() > 100 && proof.lost == 0, "{proof}");
    ensure!(proof.rows >= proof.acknowledged.len(), "{proof}");
    ensure!(proof.received.partials == 1 && proof.compared == proof.received.bytes, "{proof}");
    ensure!(ending.kept.is_none());
    let text = fs::read_to_string(lines.path())?;
    let numbers = text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    assert_eq!(numbers.collect::<Vec<u32>>(), (1..=10).collect::<Vec<_>>(), "one line for each step:\n{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demonstration_leaves_nothing() -> Result<()> {
    let lines = tempfile::NamedTempFile::new()?;
    let options = Options { load: Duration::from_secs(60), profile: Profile::Dev, ..Options::default() };
    let (interrupt, interrupted) = watch::channel(false);
    let mut screen = Screen::lines(lines.reopen()?);
    let interrupt = async {
        let text = wait::until("the load", DEADLINE, async || {
            let text = fs::read_to_string(lines.path())?;
            Ok(if text.contains("commits/s") { Poll::Ready(text) } else { Poll::Pending(text) })
        });
        let text = text.await;
        interrupt.send_replace(true);
        text
    };
    let (ended, text) = tokio::join!(demo::run(&options, &mut screen, interrupted), interrupt);
    ensure!(ended.unwrap_err().to_string().starts_with("interrupted"));
    // "3  Start a server  in <directory>, port <number>"
    let text = text?;
    let home = text.split(" in ").find_map(|rest| rest.split_once(", port ")).unwrap().0;
    ensure!(home.starts_with('/') && !Path::new(home).exists(), "{home} is left");
    Ok(())
}
