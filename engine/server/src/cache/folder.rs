//! Opens sled's folder, and starts an empty one where that does not go well.
//!
//! Each try that fails leaves its generation (`sled-<n>`) behind for a fresh one, so a thread that still hangs in the
//! old one cannot touch the new.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::verify::{self, Content};
use super::{Error, guarded};

/// Checking takes a few microseconds an entry; past this, reading the log again is the better way.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

const LOCK_TRIES: u32 = 10;
const LOCK_AGAIN: Duration = Duration::from_millis(50);

/// Fields drop in this order: the lock must outlive sled.
pub(super) struct Folder {
    pub(super) db: sled::Db,
    _lock: File,
}

pub(super) type Partitions = BTreeMap<u32, Content>;

pub(super) fn open(dir: &Path, capacity_bytes: u64) -> Result<(Folder, Partitions), Error> {
    fs::create_dir_all(dir)?;
    let lock = lock(dir)?;
    let generations = generations(dir)?;
    let newest = generations.last().copied().unwrap_or(0);
    let mut opened = open_in_time(generation(dir, newest), capacity_bytes);
    // sled lets go of its own lock a moment after its last handle is gone.
    for _ in 0..LOCK_TRIES {
        if !matches!(opened, Err(Error::Sled(sled::Error::Io(_)))) {
            break;
        }
        thread::sleep(LOCK_AGAIN);
        opened = open_in_time(generation(dir, newest), capacity_bytes);
    }
    let (db, content) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(
                error = %error,
                folder = %dir.display(),
                "The cache could not be used and starts empty; it is rebuilt from the log."
            );
            open_in_time(generation(dir, newest.wrapping_add(1)), capacity_bytes)
                .inspect(|_| discard(dir, newest))?
        }
    };
    generations.into_iter().filter(|number| *number != newest).for_each(|old| discard(dir, old));
    Ok((Folder { db, _lock: lock }, content))
}

fn lock(dir: &Path) -> Result<File, Error> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn generation(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("sled-{number}"))
}

/// Ascending.
fn generations(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("sled-"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What cannot be removed now is tried again at the next opening.
fn discard(dir: &Path, number: u64) {
    let path = generation(dir, number);
    if let Err(error) = fs::remove_dir_all(&path) {
        tracing::warn!(%error, folder = %path.display(), "An old cache could not be removed.");
    }
}

/// On a thread of its own, because sled may panic or hang on what it finds.
fn open_in_time(path: PathBuf, capacity_bytes: u64) -> Result<(sled::Db, Partitions), Error> {
    let (answer, answered) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let told_to_stop = Arc::clone(&stop);
    thread::Builder::new().name("cache-open".into()).spawn(move || {
        let opened = guarded(|| open_checked(&path, capacity_bytes, &told_to_stop));
        // When nobody waits any more, what was opened is closed here.
        let _ = answer.send(opened);
    })?;
    answered.recv_timeout(OPEN_TIMEOUT).unwrap_or_else(|_| {
        stop.store(true, Ordering::Relaxed);
        Err(Error::TimedOut(OPEN_TIMEOUT))
    })
}

fn open_checked(
    path: &Path,
    capacity_bytes: u64,
    stop: &AtomicBool,
) -> Result<(sled::Db, Partitions), Error> {
    let db = sled::Config::new()
        .path(path)
        .cache_capacity(capacity_bytes)
        .mode(sled::Mode::HighThroughput)
        .open()?;
    let mut partitions = Partitions::new();
    for name in db.tree_names() {
        // sled's own default tree, which we leave empty.
        if *name == *db.name() {
            continue;
        }
        let number =
            verify::partition_of(&name).ok_or(Error::Damaged("a tree has a strange name"))?;
        partitions.insert(number, verify::read(db.open_tree(&name)?, stop)?);
    }
    Ok((db, partitions))
}
