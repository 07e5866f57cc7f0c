//! How many partitions there are and were. Instances stay where their ids say, so partitions can be added; an
//! idempotency key is looked for wherever it would have gone before.

use async_nats::jetstream::kv::Store;
use sha2::{Digest, Sha256};

use crate::{limits, partition::PARTITIONS_MAX};

const KEY: &str = "partitions";
const TRIES: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there are {there} partitions, {wanted} are too few: partitions can be added, never taken away"
    )]
    Fewer { there: u32, wanted: u32 },
    #[error("the number of partitions cannot be {verb}: {reason}")]
    Store { verb: &'static str, reason: String },
}

/// Numbers of partitions, ascending; the last one counts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth(Vec<u32>);

impl Growth {
    /// What there is, raised to `wanted` if that is more; without `wanted` as it is.
    ///
    /// # Errors
    /// [`Error::Fewer`] when partitions would go; else as the broker fails.
    ///
    /// # Panics
    /// Never: numbers are JSON.
    pub async fn settle(store: &Store, wanted: Option<u32>) -> Result<Self, Error> {
        let mut reason = String::new();
        for _ in 0..TRIES {
            let there = read(store).await?;
            let now = there.as_ref().map(|(growth, _)| growth.now());
            let count = wanted.or(now).unwrap_or(limits::PARTITIONS_DEFAULT);
            let (mut counts, revision) = match there {
                Some((growth, _)) if growth.now() == count => return Ok(growth),
                Some((growth, _)) if growth.now() > count => {
                    return Err(Error::Fewer { there: growth.now(), wanted: count });
                }
                Some((Self(counts), revision)) => (counts, revision),
                None => (Vec::new(), 0),
            };
            counts.push(count);
            let text = serde_json::to_vec(&counts).expect("numbers are JSON");
            match store.update(KEY, text.into(), revision).await {
                Ok(_) => return Ok(Self(counts)),
                // Another engine may have been faster: look again.
                Err(error) => reason = error.to_string(),
            }
        }
        Err(Error::Store { verb: "written", reason })
    }

    /// How many partitions there are.
    ///
    /// # Panics
    /// Never: there is at least one number.
    pub fn now(&self) -> u32 {
        *self.0.last().expect("there is at least one number")
    }

    /// Where an idempotency key belongs, and then where it did when there were fewer partitions.
    pub fn places_of(&self, namespace: &str, workflow: &str, key: &str) -> Vec<u32> {
        let mut hash = Sha256::new();
        for part in [namespace, workflow, key] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let number = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let mut places: Vec<u32> = Vec::new();
        for count in self.0.iter().rev() {
            if !places.contains(&(number % count)) {
                places.push(number % count);
            }
        }
        places
    }
}

/// Answers the revision, too.
async fn read(store: &Store) -> Result<Option<(Growth, u64)>, Error> {
    let unreadable = |reason: String| Error::Store { verb: "read", reason };
    let Some(entry) = store.entry(KEY).await.map_err(|error| unreadable(error.to_string()))? else {
        return Ok(None);
    };
    let counts = serde_json::from_slice::<Vec<u32>>(&entry.value)
        .map_err(|error| unreadable(error.to_string()))?;
    let sound = counts.is_sorted_by(|a, b| a < b)
        && counts.first().is_some_and(|first| *first > 0)
        && counts.last().is_some_and(|last| *last <= PARTITIONS_MAX);
    if !sound {
        return Err(unreadable(format!("{counts:?} stands there")));
    }
    Ok(Some((Growth(counts), entry.revision)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_in_reach_when_partitions_are_added() {
        let (before, after) = (Growth(vec![2]), Growth(vec![2, 5]));
        let mut moved = 0;
        for number in 0..1_000 {
            let key = number.to_string();
            let [old] = before.places_of("a", "b", &key)[..] else { panic!("one place") };
            let places = after.places_of("a", "b", &key);
            assert!(places.contains(&old) && places[0] < 5, "{places:?} has {old}");
            moved += usize::from(places[0] != old);
        }
        assert!(moved > 500, "new partitions get their share of keys: {moved}");
    }
}
