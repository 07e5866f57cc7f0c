//! One partition's share of the cache: written by its owner, read by anyone.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use sled::Tree;

use super::entry::{self, Mark};
use super::folder::Folder;
use super::summary::{self, Summary};
use super::verify::{self, Bucket, Content};
use super::{Error, guarded, locked};

/// Clones share it.
#[derive(Clone)]
pub struct Partition {
    number: u32,
    folder: Arc<Folder>,
    shared: Arc<Shared>,
}

/// Up to where the log is in the cache. `stream_created_ms` tells a stream from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub stream_created_ms: i64,
    pub sequence: u64,
    pub chain: [u8; 32],
}

/// What the cache keeps of an instance. The state's bytes are the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub summary: Summary,
    pub state: Vec<u8>,
}

/// An instance as it is now.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: [u8; 16],
    pub summary: Summary,
    pub state: Vec<u8>,
    /// Log sequences that hold its events, ascending: those since the last write.
    pub positions: Vec<u64>,
    /// When the instance was started under an idempotency key; once is enough.
    pub key: Option<KeyChange>,
}

#[derive(Clone, Debug)]
pub struct KeyChange {
    pub key: String,
    pub request_sha256: [u8; 32],
}

/// Which instance an idempotency key started, and the hash of what was asked then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    pub id: [u8; 16],
    pub request_sha256: [u8; 32],
}

/// Instances that have not ended, in no particular order.
pub struct OpenRecords {
    tree: Tree,
    buckets: std::vec::IntoIter<Bucket>,
    ids: Option<sled::Iter>,
}

struct Shared {
    tree: Mutex<Tree>,
    /// Held throughout a write: writes go one after another.
    mark: Mutex<Option<Mark>>,
    buckets: Mutex<BTreeMap<Bucket, u64>>,
}

impl Partition {
    pub(super) fn new(folder: &Arc<Folder>, number: u32, content: Content) -> Self {
        let Content { tree, mark, buckets } = content;
        let shared =
            Shared { tree: Mutex::new(tree), mark: Mutex::new(mark), buckets: Mutex::new(buckets) };
        Self { number, folder: Arc::clone(folder), shared: Arc::new(shared) }
    }

    /// `None` when the partition is empty.
    pub fn applied(&self) -> Option<Applied> {
        locked(&self.shared.mark).map(|mark| mark.applied)
    }

    /// Empties the partition.
    ///
    /// # Errors
    /// Fails when sled does.
    pub fn wipe(&self) -> Result<(), Error> {
        let mut mark = locked(&self.shared.mark);
        guarded(|| {
            let name = verify::tree_name(self.number);
            self.folder.db.drop_tree(name)?;
            *locked(&self.shared.tree) = self.folder.db.open_tree(name)?;
            *mark = None;
            locked(&self.shared.buckets).clear();
            Ok(())
        })
    }

    /// Writes all changes and the mark, or nothing. Each instance at most once; positions must lie after the mark
    /// before and not after the new one.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when the write does not follow the one before; else as sled fails.
    pub fn write(&self, changes: &[Change], applied: &Applied) -> Result<(), Error> {
        let mut mark = locked(&self.shared.mark);
        guarded(|| {
            expect_order(mark.as_ref(), changes, applied)?;
            let tree = self.tree();
            let mut staged = Staged::after(mark.as_ref());
            for change in changes {
                staged.change(&tree, change)?;
            }
            let Staged { mut batch, sum, entries, buckets } = staged;
            let new = Mark { applied: *applied, sum, entries };
            batch.insert(entry::MARK_KEY, entry::seal_mark(&new));
            tree.apply_batch(batch)?;
            *mark = Some(new);
            self.count(buckets);
            Ok(())
        })
    }

    /// # Errors
    /// Fails when sled does, or on a checksum.
    pub fn record(&self, id: &[u8; 16]) -> Result<Option<Record>, Error> {
        let key = entry::record_key(*id);
        guarded(|| {
            self.tree().get(&key)?.map(|value| entry::unseal_record(&key, &value)).transpose()
        })
    }

    pub(super) fn summary(&self, id: [u8; 16]) -> Result<Option<Summary>, Error> {
        let key = entry::record_key(id);
        self.tree().get(&key)?.map(|value| entry::unseal_summary(&key, &value)).transpose()
    }

