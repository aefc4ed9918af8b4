//! `wal-agent verify` on what was really received: sound where it is, and where it is not it finds what pg_waldump finds.

use crate::attacks::{become_standby, write_long_record};
use crate::common::{names, write};
use crate::oracle::{Dice, waldump};
use anyhow::{Context, Result, ensure};
use harness::load::Load;
use harness::receiver::{Launch, Receiver};
use harness::server::{Server, Stop};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use wal_agent::wal::{FirstPage, HistoryName, Lsn, PageCheck, SegmentFile, TimelineHistory, TimelineId};

const PAGE: u64 = 8192;

/// Flipped bytes that are tried for each major.
const FLIPS: usize = 12;

/// A server with small segments and an agent that has received from it, both stopped.
async fn received(major: u32) -> Result<(Server, TempDir)> {
    let mut server = Server::builder(major).wal_segsize(1).start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path())?;
    agent.wait_streaming(&server).await?;
    let load = Load::of(2).payload(1500).start(&server).await?;
    load.wait_more(300).await?;
    server.switch_wal().await?;
    // While it is being filled it is as sound as before and after.
    for _ in 0..3 {
        load.wait_more(50).await?;
        let live = verify(dir.path()).await?;
        ensure!(live.code == 0, "{:#}", live.report);
    }
    load.stop().await;
    server.stop(Stop::Fast).await?;
    agent.stop().await?;
    Ok((server, dir))
}

fn agent(server: &Server, dir: &Path) -> Result<Receiver> {
    Launch::wal_agent()?.server(server).directory(dir).synchronous().arg("-v").spawn()
}

struct Verified {
    code: i32,
    report: Value,
}

impl Verified {
    /// The kinds of its findings.
    fn kinds(&self) -> Vec<&str> {
        self.findings().filter_map(|finding| finding["kind"].as_str()).collect()
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.report["findings"].as_array().into_iter().flatten()
    }
}

async fn verify(dir: &Path) -> Result<Verified> {
    let ended = Launch::wal_agent()?.args(["verify", "--json"]).arg(dir).run().await?;
    let report = serde_json::from_str(&ended.stdout).with_context(|| ended.stderr.clone())?;
    Ok(Verified { code: ended.code.context("killed")?, report })
}

/// What was received passes the check of pages that stream by, in pieces of any size.
fn check_pages(dir: &Path) -> Result<()> {
    let mut checks: BTreeMap<TimelineId, PageCheck> = BTreeMap::new();
    for name in names(dir)? {
        let bytes = fs::read(dir.join(&name))?;
        let Ok(first) = FirstPage::parse(&bytes) else { continue };
        let file = SegmentFile::parse(&name, first.segment_size).context(name)?;
        let timeline = file.name.timeline;
        let history = match fs::read(dir.join(HistoryName(timeline).to_string())) {
            Ok(content) => TimelineHistory::parse(timeline, &content)?,
            Err(_) => TimelineHistory::root(timeline),
        };
        let new = || PageCheck::new(Some(first.magic), first.system, first.segment_size, history);
        let check = checks.entry(timeline).or_insert_with(new);
        let mut at = first.segment_size.start_of(file.name.segment);
        for piece in bytes.chunks(30_011) {
            check.push(at, piece)?;
            at = Lsn::new(at.get() + piece.len() as u64);
        }
    }
    ensure!(!checks.is_empty(), "there is no segment");
    Ok(())
}

fn copy_of(dir: &Path) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    for name in names(dir)? {
        fs::copy(dir.join(&name), copy.path().join(&name))?;
    }
    Ok(copy)
}

/// A record as pg_waldump lists it: where it begins, and its length.
fn record(line: &str) -> Option<(Lsn, u64)> {
    let (_, lsn) = line.split_once("lsn: ")?;
    let (_, len) = line.split_once("len (rec/tot):")?;
    let len = len.split_once('/')?.1.split(',').next()?.trim().parse().ok()?;
    Some((lsn.split(',').next()?.parse().ok()?, len))
}

