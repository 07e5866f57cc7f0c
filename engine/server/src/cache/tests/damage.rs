//! Damage: whatever happened to the folder, opening succeeds and what is then in it was once written, or it is empty.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tempfile::tempdir;

use super::{Cache, Expected, PARTITIONS, Story, open};

/// What each partition held after each of its writes.
type Past = BTreeMap<(u32, u64), Expected>;

#[test]
fn a_damaged_folder_gives_what_was_written_or_nothing() {
    let good = tempdir().unwrap();
    let mut story = Story::new(1);
    let past = write(&open(good.path()), &mut story, 60);
    let (mut empty, seeds) = (0, 80);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let dir = tempdir().unwrap();
        copy(good.path(), dir.path());
        let files = files(dir.path());
        damage(files.choose(&mut random).unwrap(), &mut random);
        let cache = open(dir.path());
        empty += u64::from(is_empty(&cache));
        check(&cache, &past);
        // What came out of it is whole again.
        write(&cache, &mut rewound(&cache, &past, seed), 2);
        drop(cache);
        open(dir.path());
    }
    assert!(empty > 0 && empty < seeds, "{empty} of {seeds} were thrown away");
}

#[test]
fn a_folder_as_a_killed_process_leaves_it_gives_what_was_written() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let mut story = Story::new(2);
    let mut past = Past::new();
    for round in 0..10 {
        println!("round {round}");
        past.extend(write(&cache, &mut story, 5));
        if round % 3 == 0 {
            cache.flush().unwrap();
        }
        let killed = tempdir().unwrap();
        copy(dir.path(), killed.path());
        check(&open(killed.path()), &past);
    }
}

fn write(cache: &Cache, story: &mut Story, writes: usize) -> Past {
    let mut past = Past::new();
    for _ in 0..writes {
        let number = story.write(cache);
        let expected = story.expected[&number].clone();
        past.insert((number, expected.applied.unwrap().sequence), expected);
    }
    past
}

fn is_empty(cache: &Cache) -> bool {
    PARTITIONS.iter().all(|number| cache.partition(*number).unwrap().applied().is_none())
}

fn check(cache: &Cache, past: &Past) {
    for number in PARTITIONS {
        expected(cache, past, number).check(cache, number);
    }
}

fn expected(cache: &Cache, past: &Past, number: u32) -> Expected {
    match cache.partition(number).unwrap().applied() {
        None => Expected::default(),
        Some(applied) => past[&(number, applied.sequence)].clone(),
    }
}

/// A story that goes on from what is left.
fn rewound(cache: &Cache, past: &Past, seed: u64) -> Story {
    let mut story = Story::new(1_000 + seed);
    for number in PARTITIONS {
        story.expected.insert(number, expected(cache, past, number));
    }
    story
}

fn damage(file: &Path, random: &mut StdRng) {
    let length = fs::metadata(file).unwrap().len();
    let mut open = OpenOptions::new().write(true).open(file).unwrap();
    match random.random_range(0..5) {
        0 => fs::remove_file(file).unwrap(),
        1 => open.set_len(random.random_range(0..=length)).unwrap(),
        // Where a write was under way.
        2 => open.set_len(length.saturating_sub(random.random_range(1..5_000))).unwrap(),
        _ => {
            let bytes: Vec<u8> =
                (0..random.random_range(1..3_000)).map(|_| random.random()).collect();
            open.seek(SeekFrom::Start(random.random_range(0..=length))).unwrap();
            open.write_all(&bytes).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
