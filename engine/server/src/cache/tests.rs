//! What the cache promises, told against a plain map that does the same.

mod damage;
mod model;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::partition::{Applied, Change, KeyChange, KeyEntry, Record};
use super::{Cache, Filter, Summary};

const CAPACITY_BYTES: u64 = 8 << 20;
const PARTITIONS: [u32; 2] = [0, 7];
const FIRST_MS: i64 = 1_700_000_000_000;

fn open(dir: &Path) -> Cache {
    Cache::open(dir, CAPACITY_BYTES).unwrap()
}

/// What one partition should hold.
#[derive(Clone, Default)]
struct Expected {
    applied: Option<Applied>,
    records: BTreeMap<[u8; 16], Record>,
    positions: BTreeMap<[u8; 16], Vec<u64>>,
    keys: BTreeMap<(String, String, String), KeyEntry>,
}

impl Expected {
    fn write(&mut self, changes: &[Change], applied: &Applied) {
        for change in changes.iter().cloned() {
            let Change { id, summary, state, positions, key } = change;
            if let Some(KeyChange { key, request_sha256 }) = key {
                let key = (summary.namespace.clone(), summary.name.clone(), key);
                self.keys.insert(key, KeyEntry { id, request_sha256 });
            }
            self.records.insert(id, Record { summary, state });
            self.positions.entry(id).or_default().extend(positions);
        }
        self.applied = Some(*applied);
    }

    fn check(&self, cache: &Cache, number: u32) {
        let partition = cache.partition(number).unwrap();
        assert_eq!(partition.applied(), self.applied);
        let mut counts = BTreeMap::new();
        for (id, record) in &self.records {
            assert_eq!(partition.record(id).unwrap().as_ref(), Some(record));
            assert_eq!(&partition.positions(id).unwrap(), &self.positions[id]);
            *counts.entry(record.summary.status).or_default() += 1_u64;
        }
        assert_eq!(partition.counts(), counts);
        for ((namespace, name, key), entry) in &self.keys {
            assert_eq!(partition.by_key(namespace, name, key).unwrap(), Some(*entry));
        }
        let open: BTreeMap<_, _> = partition.open_records().map(Result::unwrap).collect();
        let expected = self.records.clone().into_iter();
        assert_eq!(open, expected.filter(|(_, record)| record.summary.status < 5).collect());
        let listed: Vec<_> = all_pages(cache, &[number], &Filter::default(), 7);
        let expected = self.records.iter().rev().map(|(id, record)| (*id, record.summary.clone()));
        assert_eq!(listed, expected.collect::<Vec<_>>());
    }
}

fn all_pages(
    cache: &Cache,
    partitions: &[u32],
    filter: &Filter,
    page_size: usize,
) -> Vec<([u8; 16], Summary)> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = cache.list(partitions, filter, page_size, token.as_deref()).unwrap();
        assert!(page.instances.len() <= page_size);
        found.extend(page.instances);
        token = page.next;
        if token.is_none() {
            return found;
        }
    }
}

fn id_at(ms: i64, rest: u64) -> [u8; 16] {
    let ms = u128::try_from(ms).unwrap();
    ((ms << 80) | (0x7 << 76) | u128::from(rest)).to_be_bytes()
}

