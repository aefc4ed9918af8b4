//! Servers that break the protocol, at each of its steps: the agent says so, within bounded time and memory, and in the
//! long run goes on as if nothing had been.

use anyhow::{Context, Result, ensure};
use harness::receiver::{Ended, Launch};
use harness::scripted::{Behaviour, Script, Scripted, Step, Then, data, message, one_row, report, wal};
use harness::server::Server;
use harness::wait::{self, Poll};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use wal_agent::conninfo::{Conninfo, Environment, Overrides};
use wal_agent::replication;
use wal_agent::wal::{Lsn, TimelineId};
use wal_agent::wire::{Connection, Purpose};

/// The agent must never have more.
const MEMORY: u64 = 64 << 20;
/// What is not bounded by `connect_timeout=2` ends at once, but a flood takes a while to read.
const TIME: Duration = Duration::from_secs(30);

const SEGMENT: u64 = 1 << 20;
const START: Lsn = Lsn::new(3 * SEGMENT);

/// Runs the agent with `--no-loop` against a server with this script.
async fn end_of(script: &Script, more: &str, dir: &Path) -> Result<Ended> {
    let server = Scripted::always(script.clone()).await?;
    let launch = Launch::wal_agent()?.dbname(&format!("{} password=x connect_timeout=2 {more}", server.conninfo()));
    let begin = Instant::now();
    let mut agent = launch.directory(dir).args(["-w", "--no-loop", "-s", "1"]).spawn()?;
    let mut peak = 0;
    while agent.is_running()? {
        peak = peak.max(agent.peak_memory().unwrap_or(0));
        ensure!(begin.elapsed() < Duration::from_secs(60), "it still runs:\n{}", agent.stderr());
        // reason: memory is to be watched while the program runs
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = agent.wait_exit(TIME).await?;
    ensure!(begin.elapsed() < TIME, "{:?}:\n{}", begin.elapsed(), ended.stderr);
    ensure!(peak < MEMORY, "{} MB:\n{}", peak >> 20, ended.stderr);
    Ok(ended)
}

/// The agent says one thing, in which all of `expected` occurs, and exits with `code`.
async fn check_exit(script: Script, more: &str, expected: &[&str], code: i32) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ended = end_of(&script, more, dir.path()).await?;
    let said = ended.stderr.strip_suffix("\nwal-agent: error: disconnected").unwrap_or(&ended.stderr);
    let named = |word: &&&str| !said.contains(**word);
    let case = format!("{:?} {more}\n{}", script.fault, ended.stderr).chars().take(2000).collect::<String>();
    ensure!(!expected.iter().any(|word| named(&word)), "not {expected:?}: {case}");
    ensure!(said.matches("wal-agent: error: ").count() == 1, "not one error: {case}");
    ensure!(said.len() < 600, "{} characters: {case}", said.len());
    ensure!(ended.code == Some(code), "exit code {:?}: {case}", ended.code);
    Ok(())
}

async fn check(script: Script, expected: &[&str]) -> Result<()> {
    check_exit(script, "", expected, 1).await
}

/// On timeline 2, so that its history is asked for, too.
fn script() -> Script {
    Script { timeline: 2, segment_size: "1MB".into(), flushed: START, ..Script::default() }
}

fn broken(step: Step, bytes: impl Into<Vec<u8>>, then: Then) -> Script {
    script().fault(step, bytes, then)
}

/// `sslmode` under which a step is reached.
fn mode(step: Step) -> &'static str {
    if step == Step::Encryption { "sslmode=require" } else { "" }
}

/// How a message about this step begins.
fn named(step: Step) -> &'static str {
    match step {
        Step::Encryption | Step::Startup | Step::Password => "connection to server at \"127.0.0.1\", port",
        Step::Identify => "\"IDENTIFY_SYSTEM\"",
        Step::Show => "\"SHOW data_directory_mode\"",
        Step::History => "\"TIMELINE_HISTORY 2\"",
        Step::Slot => "\"READ_REPLICATION_SLOT",
        Step::Start => "\"START_REPLICATION",
        Step::Stream => "could not receive data from WAL stream",
        Step::StreamEnd => "",
    }
}

