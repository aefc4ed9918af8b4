//! Judges what the agent says to the server by what the disk holds and what the server sent. Asks the agent nothing.
//!
//! It hears each status at the moment at which it leaves, and compares it with the disk as a crash right then would leave it
//! at the worst.

use super::{
    files::{Files, missing},
    log::{HEADER, Log, PAGE, SEGMENT, SYSTEM, file_name, segment_size},
    trace::{Event, Trace},
};
use crate::{
    store::memory::{Memory, View},
    wal::SegmentFile,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// What timers may be late: they count in milliseconds.
const LATENESS: Duration = Duration::from_millis(5);
/// Two identical statuses are never closer.
const QUIET: Duration = Duration::from_millis(100);
/// A reply is never later, whatever the disk does…
const REPLY: Duration = Duration::from_secs(1);
/// …and on a disk that does not stall, not later than this with everything in it.
const PROMPT_REPLY: Duration = Duration::from_millis(400);
/// With more than this on its way to the disk, the agent stops to read, also requests.
const BACKLOG: u64 = 4 << 20;

pub(super) struct Oracle {
    pub(super) memory: Memory,
    pub(super) log: Log,
    pub(super) trace: Trace,
    files: Files,
    /// Where the agent's first stream began: what it is answerable for.
    pub(super) base: u64,
    /// The longest silence that is allowed.
    pub(super) heartbeat: Option<Duration>,
    /// The disk answers at once and never fails.
    pub(super) prompt: bool,
    /// The server has said other bytes to this agent than it keeps.
    pub(super) doubted: bool,
    /// The agent was asked to stop: it reads no more.
    pub(super) stopping: bool,
    /// The most that `flush` ever was, on each timeline.
    acknowledged: BTreeMap<u32, u64>,
    /// The timeline and the `write` of this agent's last status, on its last stream.
    last: Option<(u32, u64)>,
    stream: Option<Stream>,
    /// Whether the server is still at its end of the connection.
    is_heard: bool,
    /// What earlier streams of this connection told, as far as the present one must not take it back.
    carried: (u64, u64),
    violation: Option<String>,
    violated: Arc<Notify>,
}

struct Stream {
    timeline: u32,
    /// Up to where the agent has taken bytes off the wire.
    taken: u64,
    since: Instant,
    told: Option<Told>,
    /// An identical status came too soon: only the last words of a stream may do that.
    repeated: bool,
    asked: Option<(Instant, u64)>,
    /// When there were any, lately.
    requests: Vec<Instant>,
    /// The last request of which cannot be seen from outside which status answers it, and with it what was asked meanwhile:
    /// what was told before covers more than this stream has brought, or reading was paused in front of it.
    vague: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Told {
    write: u64,
    flush: u64,
    at: Instant,
}

impl Oracle {
    pub(super) fn new(memory: Memory, base: u64) -> Self {
        Self {
            memory,
            log: Log::default(),
            trace: Trace::begin(),
            files: Files::default(),
            base,
            heartbeat: None,
            prompt: false,
            doubted: false,
            stopping: false,
            acknowledged: BTreeMap::new(),
            last: None,
            stream: None,
            is_heard: false,
            carried: (0, 0),
            violation: None,
            violated: Arc::default(),
        }
    }

    /// The first thing that must never happen and did.
    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Wakes whoever waits for a violation.
    pub(super) fn alarm(&self) -> Arc<Notify> {
        self.violated.clone()
    }

    pub(super) fn accuse(&mut self, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(what.into());
            self.violated.notify_one();
        }
    }

    /// How far the latest timeline is acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.get(&self.log.timeline()).copied().unwrap_or(0)
    }

    /// The agent asks for a stream: everything before it must be there.
    pub(super) fn asked_for(&mut self, timeline: u32, from: u64) {
        self.trace.note(Event::Streams { timeline, from });
        let base = self.base;
        if from < base {
            self.accuse(format!("the agent starts at {from:X}, before it ever began"));
        } else if let Some(hole) = missing(&self.memory, &mut self.log, View::Visible, timeline, base, from) {
            self.accuse(format!("the agent resumes at {from:X} on timeline {timeline} and has no byte at {hole:X}"));
        }
        self.look_everywhere();
    }

    /// The agent has read that its stream is open.
    pub(super) fn opened(&mut self, timeline: u32, from: u64) {
        let since = Instant::now();
        self.stream = Some(Stream {
            timeline,
            taken: from,
            since,
            told: None,
            repeated: false,
            asked: None,
            requests: Vec::new(),
            vague: None,
        });
        self.is_heard = true;
        self.last = Some((timeline, from));
        let begin = self.log.begin(timeline);
        if self.carried != (0, 0) {
            self.carried = (self.carried.0.min(begin), self.carried.1.min(begin));
        }
    }

    /// The agent has taken WAL up to here off the wire.
    pub(super) fn took(&mut self, upto: u64) {
        let Some(stream) = &mut self.stream else { return };
        stream.taken = upto;
        if upto.saturating_sub(stream.told.map_or(0, |told| told.write)) > BACKLOG && stream.told.is_some() {
            self.trace.note(Event::BacklogIsFull);
        }
    }

    /// The agent has read that the server wants a reply.
    pub(super) fn asked(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let flushed = stream.told.map_or(0, |told| told.flush);
        stream.requests.push(Instant::now());
        if stream.taken < self.carried.1 {
            stream.vague.get_or_insert(Instant::now());
        } else if stream.taken.saturating_sub(flushed) >= BACKLOG {
            stream.vague = Some(Instant::now());
        } else if !self.stopping {
            stream.asked.get_or_insert((Instant::now(), stream.taken));
        }
    }

    /// A status leaves.
    pub(super) fn status(&mut self, write: u64, flush: u64) {
        self.trace.note(Event::Tells { write, flush });
        self.listen();
        let now = Instant::now();
        let Some(mut stream) = self.stream.take() else { return self.accuse("a status outside of a stream") };
        let before = stream.told.map_or(self.carried, |told| (told.write, told.flush));
        let timeline = stream.timeline;
        let problem = if flush > write {
            Some(format!("flush {flush:X} is beyond write {write:X}"))
        } else if write > stream.taken.max(self.carried.0) {
            Some(format!("write {write:X} is beyond what was received, {:X}", stream.taken))
        } else if write < before.0 || flush < before.1 {
            Some(format!(
                "write {write:X}, flush {flush:X} go back: before, they were {:X} and {:X}",
                before.0, before.1
            ))
        } else if stream.repeated {
            Some("two identical statuses within 100 ms".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            self.accuse(problem);
        }
        let same = |told: Told| (told.write, told.flush) == (write, flush) && now < told.at + QUIET;
        stream.repeated = stream.told.is_some_and(same);
        if stream.taken.saturating_sub(before.0) >= BACKLOG {
            stream.vague = Some(now);
        }
        let vaguely = stream.vague.is_some();
        stream.vague = stream.vague.filter(|since| now < *since + REPLY);
        // One that was taken off the wire before a status may have been understood behind it.
        stream.requests.retain(|&at| now <= at + REPLY + QUIET + LATENESS);
        let late = stream.requests.iter().any(|&at| now >= at + REPLY);
        if vaguely || late || stream.asked.is_some_and(|(since, upto)| flush >= upto || now >= since + REPLY) {
            stream.asked = None;
        }
        let first = stream.told.is_none();
        stream.told = Some(Told { write, flush, at: now });
        self.stream = Some(stream);

        let from = |before: u64| if first { self.base } else { before.max(self.base) };
        let (durable_from, visible_from) = (from(before.1), from(before.0));
        if let Some(hole) = missing(&self.memory, &mut self.log, View::Durable, timeline, durable_from, flush) {
            self.accuse(format!("flush {flush:X} on timeline {timeline}: a crash now takes the byte at {hole:X}"));
        }
        if let Some(hole) = missing(&self.memory, &mut self.log, View::Visible, timeline, visible_from, write) {
            self.accuse(format!("write {write:X} on timeline {timeline}: there is no byte at {hole:X}"));
        }
        let known = self.acknowledged.entry(timeline).or_default();
        *known = flush.max(*known);
        self.last = Some((timeline, write));
    }

    /// Whether something is overdue: to be asked whenever anything happens.
    pub(super) fn listen(&mut self) {
        let Some(stream) = self.stream.as_ref().filter(|_| self.is_heard) else { return };
        let now = Instant::now();
        let last = stream.told.map_or(stream.since, |told| told.at);
        let overdue = |since: Instant, patience: Duration| now > since + patience + LATENESS;
        if let Some(heartbeat) = self.heartbeat
            && overdue(last, heartbeat)
        {
            return self.accuse(format!("no status for {:?}, and {heartbeat:?} are allowed", now - last));
        }
        if self.stopping {
            return;
        }
        let patience = if self.prompt { PROMPT_REPLY } else { REPLY };
        if let Some((since, upto)) = stream.asked
            && overdue(since, patience)
            && overdue(last, QUIET)
        {
            self.accuse(format!("no reply for {:?} to the request at {upto:X}", now - since));
        }
    }

    /// The agent has said that it sends no more on this stream, or has been told that no more comes.
    pub(super) fn stream_ends(&mut self) {
        self.listen();
        if let Some(Stream { told: Some(told), .. }) = self.stream.take() {
            self.carried = (told.write, told.flush);
        }
    }

    /// The server has gone: nobody waits for a status any more.
    pub(super) fn server_leaves(&mut self) {
        self.trace.note(Event::Disconnects);
        self.listen();
        self.is_heard = false;
    }

    pub(super) fn connection_ends(&mut self) {
        self.stream_ends();
        self.carried = (0, 0);
    }

    /// The spare has become this segment: everything before has to be durable by then.
    pub(super) fn spare_is_used(&mut self, segment: &str) {
        self.trace.note(Event::SpareIsUsed);
        let Some(file) = SegmentFile::parse(segment, segment_size()) else { return };
        let (timeline, start) = (file.name.timeline.get(), file.name.segment.get() * SEGMENT);
        if let Some(hole) = missing(&self.memory, &mut self.log, View::Durable, timeline, self.base, start) {
            self.accuse(format!("the spare has become {segment} while the byte at {hole:X} is not durable"));
        }
    }

    /// A byte of WAL, not of a page header, that `timeline`'s own file has and that was acknowledged.
    /// A zero of a finished segment is one, too, and rather taken than others, being the rarer.
    pub(super) fn kept_byte(&self, timeline: u32, from: u64, mut below: impl FnMut(u64) -> u64) -> Option<u64> {
        let upto = self.acknowledged.get(&timeline).copied().filter(|&upto| upto > from)?;
        let byte = |name: &str, at: u64| {
            let offset = (at % SEGMENT) as usize;
            self.memory.look(View::Visible, name, |bytes, _, _| bytes.get(offset).copied()).flatten()
        };
        let places: Vec<u64> = (0..32).map(|_| from + below(upto - from)).collect();
        let kept = places.into_iter().filter(|at| at % PAGE as u64 >= HEADER).filter_map(|at| {
            let name = file_name(timeline, at / SEGMENT);
            match byte(&name, at) {
                Some(byte) => Some((byte != 0, at)),
                None => byte(&(name + ".partial"), at).filter(|&byte| byte != 0).map(|_| (true, at)),
            }
        });
        kept.min_by_key(|(ordinary, _)| *ordinary).map(|(_, at)| at)
    }

    /// The disk as it is: every file right, and everything that was acknowledged durable.
    pub(super) fn look_everywhere(&mut self) {
        if let Some(problem) = self.files.wrong(&self.memory, &mut self.log) {
            self.accuse(problem);
        }
        let ours = |_: &[u8], durable: &[u8], _| String::from_utf8_lossy(durable).contains(&SYSTEM.to_string());
        let recorded = self.memory.look(View::Durable, ".wal-agent/identity", ours) == Some(true);
        if !recorded && self.acknowledged.values().any(|&upto| upto > self.base) {
            self.accuse("WAL was acknowledged, and a crash takes the record of whose it is");
        }
        for (timeline, upto) in self.acknowledged.clone() {
            if let Some(hole) = missing(&self.memory, &mut self.log, View::Durable, timeline, self.base, upto) {
                self.accuse(format!("{upto:X} was acknowledged on timeline {timeline}, and {hole:X} is not durable"));
            }
        }
    }

    /// After a stop in good order, nothing is left that a crash could take.
    pub(super) fn stopped(&mut self) {
        self.look_everywhere();
        let Some((timeline, upto)) = self.last else { return };
        if let Some(hole) = missing(&self.memory, &mut self.log, View::Durable, timeline, self.base, upto) {
            self.accuse(format!("stopped in good order, {upto:X} was written, and {hole:X} is not durable"));
        }
    }

    /// A new agent starts on this directory.
    pub(super) fn starts(&mut self) {
        let acknowledged = self.acknowledged() > self.base;
        self.trace.note(Event::Starts { acknowledged });
        (self.last, self.stopping, self.doubted) = (None, false, false);
        self.look_everywhere();
    }
}
