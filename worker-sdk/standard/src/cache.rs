//! Keeps a few things for a while.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::CACHED_MAX;

/// Bounded in number and age. Two who miss the same at once both fetch it.
pub(crate) struct Cache<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    pub(crate) fn keep(&self, key: K, value: V, age_max: Duration) {
        let Some(until) = Instant::now().checked_add(age_max) else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CACHED_MAX && !kept.contains_key(&key) {
            let now = Instant::now();
            kept.retain(|_, (until, _)| *until > now);
            let soonest =
                kept.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone());
            if let (Some(soonest), true) = (soonest, kept.len() >= CACHED_MAX) {
                kept.remove(&soonest);
            }
        }
        kept.insert(key, (until, value));
    }

    pub(crate) fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_grows_old_and_has_a_bound() {
        let cache = Cache::default();
        cache.keep("old", 0, Duration::ZERO);
        assert_eq!(cache.get(&"old"), None);
        let cache = Cache::default();
        for number in 0..=CACHED_MAX {
            let age_max = Duration::from_secs(60 + u64::try_from(number).unwrap());
            cache.keep(number, number, age_max);
        }
        assert_eq!(
            (cache.get(&0), cache.get(&1), cache.get(&CACHED_MAX)),
            (None, Some(1), Some(CACHED_MAX))
        );
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
    }
}