const STEPS: [Step; 8] = [
    Step::Encryption,
    Step::Startup,
    Step::Password,
    Step::Identify,
    Step::Show,
    Step::History,
    Step::Start,
    Step::Stream,
];

/// A header that announces `length`, and a little of what should follow.
fn announcing(tag: u8, length: u32) -> Vec<u8> {
    [&[tag], &length.to_be_bytes()[..], &[0; 32]].concat()
}

#[tokio::test]
async fn what_is_no_postgresql_is_told_at_each_step() -> Result<()> {
    for step in STEPS {
        for garbage in
            [&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], b"\xff\xfe\0\0\0\0\0\0", &[0; 64]]
        {
            check_exit(broken(step, garbage, Then::Close), mode(step), &[named(step)], 1).await?;
        }
    }
    let http = broken(Step::Startup, "HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close);
    check(http, &["what answers there is not a PostgreSQL server", "check host and port"]).await
}

#[tokio::test]
async fn an_absurd_length_allocates_nothing_at_any_step() -> Result<()> {
    for step in STEPS {
        let tags: &[u8] = match step {
            Step::Encryption => continue,
            Step::Startup | Step::Password => b"RSEN",
            Step::Stream => b"dNcC",
            Step::Identify => b"TDCENSZW",
            _ => b"DW",
        };
        for tag in tags {
            for length in [u32::MAX, 64 << 20, 3] {
                let expected = [named(step), &format!("with {length} bytes")];
                check(broken(step, announcing(*tag, length), Then::Hang), &expected).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn endless_messages_fill_no_memory() -> Result<()> {
    let notice = report(b'N', "NOTICE", "00000", &"x".repeat(10_000));
    let parameter = |name: &str| message(b'S', format!("{name}\0{}\0", "x".repeat(5000)).as_bytes());
    let parameters: Vec<u8> = (0..1000).flat_map(|number| parameter(&number.to_string())).collect();
    let row = one_row(&[Some(&[b'x'; 10_000])]);
    // What describes the row is a message of 1 + 31 bytes.
    let (description, row) = row.split_at_checked(32).context("a row behind its description")?;
    let endless = "server sends more than can be an answer";
    for (step, prefix, unit) in [
        (Step::Startup, &b""[..], &notice[..]),
        (Step::Startup, b"", &parameters),
        (Step::Identify, b"", &notice),
        (Step::Identify, b"", &parameters),
        (Step::Identify, description, row),
        (Step::Show, b"", &message(b'C', b"SHOW\0")),
        (Step::History, b"", &notice),
        (Step::Start, b"", &notice),
    ] {
        check(broken(step, prefix, Then::Repeat(unit.to_vec())), &[named(step), endless]).await?;
    }
    // A stream may go on for ever; what is in it must not be kept.
    let keepalive = data(&[&[b'k'; 18][..], &[0; 10_000]].concat());
    for unit in [&notice, &parameters, &keepalive] {
        let closed = [named(Step::Stream), "server closed the connection unexpectedly"];
        check(broken(Step::Stream, b"", Then::Repeat(unit.clone())), &closed).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_middle_of_a_step_is_told() -> Result<()> {
    let right = script();
    for (step, answer) in [
        (Step::Encryption, Vec::new()),
        (Step::Startup, right.welcome()),
        (Step::Password, right.welcome()),
        (Step::Identify, right.answer("IDENTIFY_SYSTEM")),
        (Step::Show, right.answer("SHOW data_directory_mode")),
        (Step::History, right.answer("TIMELINE_HISTORY 2")),
        (Step::Start, message(b'W', &[0, 0, 0])),
        (Step::Stream, wal(START, &[0; 100])),
    ] {
        for end in [0, 1, 3, 7, answer.len() / 2, answer.len().saturating_sub(1)] {
            let part = answer.get(..end).unwrap_or_default();
            let expected = [named(step), "server closed the connection unexpectedly"];
            check_exit(broken(step, part, Then::Close), mode(step), &expected, 1).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_while_connecting_is_given_up_after_connect_timeout() -> Result<()> {
    let right = script();
    let welcome = right.welcome();
    let half = welcome.get(..welcome.len() / 2).unwrap_or_default();
    let expected = [named(Step::Startup), "timeout expired after 2 s"];
    let case = |step, bytes: &[u8]| check_exit(broken(step, bytes, Then::Hang), mode(step), &expected, 1);
    let (a, b, c, d, e, f) = tokio::join!(
        case(Step::Encryption, b""),
        case(Step::Encryption, b"S"),
        case(Step::Startup, b""),
        case(Step::Startup, half),
        case(Step::Password, b""),
        case(Step::Password, half),
    );
    a.and(b).and(c).and(d).and(e).and(f)
}

/// The agent's own bound is a minute: in this process, time can be made to pass.
#[tokio::test]
async fn a_server_that_hangs_in_an_answer_is_given_up_after_a_minute() -> Result<()> {
    for step in [Step::Identify, Step::Show, Step::History, Step::Start, Step::StreamEnd] {
        let script = Script { next_timeline: Some(("3".into(), START.to_string())), ..script() };
        let server = Scripted::always(script.fault(step, *b"T\0\0", Then::Hang)).await?;
        let conninfo = Conninfo::resolve(Some(&server.conninfo()), &Overrides::default(), &Environment::default())?.0;
        let mut connection = Connection::connect(&conninfo, Purpose::Replication).await?;
        let timeline = TimelineId::new(2).context("a timeline")?;
        if step == Step::StreamEnd {
            replication::start_replication(&mut connection, None, START, timeline).await?;
            connection.next().await?;
            connection.send_copy_done();
        }
        tokio::time::pause();
        let begin = Instant::now();
        let error = match step {
            Step::Identify => {
                replication::identify_system(&mut connection).await.map(drop).map_err(anyhow::Error::from)
            }
            Step::Show => replication::data_directory_mode(&mut connection).await.map(drop).map_err(Into::into),
            Step::History => {
                replication::timeline_history(&mut connection, timeline).await.map(drop).map_err(Into::into)
            }
            Step::Start => {
                let started = replication::start_replication(&mut connection, None, START, timeline);
                started.await.map(drop).map_err(Into::into)
            }
            _ => connection.finish_copy().await.map(drop).map_err(Into::into),
        };
        let (error, waited) = (error.err().context("no error")?.to_string(), begin.elapsed());
        tokio::time::resume();
        ensure!(error.contains("server did not answer within 60 s"), "{step:?}: {error}");
        ensure!((60..=61).contains(&waited.as_secs()), "{step:?}: {waited:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_this_agent_cannot_stream_from_is_told_apart() -> Result<()> {
    let good = Script::default;
    let too_old = "incompatible server version 12.22; wal-agent does not support streaming from server versions older";
    check(Script { version: "12.22".into(), ..good() }, &[too_old]).await?;
    check(Script { version: "9.6.24".into(), ..good() }, &["incompatible server version 9.6.24"]).await?;
    check(Script { version: "pooler".into(), ..good() }, &["\"pooler\" is no server version"]).await?;
    check(Script { integer_datetimes: "off".into(), ..good() }, &["integer_datetimes is off"]).await?;
    let pooler = ["not a replication connection but belongs to database \"app\"", "without a connection pooler"];
    check(Script { database: Some("app".into()), ..good() }, &pooler).await?;
    let asks = report(b'E', "FATAL", "57P03", "the database system is starting up");
    check(good().fault(Step::Startup, asks, Then::Close), &["FATAL:  the database system is starting up"]).await
}

#[tokio::test]
async fn nonsense_in_well_formed_answers_is_told() -> Result<()> {
    let good = script;
    let identify = "\"IDENTIFY_SYSTEM\"";
    check(Script { system: "x".into(), ..good() }, &[identify, "no system identifier"]).await?;
    check(Script { timeline: 0, ..good() }, &[identify, "no timeline"]).await?;
    for size in ["3MB", "2GB", "x", "", "16777216TB"] {
        check(Script { segment_size: size.into(), ..good() }, &["\"SHOW wal_segment_size\""]).await?;
    }
    let history = |name: &str, content: &str| Script { history: (name.into(), content.into()), ..good() };
    check(history("00000003.history", "1\t0/2000000\tx\n"), &["\"TIMELINE_HISTORY 2\"", "not named 00000002"]).await?;
    check(history("../../etc/passwd", ""), &["\"TIMELINE_HISTORY 2\"", "not named 00000002.history"]).await?;
    check(history("00000002.history", "1\tx"), &["history of timeline 2 is malformed: line 1"]).await?;
    check(history("00000002.history", "2\t0/2000000\tx\n"), &["history of timeline 2 is malformed: line 1"]).await?;
    let row = [one_row(&[Some(b"x")]), message(b'C', b"SHOW\0"), message(b'Z', b"I")].concat();
    let row = |step| broken(step, row.clone(), Then::Hang);
    check(row(Step::Identify), &[identify, "is not understood"]).await?;
    check(row(Step::Show), &["\"SHOW data_directory_mode\"", "\"x\" is no mode"]).await
}

/// The first bytes of a segment, as far as they are checked.
fn page_header(magic: u16, timeline: u32, address: Lsn, system: u64) -> Vec<u8> {
    let mut header = magic.to_le_bytes().to_vec();
    header.extend(2_u16.to_le_bytes());
    header.extend(timeline.to_le_bytes());
    header.extend(address.get().to_le_bytes());
    header.extend([0; 8]);
    header.extend(system.to_le_bytes());
    header.extend((SEGMENT as u32).to_le_bytes());
    header.extend(8192_u32.to_le_bytes());
    header
}

#[tokio::test]
async fn wal_that_is_not_what_was_asked_for_is_told() -> Result<()> {
    let streaming = |stream: Vec<u8>| broken(Step::Stream, stream, Then::Hang);
    let at = |offset: u64| Lsn::new(START.get() + offset);
    // Too short for the store to find that it is no page.
    let first = wal(START, &[1; 30]);
    check(streaming(wal(at(8), b"x")), &["got WAL data at 0/300008, expected 0/300000"]).await?;
    check(streaming(wal(Lsn::new(SEGMENT), b"x")), &["got WAL data at 0/100000, expected 0/300000"]).await?;
    check(streaming([first.clone(), wal(at(29), b"x")].concat()), &["got WAL data at 0/30001D"]).await?;
    check(streaming([first.clone(), first.clone()].concat()), &["got WAL data at 0/300000"]).await?;
    check(streaming(wal(Lsn::new(u64::MAX), b"xx")), &["runs over the end of the log"]).await?;
    check(streaming(data(b"")), &["streaming header too small: 0"]).await?;
    check(streaming(data(&[b'w'; 24])), &["streaming header too small: 24"]).await?;
    check(streaming(data(&[b'k'; 17])), &["streaming header too small: 17"]).await?;
    check(streaming(data(b"x")), &["unrecognized streaming header: \"x\""]).await?;

    let whole = |header: Vec<u8>| {
        let mut segment = header;
        segment.resize(SEGMENT as usize, 0);
        let parts = (0..).step_by(1 << 17).zip(segment.chunks(1 << 17));
        streaming(parts.flat_map(|(offset, part)| wal(at(offset), part)).collect())
    };
    let own = script().system.parse()?;
    for (header, expected) in [
        (page_header(0xD116, 2, START, 666), "system identifier is 666"),
        (page_header(0xD116, 2, at(SEGMENT), own), "address is 0/400000"),
        (page_header(0xD116, 3, START, own), "timeline is 3"),
        (page_header(0xD118, 2, START, own), "magic is D118"),
        (vec![7; 40], "no server writes such a page header"),
    ] {
        check(whole(header), &["000000020000000000000003.partial", expected]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_newer_server_is_streamed_from_with_one_warning() -> Result<()> {
    let mut page = page_header(0xD200, 2, START, script().system.parse()?);
    page.resize(256, 1);
    let newer = Script { version: "19beta1".into(), ..broken(Step::Stream, wal(START, &page), Then::Hang) };
    let server = Scripted::always(newer).await?;
    let dir = tempfile::tempdir()?;
    let launch = Launch::wal_agent()?.dbname(&format!("{} password=x", server.conninfo())).directory(dir.path());
    let ended = launch.args(["-w", "--no-loop", "--endpos", "0/300080"]).run().await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let warning = "wal-agent: warning: server version 19beta1 is newer than this agent";
    ensure!(ended.stderr.matches(warning).count() == 1, "{ended:?}");
    let kept = std::fs::read(dir.path().join("000000020000000000000003.partial"))?;
    ensure!(kept[..256] == page[..], "what was sent is kept");
    Ok(())
}

#[tokio::test]
async fn a_next_timeline_that_cannot_be_is_told() -> Result<()> {
    let mut page = page_header(0xD116, 2, START, script().system.parse()?);
    page.resize(256, 1);
    let next = |timeline: &str, start: &str| Script {
        next_timeline: Some((timeline.into(), start.into())),
        stream: wal(START, &page),
        ..script()
    };
    check(next("1", "0/300100"), &["unexpected next timeline 1, following timeline 2"]).await?;
    check(next("2", "0/300100"), &["unexpected next timeline 2, following timeline 2"]).await?;
    check(next("0", "0/300100"), &["names no next timeline and switch point"]).await?;
    check(next("3", "x"), &["names no next timeline and switch point"]).await?;
    let beyond = "server stopped streaming timeline 2 at 0/300100, but reported next timeline 3 to begin at 0/300108";
    check(next("3", "0/300108"), &[beyond]).await?;
    check(next("3", "0/300100"), &["\"TIMELINE_HISTORY 3\"", "not named 00000003.history"]).await
}

#[tokio::test]
async fn another_cluster_behind_the_same_address_is_refused_at_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = end_of(&broken(Step::Stream, b"", Then::Close), "", dir.path()).await?;
    ensure!(first.code == Some(1), "{}", first.stderr);
    let other = Script { system: "666".into(), ..script() };
    let second = end_of(&other, "", dir.path()).await?;
    ensure!(second.code == Some(3), "{}", second.stderr);
    let expected = ["system identifier 7000000000000000001", "the server's is 666", "empty directory"];
    ensure!(expected.iter().all(|word| second.stderr.contains(word)), "{}", second.stderr);
    Ok(())
}

/// Each state lasts for two connections and is told once; then the real server answers, and WAL is streamed.
#[tokio::test]
async fn the_agent_survives_a_series_of_hostile_answers() -> Result<()> {
    let server = Server::start_new(17).await?;
    let system = server.value("SELECT system_identifier FROM pg_control_system()").await?;
    let good = Script { system, flushed: server.flush_lsn().await?, ..Script::default() };
    let start = good.flushed.get() & !0xFF_FFFF;
    let states = [
        good.clone().fault(Step::Startup, "HTTP/1.1 400 Bad Request\r\n", Then::Close),
        good.clone().fault(Step::Startup, announcing(b'R', u32::MAX), Then::Close),
        good.clone().fault(Step::Identify, announcing(b'D', u32::MAX), Then::Close),
        good.clone().fault(Step::Start, "", Then::Close),
        good.clone().fault(Step::Stream, data(b"?"), Then::Close),
        good.clone().fault(Step::Stream, wal(Lsn::new(start + 5), b"x"), Then::Close),
        Script { system: "666".into(), ..good },
    ];
    let count = states.len();
    let real = format!("127.0.0.1:{}", server.port()).parse()?;
    let hostile = Scripted::start(move |connection| match states.get(connection / 2) {
        Some(script) => Behaviour::Scripted(Box::new(script.clone())),
        None => Behaviour::Forward(real),
    });
    let hostile = hostile.await?;
    let dir = tempfile::tempdir()?;
    let conninfo = hostile.conninfo().replace("tester", "postgres");
    let launch = Launch::wal_agent()?.dbname(&conninfo).directory(dir.path()).args(["-w", "--synchronous"]);
    let mut agent = launch.spawn()?;
    wait::until("the real server to be reached", wait::DEADLINE, async || {
        let accepted = hostile.accepted();
        Ok(if accepted > 2 * count { Poll::Ready(()) } else { Poll::Pending(format!("{accepted} connections")) })
    })
    .await?;
    let switched = server.switch_wal().await?;
    agent.wait_flushed(&server, switched).await?;

    let said = agent.stderr();
    let told = |level: &str| said.lines().filter(|line| line.starts_with(&format!("wal-agent: {level}: "))).count();
    ensure!((told("warning"), told("error")) == (count - 1, 1), "one line for each of {count} states:\n{said}");
    ensure!(said.contains("the server's is 666"), "{said}");
    ensure!(agent.stop().await?.code == Some(0));
    Ok(())
}
