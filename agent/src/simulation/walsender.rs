//! The server's half of a stream.

use super::{
    log::{SEGMENT, behind_header},
    pipe::Said,
    server::{Session, position},
    tap::Mark,
    trace::Event,
};
use crate::wire::testing::{complete, message, one_row, ready, report};
use std::{io, time::Duration};
use tokio::time::{Instant, sleep};

/// What a walsender puts into one message at most.
const MOST: u64 = 128 << 10;
/// How long a shutdown waits for the agent on a disk that does not stall.
const SHUTDOWN_PATIENCE: Duration = Duration::from_millis(1500);

/// Where a stream stands.
struct Stream {
    timeline: u32,
    sent: u64,
    flushed: u64,
    /// A byte that this server has another value for than the cluster.
    other: Option<u64>,
    /// The agent has taken part in no more than this.
    believable: u64,
}

/// Whether the stream goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    /// The stream has ended, the connection has not.
    Out,
}

impl Session {
    pub(super) async fn stream(&mut self, timeline: u32, from: u64) -> io::Result<()> {
        let end = {
            let mut oracle = self.oracle.lock();
            oracle.asked_for(timeline, from);
            oracle.log.end(timeline)
        };
        if end == Some(from) {
            let next = self.next_timeline(timeline);
            return self.pipe.send(&[next, complete("START_STREAMING"), ready()].concat()).await;
        }
        if from > end.unwrap_or(self.cluster.lock().end) {
            let refusal = report(b'E', "ERROR", "55000", "requested starting point is ahead of the WAL of this server");
            return self.pipe.send(&[refusal, ready()].concat()).await;
        }
        self.pipe.send_marked(&message(b'W', &[0, 0, 0]), Mark::StreamOpens { timeline, from }).await?;
        let other = if self.chance(6) { self.another_byte(timeline, from) } else { None };
        let mut stream = Stream { timeline, sent: from, flushed: 0, other, believable: u64::MAX };
        while self.act(&mut stream).await? == Goes::On {}
        Ok(())
    }

    /// One thing that a walsender does, and what it hears meanwhile.
    async fn act(&mut self, stream: &mut Stream) -> io::Result<Goes> {
        let end = self.oracle.lock().log.end(stream.timeline);
        let limit = end.unwrap_or(self.cluster.lock().end);
        let pause = if stream.sent < limit {
            self.send_wal(stream, limit).await?;
            self.pause(8, 20)
        } else if end.is_some() {
            return self.end_timeline(stream).await;
        } else {
            self.commit();
            self.pause(1, 3000)
        };
        if self.attend(stream, pause).await? == Goes::Out {
            return Ok(Goes::Out);
        }
        let calm = self.cluster.lock().calm;
        if (calm && stream.sent == limit) || self.chance(6) {
            self.keep_alive(stream).await?;
        }
        if self.chance(150) {
            return self.trouble(stream).await;
        }
        Ok(Goes::On)
    }

    async fn send_wal(&mut self, stream: &mut Stream, limit: u64) -> io::Result<()> {
        let len = {
            let mut cluster = self.cluster.lock();
            let most = if cluster.dice.one_in(2) { 2000 } else { MOST };
            cluster.dice.between(1, most)
        };
        let (from, to) = (stream.sent, behind_header(stream.sent + len).min(limit));
        let mut wal = [&b"w"[..], &from.to_be_bytes(), &limit.to_be_bytes(), &[0; 8]].concat();
        let header = wal.len();
        {
            let mut oracle = self.oracle.lock();
            let middle = to.min((from / SEGMENT + 1) * SEGMENT);
            wal.extend_from_slice(&oracle.log.bytes(stream.timeline, from, middle));
            if middle < to {
                wal.extend_from_slice(&oracle.log.bytes(stream.timeline, middle, to));
            }
            if let Some(at) = stream.other.filter(|at| (from..to).contains(at)) {
                wal[header + (at - from) as usize] ^= 0x80;
                stream.believable = at;
                oracle.doubted = true;
                oracle.trace.note(Event::SendsAnotherByte { at });
            }
            oracle.trace.note(Event::Sends { upto: to });
        }
        stream.sent = to;
        self.pipe.send_marked(&message(b'd', &wal), Mark::Wal { upto: to.min(stream.believable) }).await
    }

    async fn keep_alive(&mut self, stream: &Stream) -> io::Result<()> {
        let wants_reply = self.cluster.lock().dice.one_in(2);
        let alive = [&b"k"[..], &stream.sent.to_be_bytes(), &[0; 8], &[u8::from(wants_reply)]].concat();
        if !wants_reply {
            return self.pipe.send(&message(b'd', &alive)).await;
        }
        self.oracle.lock().trace.note(Event::AsksForReply);
        self.pipe.send_marked(&message(b'd', &alive), Mark::ReplyWanted).await
    }

    /// Somebody writes to the database.
    fn commit(&self) {
        let mut cluster = self.cluster.lock();
        if cluster.end < cluster.most && !cluster.calm {
            let largest = cluster.largest_commit;
            let most = cluster.dice.pick(&[300, 20_000, largest]);
            cluster.end = behind_header(cluster.end + cluster.dice.between(1, most));
        }
    }