    /// Meant for the start, before anything is written: an instance whose status changes meanwhile may be left out.
    pub fn open_records(&self) -> OpenRecords {
        let open = self.buckets().into_iter().filter(|bucket| !summary::has_ended(bucket.status));
        OpenRecords { tree: self.tree(), buckets: open.collect::<Vec<_>>().into_iter(), ids: None }
    }

    /// Log sequences that hold the instance's events, ascending.
    ///
    /// # Errors
    /// Fails when sled does, or on a checksum.
    pub fn positions(&self, id: &[u8; 16]) -> Result<Vec<u64>, Error> {
        guarded(|| {
            let mut positions = Vec::new();
            for chunk in self.tree().scan_prefix(entry::positions_prefix(*id)) {
                let (key, value) = chunk?;
                entry::unseal_positions(&key, &value, &mut positions)?;
            }
            Ok(positions)
        })
    }

    /// # Errors
    /// Fails when sled does, or on a checksum.
    pub fn by_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<KeyEntry>, Error> {
        let key = entry::idempotency_key(namespace, name, key);
        guarded(|| {
            self.tree().get(&key)?.map(|value| entry::unseal_key_entry(&key, &value)).transpose()
        })
    }

    /// How many instances have each status.
    pub fn counts(&self) -> BTreeMap<u8, u64> {
        let mut counts = BTreeMap::new();
        for (bucket, count) in &*locked(&self.shared.buckets) {
            *counts.entry(bucket.status).or_default() += count;
        }
        counts
    }

    pub(super) fn buckets(&self) -> Vec<Bucket> {
        locked(&self.shared.buckets).keys().cloned().collect()
    }

    pub(super) fn tree(&self) -> Tree {
        locked(&self.shared.tree).clone()
    }

    fn count(&self, differences: Vec<(Bucket, Difference)>) {
        let mut buckets = locked(&self.shared.buckets);
        for (bucket, difference) in differences {
            match difference {
                Difference::In => *buckets.entry(bucket).or_default() += 1,
                Difference::Out => {
                    if let Some(count) = buckets.get_mut(&bucket) {
                        *count -= 1;
                        if *count == 0 {
                            buckets.remove(&bucket);
                        }
                    }
                }
            }
        }
    }
}

impl OpenRecords {
    fn step(&mut self) -> Result<Option<([u8; 16], Record)>, Error> {
        loop {
            let Some(ids) = &mut self.ids else {
                let Some(Bucket { namespace, name, status }) = self.buckets.next() else {
                    return Ok(None);
                };
                let prefix = entry::status_prefix(&namespace, &name, status);
                self.ids = Some(self.tree.scan_prefix(prefix));
                continue;
            };
            let Some(found) = ids.next() else {
                self.ids = None;
                continue;
            };
            let id = entry::id_of(&found?.0)?;
            let key = entry::record_key(id);
            let value =
                self.tree.get(&key)?.ok_or(Error::Damaged("an index entry has no record"))?;
            return Ok(Some((id, entry::unseal_record(&key, &value)?)));
        }
    }
}

impl Iterator for OpenRecords {
    type Item = Result<([u8; 16], Record), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(|| self.step()).transpose()
    }
}

fn expect_order(mark: Option<&Mark>, changes: &[Change], applied: &Applied) -> Result<(), Error> {
    let mut before = 0;
    if let Some(Mark { applied: last, .. }) = mark {
        if last.stream_created_ms != applied.stream_created_ms {
            return Err(Error::OutOfOrder("it is of another stream"));
        }
        if last.sequence > applied.sequence {
            return Err(Error::OutOfOrder("it is older"));
        }
        before = last.sequence;
    }
    let mut ids = HashSet::with_capacity(changes.len());
    for Change { id, positions, .. } in changes {
        if !ids.insert(id) {
            return Err(Error::OutOfOrder("an instance is in it twice"));
        }
        let bounds = positions.first().is_none_or(|first| *first > before)
            && positions.last().is_none_or(|last| *last <= applied.sequence);
        if !bounds || !positions.is_sorted_by(|a, b| a < b) {
            return Err(Error::OutOfOrder("positions lie outside of it, or not in order"));
        }
    }
    Ok(())
}