/// The record that pg_waldump stops at.
fn stopped_at(stderr: &str) -> Option<Lsn> {
    let (_, at) = stderr
        .trim_end()
        .rsplit_once(" at ")
        .filter(|(_, at)| !at.starts_with("least"))
        .or_else(|| stderr.split_once(": expected at least")?.0.rsplit_once(" at "))?;
    at.split([' ', ':', ',']).next()?.parse().ok()
}

async fn what_was_received_is_sound(major: u32) -> Result<()> {
    let (_server, dir) = received(major).await?;
    let verified = verify(dir.path()).await?;
    ensure!((verified.code, &verified.report["verdict"]) == (0, &"sound".into()), "{:#}", verified.report);
    ensure!(verified.kinds().is_empty() && verified.report["postgresql"] == major, "{:#}", verified.report);
    check_pages(dir.path())?;
    if major < 15 {
        return Ok(());
    }
    let dump = waldump(major, dir.path(), None)?;
    let records: Vec<(Lsn, u64)> = dump.stdout.lines().filter_map(record).collect();
    let (last, _) = *records.last().context("no record")?;
    let timeline = &verified.report["timelines"][0];
    ensure!(timeline["last_record"] == last.to_string(), "{last} is the last of pg_waldump: {timeline}");
    ensure!(verified.report["records"] == records.len(), "{} of pg_waldump: {}", records.len(), verified.report);

    let mut dice = Dice(u64::from(major));
    for _ in 0..FLIPS {
        // With the very first one broken pg_waldump finds no record to begin with.
        let (start, len) = dice.pick(&records[1..]);
        // On the page where it begins: what is behind that is found by its checksum as well.
        let within = dice.below(len.min(PAGE - start.get() % PAGE));
        let at = Lsn::new(start.get() + within);
        let damaged = copy_of(dir.path())?;
        flip(damaged.path(), at)?;
        let (verified, dump) = (verify(damaged.path()).await?, waldump(major, damaged.path(), None)?);
        let found = verified.findings().next().and_then(|finding| finding["at"].as_str());
        ensure!(verified.code == 10 && found == Some(&start.to_string()), "{at} in {start}: {:#}", verified.report);
        ensure!(stopped_at(&dump.stderr) == Some(start), "{at} in {start}: pg_waldump says {}", dump.stderr);
    }
    Ok(())
}

on_each_major! { what_was_received_is_sound }

/// Turns over all bits of a byte, wherever it is kept.
fn flip(dir: &Path, at: Lsn) -> Result<()> {
    let name = names(dir)?.into_iter().find(|name| {
        let segment = u64::from_str_radix(name.get(8..16).unwrap_or_default(), 16).unwrap_or(u64::MAX) << 12
            | u64::from_str_radix(name.get(16..24).unwrap_or_default(), 16).unwrap_or(u64::MAX);
        segment == at.get() >> 20
    });
    let path = dir.join(name.with_context(|| format!("no segment has {at}"))?);
    let mut bytes = fs::read(&path)?;
    bytes[(at.get() % (1 << 20)) as usize] ^= 0xFF;
    Ok(fs::write(path, bytes)?)
}

async fn promotions_are_followed(major: u32) -> Result<()> {
    let mut server = Server::builder(major).wal_segsize(1).config("wal_keep_size", "1GB").start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path())?;
    agent.wait_streaming(&server).await?;
    for round in 0..3 {
        agent.wait_flushed(&server, write(&server).await?).await?;
        if round == 1 {
            server.switch_wal().await?;
        }
        server.stop(Stop::Fast).await?;
        become_standby(&server)?;
        server.start().await?;
        server.promote().await?;
        agent.wait_streaming(&server).await?;
    }
    let end = write(&server).await?;
    agent.wait_flushed(&server, end).await?;
    agent.stop().await?;
    let verified = verify(dir.path()).await?;
    ensure!(verified.code == 0 && verified.kinds().is_empty(), "{:#}", verified.report);
    let timelines = verified.report["timelines"].as_array().context("timelines")?;
    let newest = timelines.last().context("no timeline")?;
    ensure!((&newest["timeline"], &newest["to"]) == (&4.into(), &end.to_string().into()), "{end}: {timelines:?}");

    check_pages(dir.path())?;

    // What is not known cannot be verified.
    fs::remove_file(dir.path().join("00000002.history"))?;
    let verified = verify(dir.path()).await?;
    ensure!((verified.code, verified.kinds()) == (12, vec!["no-history"]), "{:#}", verified.report);
    Ok(())
}