    /// Nothing, mostly; else up to so many milliseconds.
    fn pause(&self, one_in: u64, most: u64) -> Duration {
        let mut cluster = self.cluster.lock();
        if cluster.calm && one_in == 1 {
            return Duration::from_secs(1);
        }
        if cluster.dice.one_in(one_in) { cluster.dice.duration(Duration::from_millis(most)) } else { Duration::ZERO }
    }

    /// Hears the agent for so long.
    async fn attend(&mut self, stream: &mut Stream, time: Duration) -> io::Result<Goes> {
        let until = Instant::now() + time;
        while let Some(said) = self.pipe.hear_for(until.saturating_duration_since(Instant::now())).await? {
            match said {
                Said::Status { flush } => {
                    stream.flushed = flush;
                    self.cluster.lock().slot = Some(flush);
                }
                Said::CopyDone => {
                    self.pipe.send(&[message(b'c', b""), complete("COPY 0"), ready()].concat()).await?;
                    return Ok(Goes::Out);
                }
                Said::Goodbye | Said::Query(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(Goes::On)
    }

    /// Everything of a timeline that was left has been sent.
    async fn end_timeline(&mut self, stream: &mut Stream) -> io::Result<Goes> {
        self.oracle.lock().trace.note(Event::ServerLeaves("the timeline"));
        self.pipe.send(&message(b'c', b"")).await?;
        while !matches!(self.pipe.hear().await?, Said::CopyDone) {}
        let next = self.next_timeline(stream.timeline);
        self.pipe.send(&[next, complete("START_STREAMING"), ready()].concat()).await?;
        Ok(Goes::Out)
    }

    fn next_timeline(&self, timeline: u32) -> Vec<u8> {
        let switch = self.oracle.lock().log.begin(timeline + 1);
        let (next, switch) = ((timeline + 1).to_string(), position(switch));
        one_row(&[("next_tli", Some(next.as_str())), ("next_tli_startpos", Some(switch.as_str()))])
    }

    async fn trouble(&mut self, stream: &mut Stream) -> io::Result<Goes> {
        let (kind, stall) = {
            let mut cluster = self.cluster.lock();
            (cluster.dice.below(5), cluster.dice.duration(Duration::from_secs(15)))
        };
        let note = |what| self.oracle.lock().trace.note(Event::ServerLeaves(what));
        match kind {
            0 => {
                note("in the middle");
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            1 => {
                note("with an error");
                let words = "terminating connection due to administrator command";
                self.pipe.send(&report(b'E', "FATAL", "57P01", words)).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            2 => {
                note("to shut down");
                self.shut_down(stream).await
            }
            3 => {
                // reason: the server neither reads nor writes, and that in simulated time.
                sleep(stall).await;
                Ok(Goes::On)
            }
            _ => {
                self.promote(stream);
                Ok(Goes::On)
            }
        }
    }

    /// The server itself, a standby so far, becomes the primary.
    fn promote(&self, stream: &Stream) {
        let mut oracle = self.oracle.lock();
        let mut cluster = self.cluster.lock();
        if oracle.log.timeline() != stream.timeline || stream.timeline > 4 {
            return;
        }
        let switch = match cluster.dice.below(4) {
            0 => cluster.end,
            1 => stream.sent.next_multiple_of(SEGMENT),
            // What was sent last is of a record that a dead primary never finished: no part of the new timeline.
            2 => behind_header(stream.sent.saturating_sub(cluster.dice.below(SEGMENT / 8)).max(oracle.base + 1)),
            _ => {
                let end = cluster.end.max(stream.sent);
                behind_header(cluster.dice.between(stream.sent, end))
            }
        };
        let least = oracle.log.begin(stream.timeline);
        cluster.promote(&mut oracle, switch.max(least));
    }

    /// As a walsender does: everything is sent, and what is not acknowledged is asked for after each reply.
    async fn shut_down(&mut self, stream: &mut Stream) -> io::Result<Goes> {
        let limit = self.cluster.lock().end;
        if self.oracle.lock().log.end(stream.timeline).is_some() {
            return Ok(Goes::On);
        }
        while stream.sent < limit {
            self.send_wal(stream, limit).await?;
        }
        let since = Instant::now();
        while stream.flushed < stream.sent && since.elapsed() < Duration::from_secs(60) {
            let alive = [&b"k"[..], &stream.sent.to_be_bytes(), &[0; 8], &[1]].concat();
            self.oracle.lock().trace.note(Event::AsksForReply);
            self.pipe.send_marked(&message(b'd', &alive), Mark::ReplyWanted).await?;
            match self.pipe.hear_for(Duration::from_secs(10)).await? {
                Some(Said::Status { flush }) => stream.flushed = flush,
                None => {}
                Some(_) => break,
            }
        }
        {
            let mut oracle = self.oracle.lock();
            if oracle.prompt && !oracle.stopping && stream.believable == u64::MAX && since.elapsed() > SHUTDOWN_PATIENCE
            {
                oracle.accuse(format!("a shutdown waited {:?} for the agent", since.elapsed()));
            }
        }
        {
            let mut cluster = self.cluster.lock();
            cluster.up_at = Instant::now() + cluster.dice.duration(Duration::from_secs(5));
        }
        self.pipe.send(&complete("COPY 0")).await?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// A byte that is acknowledged and kept, and that this server will say otherwise about.
    fn another_byte(&self, timeline: u32, from: u64) -> Option<u64> {
        let dice = &mut self.cluster.lock().dice;
        self.oracle.lock().kept_byte(timeline, from, |most| dice.below(most))
    }
}
