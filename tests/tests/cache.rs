//! The cache is a cache: whatever happens to its folder while `batond` is stopped changes only the start-up time.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use baton_proto::v1::{CancelRequest, HistoryEvent, Instance, ListRequest, Status, SuspendRequest};
use baton_tests::replay::Replay;
use baton_tests::world::start_request;
use baton_tests::{DEADLINE, Setup, World, eventually};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// Each is a damage of its own; see [`damage`].
const SEEDS: std::ops::Range<u64> = 0..14;

#[tokio::test]
async fn damage_to_the_cache_changes_nothing_that_anybody_sees() {
    let mut world = World::begin(Setup { partitions: 3, ..Setup::default() }).await.unwrap();
    let ids = stories(&world).await;
    let before = Seen::of(&world, &ids).await;
    let folder = world.cluster.batond.data().join("sled");
    for seed in SEEDS {
        world.cluster.batond.terminate().await.unwrap();
        let what = damage(&folder, seed);
        world.cluster.batond.restart().await.unwrap();
        let after = Seen::of(&world, &ids).await;
        assert_eq!(after, before, "after seed {seed}: {what}");
    }
    // It goes on as well as it stood still, and keys are still known.
    world.lab.release("held");
    for id in &ids[..5] {
        world.api.completed(id, DEADLINE).await.unwrap();
    }
    let mut again = start_request("sum", r#"{"n":0}"#);
    again.idempotency_key = "sum-0".to_owned();
    again.labels.insert("number".to_owned(), "0".to_owned());
    let again = world.api.workflows.clone().start(again).await.unwrap().into_inner();
    assert_eq!((&again.id, again.created), (&ids[5], false));
    let replay = Replay::read(&world.cluster.nats.url(), 3).await.unwrap();
    replay.expect_single_results().unwrap();
    let data = world.cluster.batond.data().to_path_buf();
    world.cluster.batond.terminate().await.unwrap();
    replay.expect_cache(&data).unwrap();
    world.end().await.unwrap();
}

/// Instances in every status; the first five are held by the worker.
async fn stories(world: &World) -> Vec<String> {
    let hold = "- hold:\n    call: hold\n    with: { name: held, n: '${ .n }' }";
    world.deploy("held", hold).await.unwrap();
    world.deploy("sum", "- add:\n    call: add\n    with: { n: '${ .n }' }").await.unwrap();
    world.deploy("long", "- long:\n    wait: { hours: 1 }").await.unwrap();
    let raise = "- raise:\n    raise:\n      error: { type: 'https://x.example/no', status: 400, title: no }";
    world.deploy("raise", raise).await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let mut ids = Vec::new();
    for name in ["held", "sum", "long", "raise"] {
        for number in 0..5 {
            let mut request = start_request(name, &format!(r#"{{"n":{number}}}"#));
            request.idempotency_key = format!("{name}-{number}");
            request.labels.insert("number".to_owned(), number.to_string());
            ids.push(workflows.start(request).await.unwrap().into_inner().id);
        }
    }
    let large = format!(r#"{{"n":7,"text":"{}"}}"#, "y".repeat(100 * 1024));
    ids.push(world.start("long", &large).await.unwrap());
    world.lab.begun("held", 5, DEADLINE).await.unwrap();
    let suspend = SuspendRequest { id: ids[10].clone(), reason: "for now".to_owned() };
    workflows.suspend(suspend).await.unwrap();
    let cancel = CancelRequest { id: ids[11].clone(), reason: "no more".to_owned() };
    workflows.cancel(cancel).await.unwrap();
    for id in ids[5..10].iter().chain(&ids[15..20]) {
        world.api.ended(id, DEADLINE).await.unwrap();
    }
    ids
}

/// Everything that the API shows.
#[derive(Debug, PartialEq)]
struct Seen {
    lists: Vec<Vec<Instance>>,
    instances: Vec<Instance>,
    histories: Vec<Vec<HistoryEvent>>,
}

impl Seen {
    async fn of(world: &World, ids: &[String]) -> Self {
        let api = &world.api;
        // Lists follow a moment after.
        let statuses = eventually(DEADLINE, "the lists are complete", async || {
            let all = api.list(ListRequest::default()).await?;
            let of = |status| all.iter().filter(|i| i.status() == status).count();
            let counts = [Status::Running, Status::Waiting, Status::Suspended, Status::Cancelled];
            Ok((counts.map(of) == [5, 4, 1, 1] && all.len() == ids.len()).then_some(all))
        });
        let mut lists = vec![statuses.await.unwrap()];
        for status in [Status::Completed, Status::Faulted, Status::Waiting] {
            let request = ListRequest { status: status.into(), ..ListRequest::default() };
            lists.push(api.list(request).await.unwrap());
        }
        let mut labelled = ListRequest { namespace: "lab".to_owned(), ..ListRequest::default() };
        labelled.labels.insert("number".to_owned(), "3".to_owned());
        lists.push(api.list(labelled).await.unwrap());
        let (mut instances, mut histories) = (Vec::new(), Vec::new());
        for id in ids {
            let mut instance = api.get(id).await.unwrap();
            // A new process knows no workers until they announce themselves again.
            instance.open_tasks.iter_mut().for_each(|task| task.unserved = false);
            instances.push(instance);
            histories.push(api.history(id).await.unwrap());
        }
        Self { lists, instances, histories }
    }
}

/// Harms the folder and says how.
fn damage(folder: &Path, seed: u64) -> String {
    if seed == 0 {
        fs::remove_dir_all(folder).unwrap();
        return "the folder was deleted".to_owned();
    }
    let mut random = StdRng::seed_from_u64(seed);
    let files = files(folder);
    let large = files.iter().filter(|file| fs::metadata(file).unwrap().len() > 0);
    let large = large.collect::<Vec<_>>();
    let file = (*large.choose(&mut random).unwrap()).clone();
    let mut bytes = fs::read(&file).unwrap();
    let what = match seed % 6 {
        0 => {
            fs::remove_file(&file).unwrap();
            return format!("{} was deleted", file.display());
        }
        1 => {
            for _ in 0..8 {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            "has flipped bits"
        }
        2 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "was truncated"
        }
        3 => {
            let from = random.random_range(0..bytes.len());
            let length = random.random_range(1..=4_096.min(bytes.len() - from));
            random.fill_bytes(&mut bytes[from..from + length]);
            "was scribbled over"
        }
        4 => {
            let from = random.random_range(0..bytes.len());
            bytes[from..].fill(0);
            "ends in zeros"
        }
        _ => {
            random.fill_bytes(&mut bytes);
            "is noise"
        }
    };
    fs::write(&file, bytes).unwrap();
    format!("{} {what}", file.display())
}

/// Every file but the lock, in an order of its own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}