/// A story made from a seed: writes to two partitions, as their owner would make them.
struct Story {
    random: StdRng,
    expected: BTreeMap<u32, Expected>,
    now_ms: i64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let expected = PARTITIONS.iter().map(|number| (*number, Expected::default())).collect();
        Self { random: StdRng::seed_from_u64(seed), expected, now_ms: FIRST_MS }
    }

    /// Writes once, and says to which partition.
    fn write(&mut self, cache: &Cache) -> u32 {
        let number = *PARTITIONS.choose(&mut self.random).unwrap();
        let before = self.expected[&number].applied.map_or(0, |applied| applied.sequence);
        let applied = Applied {
            stream_created_ms: 5,
            sequence: before + self.random.random_range(1..9),
            chain: self.random.random(),
        };
        let mut changes = BTreeMap::new();
        for _ in 0..self.random.random_range(0..12) {
            let change = self.change(number, before, applied.sequence);
            changes.insert(change.id, change);
        }
        let changes: Vec<_> = changes.into_values().collect();
        cache.partition(number).unwrap().write(&changes, &applied).unwrap();
        self.expected.get_mut(&number).unwrap().write(&changes, &applied);
        number
    }

    fn change(&mut self, number: u32, after: u64, last: u64) -> Change {
        let known: Vec<_> = self.expected[&number].records.keys().copied().collect();
        let random = &mut self.random;
        let old = known.choose(random).filter(|_| random.random_bool(0.6)).copied();
        self.now_ms += random.random_range(0..3);
        let id = old.unwrap_or_else(|| id_at(self.now_ms, random.random()));
        let mut summary = match old {
            Some(id) => self.expected[&number].records[&id].summary.clone(),
            None => Summary {
                namespace: random_word(random, &["finance", "legal"]),
                name: random_word(random, &["pay", "order", "hire"]),
                version: "1.0.0".into(),
                started_at_ms: self.now_ms,
                labels: random_labels(random),
                trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
                workflow_hash: random.random(),
                ..Summary::default()
            },
        };
        summary.updated_at_ms = self.now_ms;
        if old.is_none() || random.random_bool(0.5) {
            summary.status = random.random_range(1..=7);
        }
        let positions: BTreeSet<_> =
            (0..random.random_range(0..4)).map(|_| random.random_range(after + 1..=last)).collect();
        // Now and then one that is too large to stand among the others in sled's file.
        let bytes =
            if random.random_ratio(1, 200) { 600_000 } else { random.random_range(0..3_000) };
        let state = (0..bytes).map(|_| random.random()).collect();
        let key = old.is_none() && random.random_bool(0.3);
        let key = key.then(|| KeyChange {
            key: format!("key-{}", random.random::<u64>()),
            request_sha256: random.random(),
        });
        Change { id, summary, state, positions: positions.into_iter().collect(), key }
    }

    fn filter(&mut self) -> Filter {
        let latest = self.now_ms + 2;
        let random = &mut self.random;
        let time = |random: &mut StdRng| {
            random.random_bool(0.2).then(|| random.random_range(FIRST_MS - 2..=latest))
        };
        Filter {
            namespace: random
                .random_bool(0.3)
                .then(|| random_word(random, &["finance", "legal", "it"])),
            name: random.random_bool(0.3).then(|| random_word(random, &["pay", "order", "hire"])),
            status: random.random_bool(0.4).then(|| random.random_range(0..=7)),
            started_after_ms: time(random),
            started_before_ms: time(random),
            labels: random_labels(random),
        }
    }

    fn list(&self, filter: &Filter) -> Vec<([u8; 16], Summary)> {
        let all: BTreeMap<_, _> =
            self.expected.values().flat_map(|partition| partition.records.clone()).collect();
        let passing = all.into_iter().rev().filter(|(_, Record { summary, .. })| {
            filter.namespace.as_ref().is_none_or(|namespace| *namespace == summary.namespace)
                && filter.name.as_ref().is_none_or(|name| *name == summary.name)
                && filter.status.is_none_or(|status| status == summary.status)
                && filter.started_after_ms.is_none_or(|ms| summary.started_at_ms > ms)
                && filter.started_before_ms.is_none_or(|ms| summary.started_at_ms < ms)
                && filter.labels.iter().all(|(l, v)| summary.labels.get(l) == Some(v))
        });
        passing.map(|(id, record)| (id, record.summary)).collect()
    }

    fn check(&self, cache: &Cache) {
        for (number, expected) in &self.expected {
            expected.check(cache, *number);
        }
    }
}

fn random_word(random: &mut StdRng, words: &[&str]) -> String {
    (*words.choose(random).unwrap()).to_owned()
}

fn random_labels(random: &mut StdRng) -> BTreeMap<String, String> {
    (0..random.random_range(0..3))
        .map(|_| (random_word(random, &["team", "env", "a/b"]), random_word(random, &["x", "y"])))
        .collect()
}
