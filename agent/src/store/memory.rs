//! A directory in memory that can fail and crash: the file system's double for tests.
//!
//! What was written is lost in a crash unless it was synced, sector by sector; so is a name unless its directory was
//! synced. A failed `sync` behaves as Linux does: the pages count as clean although they never reached the disk, and the
//! next `sync` says OK. Power can fail before any operation: nothing that is tried afterwards has an effect.

use super::fs::{File, FileSystem, Open};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

const SECTOR: usize = 512;

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    List,
    Stat,
    Open,
    Create,
    Read,
    Write,
    Reserve,
    SetLen,
    Sync,
    Rename,
    Remove,
    MakeDirectory,
    SyncDirectory,
}

/// Which state of the disk is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// What a process sees.
    Visible,
    /// What a crash leaves at least.
    Durable,
}

/// Says of each operation whether it fails, and how.
pub(crate) type Faults = Box<dyn FnMut(Op) -> Option<io::ErrorKind> + Send>;

/// A moment in the life of a directory.
#[derive(Clone)]
pub(crate) struct Moment {
    clock: u64,
    entries: BTreeMap<String, Node>,
}

#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<String, Node>,
    durable_entries: BTreeMap<String, Node>,
    /// What fails next, and how.
    fault: Option<(Op, io::ErrorKind)>,
    faults: Option<Faults>,
    /// Operations until power fails.
    power: Option<usize>,
    /// Operations so far.
    clock: u64,
    /// The last one that made a directory durable.
    directory_synced: u64,
    /// A sync that began then covers no more than what there was.
    began: Option<Moment>,
    /// Successful calls, for counting.
    calls: BTreeMap<Op, usize>,
}

