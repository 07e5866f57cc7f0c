//! The claim check: values too large for the log, in the object store under their hash.

use async_nats::jetstream::object_store::ObjectStore;
use baton_core::Json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::wire::{self, LargeValues, hex};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the large value {name} cannot be {verb}: {reason}")]
    Store { name: String, verb: &'static str, reason: String },
    #[error("the large value {name} is not what its hash says")]
    Corrupt { name: String },
    #[error(transparent)]
    Wire(#[from] wire::Error),
}

/// Stores values that an encoding refers to. The same value twice is stored once.
///
/// # Errors
/// [`Error`] says what can go wrong.
pub async fn store(objects: &ObjectStore, values: LargeValues) -> Result<(), Error> {
    for (sha256, json) in values {
        let name = hex(&sha256);
        if objects.info(&name).await.is_ok_and(|info| info.size == json.len() && !info.deleted) {
            continue;
        }
        let mut bytes = json.as_bytes();
        objects.put(name.as_str(), &mut bytes).await.map_err(|error| Error::Store {
            name: name.clone(),
            verb: "stored",
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Decodes with what is at hand, fetching what turns out to be missing.
///
/// # Errors
/// [`Error`] says what can go wrong.
pub async fn decode<T>(
    objects: &ObjectStore,
    values: &mut LargeValues,
    mut decode: impl FnMut(&LargeValues) -> Result<T, wire::Error>,
) -> Result<T, Error> {
    loop {
        match decode(values) {
            Ok(decoded) => return Ok(decoded),
            Err(wire::Error::LargeValue(sha256)) => {
                let value = fetch(objects, &sha256).await?;
                values.insert(sha256, value);
            }
            Err(error @ wire::Error::Malformed(_)) => return Err(error.into()),
        }
    }
}

async fn fetch(objects: &ObjectStore, sha256: &[u8; 32]) -> Result<Json, Error> {
    let name = hex(sha256);
    let unreadable = |reason: String| Error::Store { name: name.clone(), verb: "read", reason };
    let mut object = objects.get(&name).await.map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).await.map_err(|error| unreadable(error.to_string()))?;
    if Sha256::digest(&bytes).as_slice() != sha256 {
        return Err(Error::Corrupt { name });
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::Corrupt { name })?;
    Ok(Json::from_text(text))
}
