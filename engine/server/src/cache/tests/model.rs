//! Random stories: the cache answers as a plain map does, also after it was closed and opened again.

use tempfile::tempdir;

use super::{PARTITIONS, Story, all_pages, open};

#[test]
fn the_cache_answers_as_a_plain_map_does() {
    for seed in 0..12 {
        println!("seed {seed}");
        check(seed);
    }
}

fn check(seed: u64) {
    let dir = tempdir().unwrap();
    let mut story = Story::new(seed);
    for _ in 0..3 {
        let cache = open(dir.path());
        story.check(&cache);
        for _ in 0..20 {
            story.write(&cache);
            for page_size in [1, 4, 100] {
                let filter = story.filter();
                assert_eq!(all_pages(&cache, &PARTITIONS, &filter, page_size), story.list(&filter));
            }
        }
        story.check(&cache);
    }
}