type Node = Arc<Mutex<Content>>;

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Changes to either.
    version: u64,
    /// Sectors that differ from what is durable, and since which operation.
    dirty: BTreeMap<usize, u64>,
    locked: bool,
    mode: u32,
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// The next call of this operation fails.
    pub(super) fn fail(&self, op: Op, kind: io::ErrorKind) {
        self.inner().fault = Some((op, kind));
    }

    /// Whether the fault that was asked for has not struck yet; it is taken back.
    pub(super) fn take_fault(&self) -> bool {
        self.inner().fault.take().is_some()
    }

    pub(super) fn calls(&self, op: Op) -> usize {
        self.inner().calls.get(&op).copied().unwrap_or(0)
    }

    /// From now on, `faults` decides about each operation.
    pub(crate) fn set_faults(&self, faults: Option<Faults>) {
        self.inner().faults = faults;
    }

    /// After so many more operations, power fails.
    pub(crate) fn cut_power_after(&self, operations: usize) {
        self.inner().power = Some(operations + 1);
    }

    /// Whether power has failed; [`Self::crash`] brings it back.
    pub(crate) fn is_dead(&self) -> bool {
        self.inner().power == Some(0)
    }

    pub(crate) fn moment(&self) -> Moment {
        let inner = self.inner();
        Moment { clock: inner.clock, entries: inner.entries.clone() }
    }

    /// Each sync from now on is one that began at that moment, although it returns only now.
    pub(crate) fn syncs_began(&self, at: Option<Moment>) {
        self.inner().began = at;
    }

    fn clock(&self) -> u64 {
        self.inner().clock
    }

    fn call(&self, op: Op) -> io::Result<()> {
        let mut inner = self.inner();
        inner.clock += 1;
        match &mut inner.power {
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Err(io::ErrorKind::NotConnected.into());
                }
            }
            None => {}
        }
        if let Some(kind) = inner.faults.as_mut().and_then(|faults| faults(op)) {
            return Err(kind.into());
        }
        if let Some((_, kind)) = inner.fault.take_if(|(at, _)| *at == op) {
            return Err(kind.into());
        }
        *inner.calls.entry(op).or_default() += 1;
        Ok(())
    }

    /// Power is lost. `survives` decides, call by call, whether a sector or name that was not synced made it all the same.
    pub(crate) fn crash(&self, mut survives: impl FnMut() -> bool) {
        let mut inner = self.inner();
        let before = inner.durable_entries.clone();
        let pending = std::mem::take(&mut inner.entries);
        let mut after = before.clone();
        // A rename is one step of the file system: afterwards the file has the old name or the new one, never none.
        for (name, node) in &pending {
            let renamed_from = before.iter().find(|(old, known)| Arc::ptr_eq(known, node) && *old != name);
            if !before.get(name).is_some_and(|known| Arc::ptr_eq(known, node)) && survives() {
                if let Some((old, _)) = renamed_from {
                    after.remove(old);
                }
                after.insert(name.clone(), node.clone());
            }
        }
        for (name, node) in &before {
            let removed = !pending.values().any(|known| Arc::ptr_eq(known, node));
            if removed && !pending.contains_key(name) && survives() {
                after.remove(name);
            }
        }
        for node in after.values() {
            let mut content = lock(node);
            let bytes = std::mem::take(&mut content.bytes);
            let mut durable = std::mem::take(&mut content.durable);
            let len = if bytes.len() != durable.len() && survives() { bytes.len() } else { durable.len() };
            resize(&mut durable, len.max(bytes.len()));
            for sector in std::mem::take(&mut content.dirty).into_keys() {
                let range = sector * SECTOR..bytes.len().min((sector + 1) * SECTOR);
                if survives() && !range.is_empty() {
                    durable[range.clone()].copy_from_slice(&bytes[range]);
                }
            }
            durable.truncate(len);
            let (mode, version) = (content.mode, content.version + 1);
            *content = Content { bytes: durable.clone(), durable, mode, version, ..Content::default() };
        }
        inner.durable_entries = after.clone();
        inner.entries = after;
        inner.fault = None;
        (inner.power, inner.began) = (None, None);
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content { durable: bytes.clone(), bytes, ..Content::default() };
        let node = Arc::new(Mutex::new(content));
        let mut inner = self.inner();
        inner.entries.insert(name.to_owned(), node.clone());
        inner.durable_entries.insert(name.to_owned(), node);
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().entries.get(name).map(|node| lock(node).bytes.clone())
    }

    /// Looks at the file that has this name in `view`: its bytes as a process sees them, the durable ones, and a number
    /// that changes with either.
    pub(crate) fn look<T>(&self, view: View, name: &str, look: impl FnOnce(&[u8], &[u8], u64) -> T) -> Option<T> {
        let inner = self.inner();
        let entries = if view == View::Visible { &inner.entries } else { &inner.durable_entries };
        let content = lock(entries.get(name)?);
        Some(look(&content.bytes, &content.durable, content.version))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inner().entries.keys().cloned().collect()
    }

    pub(super) fn mode(&self, name: &str) -> Option<u32> {
        self.inner().entries.get(name).map(|node| lock(node).mode)
    }
}

impl Content {
    fn touch(&mut self, range: Range<usize>, at: u64) {
        self.version += 1;
        for sector in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            self.dirty.entry(sector).or_insert(at);
        }
    }
}

/// `Vec::resize` takes one byte at a time in a debug build.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    match len.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(len),
    }
}

fn lock(node: &Node) -> MutexGuard<'_, Content> {
    node.lock().expect("no test panics while it holds this")
}

