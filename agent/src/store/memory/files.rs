//! The operations themselves, as a process sees them.

use super::{Content, Memory, Node, Op, SECTOR, lock, resize};
use crate::store::fs::{File, FileSystem, Open};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

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
                let born = self.clock();
                let node = Arc::new(Mutex::new(Content { mode, born, ..Content::default() }));
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
        let clock = self.memory.clock();
        let mut content = lock(&self.node);
        if content.bytes.len() < len {
            resize(&mut content.bytes, len);
            content.version = clock;
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
        let clock = self.memory.clock();
        let began = self.memory.inner().began.as_ref().map_or(u64::MAX, |moment| moment.clock);
        let mut content = lock(&self.node);
        let (dirty, later) = std::mem::take(&mut content.dirty).into_iter().partition(|(_, since)| *since <= began);
        content.dirty = later;
        let dirty: BTreeMap<usize, u64> = dirty;
        if verdict.is_ok() {
            content.version = clock;
            let Content { bytes, durable, .. } = &mut *content;
            resize(durable, bytes.len());
            for sector in dirty.into_keys() {
                let range = (sector * SECTOR).min(bytes.len())..bytes.len().min((sector + 1) * SECTOR);
                durable[range.clone()].copy_from_slice(&bytes[range]);
            }
        }
        verdict
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.memory.call(Op::WriteBack)
    }

    fn forget_cached(&self) {}

    fn try_lock(&self) -> io::Result<bool> {
        let mut content = lock(&self.node);
        let free = !std::mem::replace(&mut content.locked, true);
        self.holds_lock.fetch_or(free, Ordering::Relaxed);
        Ok(free)
    }
}