enum Difference {
    In,
    Out,
}

/// A write in the making.
struct Staged {
    batch: sled::Batch,
    sum: u64,
    entries: u64,
    buckets: Vec<(Bucket, Difference)>,
}

impl Staged {
    fn after(mark: Option<&Mark>) -> Self {
        let (sum, entries) = mark.map_or((0, 0), |mark| (mark.sum, mark.entries));
        Self { batch: sled::Batch::default(), sum, entries, buckets: Vec::new() }
    }

    fn change(&mut self, tree: &Tree, change: &Change) -> Result<(), Error> {
        let Change { id, summary, state, positions, key } = change;
        let record_key = entry::record_key(*id);
        let old = tree
            .get(&record_key)?
            .map(|value| entry::unseal_summary_and_sum(&record_key, &value))
            .transpose()?;
        let (value, checksum) = entry::seal_record(&record_key, summary, state);
        self.put(record_key, value, checksum, old.as_ref().map(|(_, checksum)| *checksum));
        self.index(*id, old.as_ref().map(|(summary, _)| summary), summary);
        if let Some(key) = key {
            let at = entry::idempotency_key(&summary.namespace, &summary.name, &key.key);
            let old = tree.get(&at)?.map(|value| Ok::<_, Error>(entry::unseal(&at, &value)?.1));
            let entry = KeyEntry { id: *id, request_sha256: key.request_sha256 };
            let (value, checksum) = entry::seal_key_entry(&at, &entry);
            self.put(at, value, checksum, old.transpose()?);
        }
        if let Some((first, rest)) = positions.split_first() {
            let (key, value, checksum) = entry::seal_positions(*id, *first, rest);
            self.put(key, value, checksum, None);
        }
        Ok(())
    }

    /// Most writes change neither status nor labels, and then the index stays as it is.
    fn index(&mut self, id: [u8; 16], old: Option<&Summary>, new: &Summary) {
        let workflow = |of: &Summary| (of.namespace.clone(), of.name.clone());
        if old.map(workflow) != Some(workflow(new)) {
            if let Some(old) = old {
                self.unmark(&entry::workflow_prefix(&old.namespace, &old.name), id);
            }
            self.mark(&entry::workflow_prefix(&new.namespace, &new.name), id);
        }
        let bucket = |of: &Summary| Bucket {
            namespace: of.namespace.clone(),
            name: of.name.clone(),
            status: of.status,
        };
        let (before, after) = (old.map(bucket), bucket(new));
        if before.as_ref() != Some(&after) {
            if let Some(before) = before {
                self.unmark(
                    &entry::status_prefix(&before.namespace, &before.name, before.status),
                    id,
                );
                self.buckets.push((before, Difference::Out));
            }
            self.mark(&entry::status_prefix(&after.namespace, &after.name, after.status), id);
            self.buckets.push((after, Difference::In));
        }
        let none = BTreeMap::new();
        let old_labels = old.map_or(&none, |old| &old.labels);
        for (label, value) in old_labels.iter().filter(|(l, v)| new.labels.get(*l) != Some(v)) {
            self.unmark(&entry::label_prefix(label, value), id);
        }
        for (label, value) in new.labels.iter().filter(|(l, v)| old_labels.get(*l) != Some(v)) {
            self.mark(&entry::label_prefix(label, value), id);
        }
    }

    fn mark(&mut self, prefix: &[u8], id: [u8; 16]) {
        let key = [prefix, &id].concat();
        let (value, checksum) = entry::seal(&key, &[]);
        self.put(key, value, checksum, None);
    }

    fn unmark(&mut self, prefix: &[u8], id: [u8; 16]) {
        let key = [prefix, &id].concat();
        self.sum = self.sum.wrapping_sub(entry::checksum(&key, &[]));
        self.entries = self.entries.wrapping_sub(1);
        self.batch.remove(key);
    }

    /// `old` is the checksum of the entry that this one replaces.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, checksum: u64, old: Option<u64>) {
        self.sum = self.sum.wrapping_add(checksum).wrapping_sub(old.unwrap_or(0));
        self.entries += u64::from(old.is_none());
        self.batch.insert(key, value);
    }
}
