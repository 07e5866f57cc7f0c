//! Reads a whole partition when the folder is opened: checks every entry, and counts the instances on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use sled::Tree;

use super::Error;
use super::entry::{self, Mark};

/// A partition's tree, checked.
pub(super) struct Content {
    pub(super) tree: Tree,
    pub(super) mark: Option<Mark>,
    pub(super) buckets: BTreeMap<Bucket, u64>,
}

/// Instances are counted by these; lists use the buckets that exist to know where to look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) status: u8,
}

impl Content {
    pub(super) fn empty(tree: Tree) -> Self {
        Self { tree, mark: None, buckets: BTreeMap::new() }
    }
}

pub(super) fn tree_name(partition: u32) -> [u8; 5] {
    let [a, b, c, d] = partition.to_be_bytes();
    [b'p', a, b, c, d]
}

pub(super) fn partition_of(tree_name: &[u8]) -> Option<u32> {
    match tree_name {
        [b'p', a, b, c, d] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// Fails on the first thing that does not fit. `stop` ends it early when nobody waits for the answer any more.
pub(super) fn read(tree: Tree, stop: &AtomicBool) -> Result<Content, Error> {
    let mut content = Content::empty(tree);
    let (mut sum, mut entries) = (0_u64, 0_u64);
    for entry in &content.tree {
        let (key, value) = entry?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Damaged("nobody waits for it"));
        }
        if *key == *entry::MARK_KEY {
            content.mark = Some(entry::unseal_mark(&value)?);
            continue;
        }
        let checksum = if key.first() == Some(&entry::RECORD_TAG) {
            entry::unseal_state(&key, &value)?;
            let (summary, checksum) = entry::unseal_summary_and_sum(&key, &value)?;
            let bucket =
                Bucket { namespace: summary.namespace, name: summary.name, status: summary.status };
            *content.buckets.entry(bucket).or_default() += 1;
            checksum
        } else {
            entry::unseal(&key, &value)?.1
        };
        sum = sum.wrapping_add(checksum);
        entries += 1;
    }
    let expected = content.mark.map_or((0, 0), |mark| (mark.sum, mark.entries));
    if (sum, entries) != expected {
        return Err(Error::Damaged("entries are missing or too many"));
    }
    Ok(content)
}
