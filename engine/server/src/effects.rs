//! What functions do to the world, as their workers have announced it: remembered, so that policies are told the same
//! while no worker is there.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use async_nats::jetstream::kv::Store;
use baton_core::workflow::Function;
use futures::StreamExt;

use crate::{
    broker::{self, Broker},
    limits,
};

/// Of what nobody has announced the worst is assumed.
pub const WORST: &str = "irreversible";

/// From the mildest.
const CLASSES: [&str; 3] = ["read", "write", WORST];

/// As a worker announces it; what it does not say, or says otherwise, is the worst.
pub fn class(effect: &str) -> &'static str {
    CLASSES.into_iter().find(|class| *class == effect).unwrap_or(WORST)
}

/// The higher, the worse.
pub fn place(class: &str) -> usize {
    CLASSES.iter().position(|found| *found == class).unwrap_or(CLASSES.len())
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Effects {
    store: Store,
    known: Arc<RwLock<HashMap<String, Known>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Since when workers could announce themselves.
    since: Arc<RwLock<Instant>>,
}

#[derive(Clone, Copy)]
struct Known {
    class: &'static str,
    /// Else it is put again when the function is announced again.
    stored: bool,
}

impl Effects {
    /// # Errors
    /// When the bucket cannot be made or read.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::EFFECTS_BUCKET, std::time::Duration::ZERO).await?;
        let (known, turn) = (Arc::default(), Arc::default());
        let effects = Self { store, known, turn, since: Arc::new(RwLock::new(Instant::now())) };
        effects.load().await.map_err(|reason| broker::Error::Prepare {
            what: "the classes of functions' effects".into(),
            reason,
        })?;
        Ok(effects)
    }

    /// `read`, `write` or `irreversible`.
    pub fn of(&self, function: &Function) -> &'static str {
        self.get(&function.to_string()).map_or(WORST, |known| known.class)
    }

    /// A worker has announced the function; `worst` is what the live ones say of it.
    pub async fn announced(
        &self,
        department: &str,
        function: &str,
        worst: impl Fn() -> &'static str,
    ) {
        let name = format!("{department}.{function}");
        // One at a time, so that what is stored last is what counts.
        let _turn = self.turn.lock().await;
        let class = worst();
        let before = self.get(&name);
        let counts = before.map_or(WORST, |known| known.class);
        if place(class) < place(counts) && self.since().elapsed() < limits::ANNOUNCE_EVERY * 3 {
            // Others may not have announced themselves yet, and one of them may do worse. It will announce itself again.
            return;
        }
        let settled = before.map_or(class == WORST, |known| known.class == class && known.stored);
        if settled || (before.is_none() && self.count() >= limits::EFFECTS_MAX) {
            return;
        }
        if place(class) < place(counts) && before.is_some() {
            tracing::warn!(
                name,
                before = counts,
                class,
                "A function is said to do less than before"
            );
        }
        if place(class) > place(counts) {
            // What is worse counts at once, stored or not.
            self.set(&name, Known { class, stored: false });
        }
        // What is milder counts when it is stored: another engine, and this one after a crash, must say the same.
        match self.store.put(&name, class.into()).await {
            Ok(_) => self.set(&name, Known { class, stored: true }),
            Err(error) => tracing::warn!(%error, name, "The effect of a function is not stored"),
        }
    }

    /// The broker was away: workers announce themselves anew.
    pub fn begin_anew(&self) {
        *self.since.write().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn since(&self) -> Instant {
        *self.since.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn set(&self, name: &str, known: Known) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), known);
    }

    fn count(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn load(&self) -> Result<(), String> {
        let mut keys = self.store.keys().await.map_err(|error| error.to_string())?;
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| error.to_string())?;
            let value = self.store.get(&key).await.map_err(|error| error.to_string())?;
            let stored = value.as_deref();
            if let Some(class) = CLASSES.into_iter().find(|class| stored == Some(class.as_bytes()))
            {
                self.set(&key, Known { class, stored: true });
            }
        }
        Ok(())
    }
}
