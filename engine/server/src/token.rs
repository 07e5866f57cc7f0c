//! The secret that a result must repeat: derived, so that it stands in no log, and the next owner knows it too.

use async_nats::jetstream::kv::CreateErrorKind;
use baton_core::{ActivationId, Attempt, InstanceId};
use baton_dsl::SecretsKey;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;

use crate::broker::{self, Broker};

pub const TOKEN_BYTES: usize = 16;

/// The key of all tokens, made once and kept in the engine's own bucket.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// # Errors
    /// As [`broker::Error`] says.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let unreadable =
            |reason: String| broker::Error::Prepare { what: "the token key".into(), reason };
        let store = broker.settings().await?;
        let fresh: [u8; 32] = rand::rng().random();
        match store.create("token-key", Bytes::copy_from_slice(&fresh)).await {
            Ok(_) => Ok(Self::new(&fresh)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let key = store.get("token-key").await.map_err(|e| unreadable(e.to_string()))?;
                Ok(Self::new(&key.ok_or_else(|| unreadable("it was deleted".into()))?))
            }
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    pub fn token(
        &self,
        instance: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    ) -> [u8; TOKEN_BYTES] {
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(
            &self.mac(instance, step, attempt).finalize().into_bytes()[..TOKEN_BYTES],
        );
        token
    }

    /// In constant time.
    pub fn verify(
        &self,
        token: &[u8],
        instance: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    ) -> bool {
        token.len() == TOKEN_BYTES
            && self.mac(instance, step, attempt).verify_truncated_left(token).is_ok()
    }

    /// Where a step falls in a draw of 10,000: the same each time, and nobody outside can tell before.
    ///
    /// # Panics
    /// Never: a digest has eight bytes.
    pub fn sample(&self, instance: InstanceId, step: ActivationId) -> u16 {
        let mut mac = self.0.clone();
        mac.update(b"sample");
        mac.update(&instance.0);
        mac.update(&step.0.to_le_bytes());
        let digest = mac.finalize().into_bytes();
        let number = u64::from_le_bytes(digest[..8].try_into().expect("it has 32 bytes"));
        u16::try_from(number % 10_000).unwrap_or_default()
    }

    /// What the placeholders of secrets are made with. A token is made of 24 bytes, so that this is none.
    pub fn secrets(&self) -> SecretsKey {
        let mut mac = self.0.clone();
        mac.update(b"secrets");
        SecretsKey::new(&mac.finalize().into_bytes())
    }

    fn mac(&self, instance: InstanceId, step: ActivationId, attempt: Attempt) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&instance.0);
        mac.update(&step.0.to_le_bytes());
        mac.update(&attempt.0.to_le_bytes());
        mac
    }
}
