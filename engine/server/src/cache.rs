//! What the log says, folded into a sled folder: the state of idle instances and the index behind lists.
//!
//! It is a cache. Everything in it can be rebuilt from the log, and sled is unmaintained, so nothing here is trusted:
//! every value carries a checksum, each partition carries a sum over all its entries, both are checked when the folder
//! is opened, and bad content is thrown away. After an error that is not about the caller's own input, drop every
//! handle and open the folder again.

mod entry;
mod folder;
mod list;
mod partition;
mod summary;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use list::{Filter, Page};
pub use partition::{Applied, Change, KeyChange, KeyEntry, OpenRecords, Partition, Record};
pub use summary::Summary;

/// An open folder. Clones share it; the last one, and the last [`Partition`], closes it. Every call blocks.
#[derive(Clone)]
pub struct Cache {
    folder: Arc<folder::Folder>,
    partitions: Arc<Mutex<HashMap<u32, Partition>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the cache's folder cannot be used")]
    Io(#[from] std::io::Error),
    #[error("another process has the cache open")]
    InUse,
    #[error("sled failed")]
    Sled(#[from] sled::Error),
    #[error("sled panicked")]
    Panicked,
    #[error("opening took longer than {0:?}")]
    TimedOut(std::time::Duration),
    #[error("the content is damaged: {0}")]
    Damaged(&'static str),
    #[error("the write does not follow the one before: {0}")]
    OutOfOrder(&'static str),
    #[error("the page token was not given out for this list")]
    PageToken,
}

impl Cache {
    /// Opens the folder, which nobody else may have open. Bad content is thrown away with a warning: the cache is then
    /// empty. `capacity_bytes` bounds the pages that sled keeps in memory.
    ///
    /// # Errors
    /// Fails when another process has the folder, or when not even an empty cache can be made there.
    pub fn open(dir: &Path, capacity_bytes: u64) -> Result<Self, Error> {
        let (folder, content) = folder::open(dir, capacity_bytes)?;
        let folder = Arc::new(folder);
        let partitions = content
            .into_iter()
            .map(|(number, content)| (number, Partition::new(&folder, number, content)))
            .collect();
        Ok(Self { folder, partitions: Arc::new(Mutex::new(partitions)) })
    }

    /// A partition's share, empty when nothing was written to it yet.
    ///
    /// # Errors
    /// Fails when sled does.
    pub fn partition(&self, number: u32) -> Result<Partition, Error> {
        let mut partitions = locked(&self.partitions);
        if let Some(partition) = partitions.get(&number) {
            return Ok(partition.clone());
        }
        let tree = guarded(|| Ok(self.folder.db.open_tree(verify::tree_name(number))?))?;
        let partition = Partition::new(&self.folder, number, verify::Content::empty(tree));
        partitions.insert(number, partition.clone());
        Ok(partition)
    }

    /// Instances of these partitions that pass the filter, newest first. A page may be short, even empty, and still
    /// have a token: then the search goes on with the next page. Instances that start between two pages are not in the
    /// later one; one whose status changes meanwhile is shown as it is when its page is made, or not at all when it no
    /// longer passes.
    ///
    /// # Errors
    /// [`Error::PageToken`] when the token does not come from a page of the same filter; else as sled fails.
    pub fn list(
        &self,
        partitions: &[u32],
        filter: &Filter,
        page_size: usize,
        token: Option<&str>,
    ) -> Result<Page, Error> {
        let partitions = partitions
            .iter()
            .map(|number| self.partition(*number))
            .collect::<Result<Vec<_>, _>>()?;
        guarded(|| list::page(&partitions, filter, page_size, token))
    }

    /// How many instances have each status, over all partitions.
    pub fn counts(&self) -> BTreeMap<u8, u64> {
        let mut counts = BTreeMap::new();
        for partition in locked(&self.partitions).values() {
            for (status, count) in partition.counts() {
                *counts.entry(status).or_default() += count;
            }
        }
        counts
    }

    /// Brings everything written so far to the disk; sled does so by itself twice a second.
    ///
    /// # Errors
    /// Fails when sled does.
    pub fn flush(&self) -> Result<(), Error> {
        guarded(|| self.folder.db.flush().map(|_| ()).map_err(Error::from))
    }
}

/// sled panics where it meets what it does not expect; a cache is no reason to fall.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Panicked))
}

/// A panic under the lock leaves at worst a cache that fails its next check, so poisoning adds nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
