//! Lists: a page of the instances that pass a filter, newest first, found by seeks in the index.
//!
//! Ids are UUIDv7, so their order is the order of starting, and an id's first 48 bits are Unix milliseconds. What the
//! filter asks for becomes sources, each an ordered set of ids; a lane finds the ids that are in all of them by letting
//! the sources take turns at lowering the bound; the page merges the lanes of all partitions.

use std::collections::{BTreeMap, BTreeSet};

use sled::Tree;

use super::partition::Partition;
use super::summary::Summary;
use super::{Error, entry};

/// What must hold for an instance to be listed; an empty filter passes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub status: Option<u8>,
    /// Started later than this, to the millisecond.
    pub started_after_ms: Option<i64>,
    pub started_before_ms: Option<i64>,
    pub labels: BTreeMap<String, String>,
}

/// Newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub instances: Vec<([u8; 16], Summary)>,
    /// `None`: there is no more.
    pub next: Option<String>,
}

/// Looking up one place in the index costs 2 to 5 µs; a page that found too little after so many is given out as it is.
const SEEKS_MAX: usize = 3_000;

/// How long a start may be under way: an id is at most so much older than its instance.
const ID_BEFORE_START_MS_MAX: i64 = 60_000;

pub(super) fn page(
    partitions: &[Partition],
    filter: &Filter,
    page_size: usize,
    token: Option<&str>,
) -> Result<Page, Error> {
    let (newest, oldest) = bounds(filter, token)?;
    let mut page = Page { instances: Vec::new(), next: None };
    let mut seeks = 0;
    let mut lanes: Vec<_> = partitions
        .iter()
        .map(|partition| (partition, Lane::new(partition, filter, newest, oldest)))
        .collect();
    loop {
        let ahead = lanes.iter_mut().max_by_key(|(_, lane)| lane.position());
        let Some((partition, lane)) = ahead else { break };
        match lane.at {
            At::End => break,
            At::Bound(bound) if seeks >= SEEKS_MAX => {
                page.next = Some(token_of(filter, bound));
                break;
            }
            At::Bound(bound) => lane.step(bound, &mut seeks)?,
            At::Match(id) if page.instances.len() >= page_size.max(1) => {
                page.next = Some(token_of(filter, id));
                break;
            }
            At::Match(id) => {
                let bytes = id.to_be_bytes();
                // The instance may have moved on since the index was read.
                if let Some(summary) =
                    partition.summary(bytes)?.filter(|summary| passes(filter, summary))
                {
                    page.instances.push((bytes, summary));
                }
                lane.below(id);
            }
        }
    }
    Ok(page)
}

/// The newest and the oldest id that the time range and the token leave. An id is made a moment before its instance
/// begins, so the oldest one may be older than the range; what began when is looked up.
fn bounds(filter: &Filter, token: Option<&str>) -> Result<(u128, u128), Error> {
    let first_of = |ms: i64| u128::try_from(ms).unwrap_or(0).min(1 << 48) << 80;
    let oldest = filter
        .started_after_ms
        .map_or(0, |ms| first_of(ms.saturating_add(1).saturating_sub(ID_BEFORE_START_MS_MAX)));
    let newest = match filter.started_before_ms {
        None => u128::MAX,
        // Nothing has started before 1970: an empty range.
        Some(ms) if ms <= 0 => return Ok((0, 1)),
        Some(ms) => first_of(ms) - 1,
    };
    let newest = match token {
        None => newest,
        Some(token) => newest.min(bound_of(filter, token)?),
    };
    Ok((newest, oldest))
}

/// Where one partition's search stands.
struct Lane {
    sources: Vec<Source>,
    oldest: u128,
    at: At,
}

/// Everything newer has been looked at.
enum At {
    /// Newest id that is in every source.
    Match(u128),
    /// Matches can only be here or below.
    Bound(u128),
    End,
}

impl Lane {
    fn new(partition: &Partition, filter: &Filter, newest: u128, oldest: u128) -> Self {
        let labels =
            filter.labels.iter().map(|(label, value)| vec![entry::label_prefix(label, value)]);
        let mut sources: Vec<_> =
            labels.map(|prefixes| Source::new(partition.tree(), prefixes)).collect();
        let anything =
            filter.namespace.is_none() && filter.name.is_none() && filter.status.is_none();
        if sources.is_empty() || !anything {
            sources.push(Source::new(partition.tree(), prefixes(partition, filter)));
        }
        let at = if newest < oldest { At::End } else { At::Bound(newest) };
        Self { sources, oldest, at }
    }