impl FileSystem for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.call(Op::List)?;
        Ok(self.names().into_iter().filter(|name| !name.contains('/')).collect())
    }

    fn check_writable(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.call(Op::Stat)?;
        Ok(self.inner().entries.get(name).map(|node| lock(node).bytes.len() as u64))
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn File>> {
        let known = self.inner().entries.get(name).cloned();
        self.call(if known.is_none() && how != Open::Read { Op::Create } else { Op::Open })?;
        let node = match (known, how) {
            (Some(node), _) => node,
            (None, Open::Create(mode)) => {
                let node = Arc::new(Mutex::new(Content { mode, ..Content::default() }));
                self.inner().entries.insert(name.to_owned(), node.clone());
                node
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemoryFile { memory: self.clone(), node, holds_lock: AtomicBool::new(false) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Op::Rename)?;
        let mut inner = self.inner();
        let node = inner.entries.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.entries.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(Op::Remove)?;
        self.inner().entries.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn make_directory(&self, _name: &str, _mode: u32) -> io::Result<()> {
        self.call(Op::MakeDirectory)
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.call(Op::SyncDirectory)?;
        let mut inner = self.inner();
        let here = |entry: &str| entry.split_once('/').map_or(".", |(parent, _)| parent) == name;
        let entries = match &inner.began {
            Some(moment) if moment.clock > inner.directory_synced => &moment.entries,
            _ => &inner.entries,
        };
        let now: Vec<_> = entries.iter().filter(|(entry, _)| here(entry)).collect();
        // What was renamed to here from another directory is no longer there: a rename is one step.
        let came = |node: &Node| now.iter().any(|(_, known)| Arc::ptr_eq(known, node));
        let kept = inner.durable_entries.iter().filter(|(entry, node)| !here(entry) && !came(node));
        inner.durable_entries = kept.chain(now.iter().copied()).map(|(k, v)| (k.clone(), v.clone())).collect();
        inner.directory_synced = inner.clock;
        Ok(())
    }
}

struct MemoryFile {
    memory: Memory,
    node: Node,
    holds_lock: AtomicBool,
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if *self.holds_lock.get_mut() {
            lock(&self.node).locked = false;
        }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.memory.call(Op::Read)?;
        let content = lock(&self.node);
        let from = content.bytes.len().min(offset as usize);
        let len = buffer.len().min(content.bytes.len() - from);
        buffer[..len].copy_from_slice(&content.bytes[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let verdict = self.memory.call(Op::Write);
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        if self.memory.is_dead() {
            return verdict;
        }
        if verdict.is_err() {
            // A failing write may have done half of its work.
            bytes.truncate(bytes.len() / 2);
        }
        let clock = self.memory.clock();
        let mut content = lock(&self.node);
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if content.bytes.len() < to {
            resize(&mut content.bytes, to);
        }
        content.bytes[from..to].copy_from_slice(&bytes);
        content.touch(from..to, clock);
        verdict
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let verdict = self.memory.call(Op::Reserve);
        if self.memory.is_dead() {
            return verdict;
        }
        // Running out of space half-way leaves a short file behind.
        let len = if verdict.is_err() { len / 2 } else { len } as usize;
        let mut content = lock(&self.node);
        if content.bytes.len() < len {
            resize(&mut content.bytes, len);
            content.version += 1;
        }
        verdict
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.call(Op::SetLen)?;
        let clock = self.memory.clock();
        let mut content = lock(&self.node);
        let before = content.bytes.len();
        resize(&mut content.bytes, len as usize);
        // What was cut off and comes back as zeros is a change like any other.
        content.touch((len as usize).min(before)..(len as usize).max(before), clock);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let verdict = self.memory.call(Op::Sync);
        if self.memory.is_dead() {
            return verdict;
        }
        let began = self.memory.inner().began.as_ref().map_or(u64::MAX, |moment| moment.clock);
        let mut content = lock(&self.node);
        let (dirty, later) = std::mem::take(&mut content.dirty).into_iter().partition(|(_, since)| *since <= began);
        content.dirty = later;
        let dirty: BTreeMap<usize, u64> = dirty;
        if verdict.is_ok() {
            content.version += 1;
            let Content { bytes, durable, .. } = &mut *content;
            resize(durable, bytes.len());
            for sector in dirty.into_keys() {
                let range = (sector * SECTOR).min(bytes.len())..bytes.len().min((sector + 1) * SECTOR);
                durable[range.clone()].copy_from_slice(&bytes[range]);
            }
        }
        verdict
    }

    fn start_write_back(&self, _offset: u64, _len: u64) {}

    fn try_lock(&self) -> io::Result<bool> {
        let mut content = lock(&self.node);
        let free = !std::mem::replace(&mut content.locked, true);
        self.holds_lock.fetch_or(free, Ordering::Relaxed);
        Ok(free)
    }
}
