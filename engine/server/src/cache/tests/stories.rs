//! Single claims: locking, order, wiping, tokens, stability and speed of lists.

use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::{
    Applied, CAPACITY_BYTES, Cache, Change, FIRST_MS, Filter, PARTITIONS, Story, Summary,
    all_pages, id_at, open,
};
use crate::cache::Error;

#[test]
fn a_folder_in_use_is_left_alone() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let partition = cache.partition(0).unwrap();
    partition.write(&[instance(1, 2)], &applied(1)).unwrap();
    drop(cache);
    assert!(matches!(Cache::open(dir.path(), CAPACITY_BYTES), Err(Error::InUse)));
    drop(partition);
    assert_eq!(open(dir.path()).counts(), [(2, 1)].into());
}

#[test]
fn a_write_that_does_not_follow_the_one_before_is_refused() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let partition = cache.partition(0).unwrap();
    let with = |positions: &[u64]| Change { positions: positions.to_vec(), ..instance(1, 2) };
    partition.write(&[with(&[3, 5])], &applied(5)).unwrap();
    for (changes, applied) in [
        (vec![], applied(4)),
        (vec![], Applied { stream_created_ms: 2, ..applied(6) }),
        (vec![with(&[5])], applied(6)),
        (vec![with(&[7])], applied(6)),
        (vec![with(&[7, 6])], applied(7)),
        (vec![with(&[6, 6])], applied(7)),
        (vec![with(&[]), with(&[])], applied(6)),
    ] {
        assert!(matches!(partition.write(&changes, &applied), Err(Error::OutOfOrder(_))));
    }
    assert_eq!(partition.applied(), Some(applied(5)));
    partition.write(&[with(&[6, 900])], &applied(900)).unwrap();
    assert_eq!(partition.positions(&with(&[]).id).unwrap(), [3, 5, 6, 900]);
}

#[test]
fn a_wiped_partition_is_empty_and_the_others_are_not() {
    let dir = tempdir().unwrap();
    let mut story = Story::new(3);
    for _ in 0..3 {
        let cache = open(dir.path());
        story.check(&cache);
        (0..20).for_each(|_| _ = story.write(&cache));
        cache.partition(PARTITIONS[1]).unwrap().wipe().unwrap();
        story.expected.insert(PARTITIONS[1], super::Expected::default());
        story.check(&cache);
        (0..5).for_each(|_| _ = story.write(&cache));
        story.check(&cache);
    }
}

#[test]
fn tokens_that_were_made_up_are_refused() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let instances: Vec<_> = (1..=4).map(|n| instance(n, 2)).collect();
    cache.partition(0).unwrap().write(&instances, &applied(1)).unwrap();
    let filter = Filter::default();
    let token = cache.list(&[0], &filter, 1, None).unwrap().next.unwrap();
    assert_eq!(cache.list(&[0], &filter, 9, Some(&token)).unwrap().instances.len(), 3);
    let other = Filter { status: Some(2), ..Filter::default() };
    assert!(matches!(cache.list(&[0], &other, 1, Some(&token)), Err(Error::PageToken)));
    let upper = token.to_uppercase();
    let wide = "é".repeat(24);
    for made_up in
        ["", "x", &token[1..], &format!("{token}0"), &upper, &wide, &"0".repeat(48), "+1"]
    {
        assert!(matches!(cache.list(&[0], &filter, 1, Some(made_up)), Err(Error::PageToken)));
    }
}

#[test]
fn pages_stay_as_they_are_while_instances_start_and_move() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let partition = cache.partition(0).unwrap();
    let instances: Vec<_> = (0..50).map(|n| instance(n, 2)).collect();
    partition.write(&instances, &applied(1)).unwrap();
    let (mut found, mut token, mut sequence) = (Vec::new(), None, 1);
    loop {
        let page = cache.list(&[0], &Filter::default(), 3, token.as_deref()).unwrap();
        found.extend(page.instances.into_iter().map(|(id, _)| id));
        sequence += 1;
        let moved = instance(sequence * 7 % 50, u8::try_from(1 + sequence % 7).unwrap());
        partition.write(&[instance(100 + sequence, 1), moved], &applied(sequence)).unwrap();
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, instances.iter().rev().map(|change| change.id).collect::<Vec<_>>());
}

/// The bound is loose, because this runs unoptimised on busy machines; a list that read everything would miss it.
#[test]
fn lists_of_many_instances_are_quick_whatever_the_filter() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    for (sequence, number) in (1..=20).zip(PARTITIONS.iter().cycle()) {
        let instances: Vec<_> = (0..500)
            .map(|n| sequence * 500 + n)
            .map(|n| instance(n, if n % 97 == 0 { 6 } else { 7 }))
            .collect();
        cache.partition(*number).unwrap().write(&instances, &applied(sequence)).unwrap();
    }
    let label = |value: &str| [("parity".to_owned(), value.to_owned())].into();
    let name = |name: &str| Some(name.to_owned());
    for (filter, found) in [
        (Filter::default(), 10_000),
        (Filter { status: Some(6), ..Filter::default() }, 103),
        (Filter { name: name("w3"), ..Filter::default() }, 1_250),
        (Filter { status: Some(6), labels: label("even"), ..Filter::default() }, 52),
        (Filter { name: name("w3"), labels: label("even"), ..Filter::default() }, 0),
        (Filter { started_before_ms: Some(FIRST_MS + 600), ..Filter::default() }, 100),
    ] {
        let begun = Instant::now();
        assert!(cache.list(&PARTITIONS, &filter, 50, None).unwrap().instances.len() <= 50);
        let first_page = begun.elapsed();
        assert!(first_page < Duration::from_millis(200), "{filter:?} took {first_page:?}");
        assert_eq!(all_pages(&cache, &PARTITIONS, &filter, 500).len(), found, "{filter:?}");
    }
}

fn applied(sequence: u64) -> Applied {
    Applied { stream_created_ms: 1, sequence, chain: [9; 32] }
}

#[test]
fn a_list_by_time_goes_by_the_start_and_not_by_the_id_that_was_made_before_it() {
    let dir = tempdir().unwrap();
    let cache = open(dir.path());
    let mut late = instance(10, 2);
    late.summary.started_at_ms += 500;
    let id = late.id;
    cache.partition(0).unwrap().write(&[instance(300, 2), late], &applied(1)).unwrap();
    let listed = |after: i64, before: i64| {
        let filter = Filter {
            started_after_ms: Some(FIRST_MS + after),
            started_before_ms: Some(FIRST_MS + before),
            ..Filter::default()
        };
        all_pages(&cache, &[0], &filter, 10).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(listed(400, 600), [id]);
    assert_eq!(listed(5, 20), [[0; 16]; 0]);
    assert_eq!(listed(0, 1_000).len(), 2);
}

fn instance(n: u64, status: u8) -> Change {
    let parity = if n.is_multiple_of(2) { "even" } else { "odd" };
    let summary = Summary {
        namespace: "tests".into(),
        name: format!("w{}", n % 8),
        status,
        labels: [("parity".into(), parity.into())].into(),
        started_at_ms: FIRST_MS + i64::try_from(n).unwrap(),
        ..Summary::default()
    };
    let id = id_at(summary.started_at_ms, n);
    Change { id, summary, state: n.to_le_bytes().repeat(50), positions: vec![], key: None }
}
