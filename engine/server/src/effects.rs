//! What functions do to the world, as their workers have announced it: remembered, so that policies are told the same
//! while no worker is there.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
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
    known: Arc<RwLock<HashMap<String, &'static str>>>,
}

impl Effects {
    /// # Errors
    /// When the bucket cannot be made or read.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::EFFECTS_BUCKET, std::time::Duration::ZERO).await?;
        let effects = Self { store, known: Arc::default() };
        effects.load().await.map_err(|reason| broker::Error::Prepare {
            what: "the classes of functions' effects".into(),
            reason,
        })?;
        Ok(effects)
    }

    /// `read`, `write` or `irreversible`.
    pub fn of(&self, function: &Function) -> &'static str {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&function.to_string()).copied().unwrap_or(WORST)
    }

    /// The workers of a department offer the function with this effect.
    pub async fn announced(&self, department: &str, function: &str, class: &'static str) {
        let name = format!("{department}.{function}");
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let before = known.get(&name).copied();
            if before == Some(class) || (before.is_none() && class == WORST) {
                return;
            }
            if known.len() >= limits::EFFECTS_MAX && before.is_none() {
                return;
            }
            if place(class) > place(before.unwrap_or(WORST)) {
                // What is worse counts at once, stored or not.
                known.insert(name.clone(), class);
            } else if let Some(before) = before {
                tracing::warn!(name, before, class, "A function is said to do less than before");
            }
        }
        // What is milder counts when it is stored: another engine, and this one after a crash, must say the same.
        match self.store.put(&name, class.into()).await {
            Ok(_) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                known.insert(name, class);
            }
            Err(error) => tracing::warn!(%error, name, "The effect of a function is not stored"),
        }
    }

    async fn load(&self) -> Result<(), String> {
        let mut keys = self.store.keys().await.map_err(|error| error.to_string())?;
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| error.to_string())?;
            let value = self.store.get(&key).await.map_err(|error| error.to_string())?;
            let stored = value.as_deref();
            if let Some(class) = CLASSES.into_iter().find(|class| stored == Some(class.as_bytes()))
            {
                self.known.write().unwrap_or_else(PoisonError::into_inner).insert(key, class);
            }
        }
        Ok(())
    }
}