    /// Lanes that are further up come first.
    fn position(&self) -> Option<u128> {
        match self.at {
            At::Match(id) => Some(id),
            At::Bound(bound) => Some(bound),
            At::End => None,
        }
    }

    fn below(&mut self, id: u128) {
        self.at = if id > self.oldest { At::Bound(id - 1) } else { At::End };
    }

    /// One round: a match, or a lower bound, or the end.
    fn step(&mut self, bound: u128, seeks: &mut usize) -> Result<(), Error> {
        let mut candidate = None;
        for source in &mut self.sources {
            let ceiling = candidate.unwrap_or(bound);
            let Some(id) = source.at_or_below(ceiling, self.oldest, seeks)? else {
                self.at = At::End;
                return Ok(());
            };
            if candidate.is_some_and(|candidate| candidate != id) {
                self.at = At::Bound(id);
                return Ok(());
            }
            candidate = Some(id);
        }
        self.at = candidate.map_or(At::End, At::Match);
        Ok(())
    }
}

/// Index prefixes that together hold what namespace, name and status ask for. Without a status the index that never
/// changes is used, so that no instance slips through while its status moves.
fn prefixes(partition: &Partition, filter: &Filter) -> Vec<Vec<u8>> {
    let wanted = partition.buckets().into_iter().filter(|bucket| {
        filter.namespace.as_ref().is_none_or(|namespace| *namespace == bucket.namespace)
            && filter.name.as_ref().is_none_or(|name| *name == bucket.name)
            && filter.status.is_none_or(|status| status == bucket.status)
    });
    let prefixes: BTreeSet<_> = wanted
        .map(|bucket| match filter.status {
            Some(status) => entry::status_prefix(&bucket.namespace, &bucket.name, status),
            None => entry::workflow_prefix(&bucket.namespace, &bucket.name),
        })
        .collect();
    prefixes.into_iter().collect()
}

/// The ids under some prefixes of the index, as one ordered set.
struct Source {
    tree: Tree,
    heads: Vec<Head>,
}

struct Head {
    prefix: Vec<u8>,
    /// Newest id at or below the last bound; `None` when there is none.
    newest: Option<u128>,
    asked: bool,
}

impl Source {
    fn new(tree: Tree, prefixes: Vec<Vec<u8>>) -> Self {
        let heads = prefixes
            .into_iter()
            .map(|prefix| Head { prefix, newest: None, asked: false })
            .collect();
        Self { tree, heads }
    }

    /// Bounds only ever go down, so an answer that is below the new bound still stands.
    fn at_or_below(
        &mut self,
        bound: u128,
        oldest: u128,
        seeks: &mut usize,
    ) -> Result<Option<u128>, Error> {
        for Head { prefix, newest, asked } in &mut self.heads {
            if *asked && newest.is_none_or(|newest| newest <= bound) {
                continue;
            }
            // The first look is free: a page must get on however many prefixes there are.
            *seeks += usize::from(*asked);
            *asked = true;
            let from = [&prefix[..], &oldest.to_be_bytes()].concat();
            let to = [&prefix[..], &bound.to_be_bytes()].concat();
            *newest = match self.tree.range(from..=to).next_back() {
                Some(found) => Some(u128::from_be_bytes(entry::id_of(&found?.0)?)),
                None => None,
            };
        }
        Ok(self.heads.iter().filter_map(|head| head.newest).max())
    }
}

fn passes(filter: &Filter, summary: &Summary) -> bool {
    let Filter { namespace, name, status, labels, started_after_ms, started_before_ms } = filter;
    namespace.as_ref().is_none_or(|namespace| *namespace == summary.namespace)
        && name.as_ref().is_none_or(|name| *name == summary.name)
        && status.is_none_or(|status| status == summary.status)
        && started_after_ms.is_none_or(|after| summary.started_at_ms > after)
        && started_before_ms.is_none_or(|before| summary.started_at_ms < before)
        && labels.iter().all(|(label, value)| summary.labels.get(label) == Some(value))
}

/// The bound below which the next page begins, and a checksum that ties it to the filter.
fn token_of(filter: &Filter, bound: u128) -> String {
    format!("{bound:032x}{:016x}", token_checksum(filter, bound))
}

fn bound_of(filter: &Filter, token: &str) -> Result<u128, Error> {
    let (bound, _) = token.split_at_checked(32).ok_or(Error::PageToken)?;
    let bound = u128::from_str_radix(bound, 16).map_err(|_| Error::PageToken)?;
    if token_of(filter, bound) == token { Ok(bound) } else { Err(Error::PageToken) }
}

fn token_checksum(filter: &Filter, bound: u128) -> u64 {
    entry::checksum(&bound.to_be_bytes(), format!("{filter:?}").as_bytes())
}