on_majors! { promotions_are_followed: pg13 13 pg18 18 }

async fn a_crash_within_a_record_is_understood(major: u32) -> Result<()> {
    let mut server = Server::builder(major).wal_segsize(1).config("wal_keep_size", "1GB").start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path())?;
    agent.wait_streaming(&server).await?;
    for _ in 0..10 {
        let before = server.flush_lsn().await?;
        let record = write_long_record(&server, 100).await?;
        agent.wait_received(&server, Lsn::new(before.get() + 2_000_000)).await?;
        server.stop(Stop::Immediate).await?;
        let unfinished = verify(dir.path()).await?;
        ensure!(unfinished.code == 0, "{:#}", unfinished.report);
        server.start().await?;
        record.await?;
        let end = write(&server).await?;
        agent.wait_flushed(&server, end).await?;
        let verified = verify(dir.path()).await?;
        ensure!(verified.code == 0, "{:#}", verified.report);
        check_pages(dir.path())?;
        ensure!(verified.report["timelines"][0]["to"] == end.to_string(), "{end}: {:#}", verified.report);
        // Otherwise the server has died between two records.
        if verified.kinds().contains(&"cut-off") {
            return Ok(());
        }
    }
    anyhow::bail!("the server never died within a record")
}

on_majors! { a_crash_within_a_record_is_understood: pg13 13 pg18 18 }

#[tokio::test]
async fn what_is_wrong_with_a_directory_is_said() -> Result<()> {
    let (_server, dir) = received(17).await?;
    let finished: Vec<String> = names(dir.path())?.into_iter().filter(|name| name.len() == 24).collect();
    let [first, second, ..] = finished.as_slice() else { anyhow::bail!("{finished:?}") };
    let check = async |code: i32, kind: &str, change: &dyn Fn(&Path) -> Result<()>| -> Result<()> {
        let copy = copy_of(dir.path())?;
        change(copy.path())?;
        let verified = verify(copy.path()).await?;
        ensure!(verified.code == code && verified.kinds().contains(&kind), "{code} {kind}: {:#}", verified.report);
        let text = Launch::wal_agent()?.arg("verify").arg(copy.path()).run().await?;
        ensure!(text.code == Some(code) && text.stdout.lines().count() > 3, "{text:?}");
        Ok(())
    };
    check(11, "hole", &|copy| Ok(fs::remove_file(copy.join(second))?)).await?;
    check(10, "wrong-size", &|copy| Ok(fs::File::options().write(true).open(copy.join(first))?.set_len(300_000)?))
        .await?;
    check(12, "compressed", &|copy| Ok(fs::rename(copy.join(first), copy.join(format!("{first}.gz")))?)).await?;
    let other = Server::builder(17).wal_segsize(1).create()?;
    let foreign = names(&other.wal_dir())?.into_iter().find(|name| name.len() == 24).context("a segment")?;
    let foreign = other.wal_dir().join(foreign);
    check(10, "foreign", &|copy| fs::copy(&foreign, copy.join(second)).map(drop).context("cannot copy")).await?;

    let ended = Launch::wal_agent()?.arg("verify").run().await?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("no directory specified"), "{ended:?}");
    let ended = Launch::wal_agent()?.args(["verify", "/nowhere"]).run().await?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("\"/nowhere\""), "{ended:?}");
    let ended = Launch::wal_agent()?.args(["verify", "--help"]).run().await?;
    ensure!(ended.code == Some(0) && ended.stdout.contains("--json"), "{ended:?}");
    Ok(())
}
