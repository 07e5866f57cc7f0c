//! Who holds the keys of what must happen once: one record a key, for all partitions. Here stands only which step holds it; how
//! far that has come, its instance says.

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use baton_core::{ActivationId, InstanceId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    broker::{self, Broker},
    wire::hex,
};

#[derive(Debug, thiserror::Error)]
#[error("the keys cannot be reached: {0}")]
pub struct Error(String);

/// The step that holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub instance: InstanceId,
    pub step: ActivationId,
}

/// As it is stored: the key for people, the step as ids are written.
#[derive(Serialize, Deserialize)]
struct Stored {
    department: String,
    key: String,
    instance: String,
    step: u32,
}

/// Who holds a key, and the revision of that record.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub holder: Holder,
    pub revision: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Keys(Store);

impl Keys {
    /// # Errors
    /// When the bucket cannot be made.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::ONCE_BUCKET, std::time::Duration::ZERO).await?;
        Ok(Self(store))
    }

    /// Takes a key that nobody has; else says who has it.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn take(
        &self,
        department: &str,
        key: &str,
        holder: Holder,
    ) -> Result<Option<Found>, Error> {
        match self.0.create(name(department, key), stored(department, key, holder)).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                // A copy of the bucket may lag behind: that it cannot be read does not mean that nobody holds it.
                let found = self.find(department, key).await?;
                found.map(Some).ok_or_else(|| Error("a key that is held cannot be read".into()))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Takes it from the step that was found to hold it; `false`: another has been faster.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn take_over(
        &self,
        department: &str,
        key: &str,
        holder: Holder,
        from: Found,
    ) -> Result<bool, Error> {
        let name = name(department, key);
        match self.0.update(&name, stored(department, key, holder), from.revision).await {
            Ok(_) => Ok(true),
            Err(error) => {
                let now = self.find(department, key).await?;
                if now.is_some_and(|now| now.revision == from.revision) {
                    return Err(unavailable(&error));
                }
                Ok(now.is_some_and(|now| now.holder == holder))
            }
        }
    }

    /// The step that holds a key, or did last.
    ///
    /// # Errors
    /// When it cannot be reached, or the record cannot be read: then nobody can know.
    pub async fn find(&self, department: &str, key: &str) -> Result<Option<Found>, Error> {
        let entry =
            self.0.entry(name(department, key)).await.map_err(|error| unavailable(&error))?;
        let Some(entry) = entry else { return Ok(None) };
        let stored: Stored =
            serde_json::from_slice(&entry.value).map_err(|error| unavailable(&error))?;
        let instance =
            uuid::Uuid::try_parse(&stored.instance).map_err(|error| unavailable(&error))?;
        let instance = InstanceId(instance.into_bytes());
        let holder = Holder { instance, step: ActivationId(stored.step) };
        Ok(Some(Found { holder, revision: entry.revision }))
    }
}

/// The length goes before what it measures, so that no two keys of two departments can pass for one.
fn name(department: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((department.len() as u64).to_le_bytes());
    hash.update(department);
    hash.update(key);
    hex(&hash.finalize())
}

fn stored(department: &str, key: &str, holder: Holder) -> bytes::Bytes {
    let stored = Stored {
        department: department.to_owned(),
        key: key.to_owned(),
        instance: holder.instance.to_string(),
        step: holder.step.0,
    };
    serde_json::to_vec(&stored).expect("names and numbers are JSON").into()
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error(error.to_string())
}
