//! Secrets as the engine knows them: by name. An expression gets a text that stands for the value, which only the worker
//! has.

use std::fmt::{self, Write as _};

use baton_core::{ActivationId, InstanceId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a placeholder's own part: nobody guesses 128 bits.
const PLACEHOLDER_BYTES: usize = 16;

/// What the engine makes placeholders with; whoever has it could forge them.
#[derive(Clone)]
pub struct SecretsKey(Hmac<Sha256>);

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsKey")
    }
}

impl SecretsKey {
    /// # Panics
    /// Never: HMAC takes a key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// The text that stands for a secret in the arguments of one step. Letters, digits and hyphens, so that no quoting
    /// changes it.
    pub fn placeholder(
        &self,
        instance: InstanceId,
        activation: ActivationId,
        name: &str,
    ) -> String {
        let mut mac = self.0.clone();
        mac.update(&instance.0);
        mac.update(&activation.0.to_le_bytes());
        mac.update(name.as_bytes());
        let mut text = String::from("baton-secret-");
        for byte in &mac.finalize().into_bytes()[..PLACEHOLDER_BYTES] {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }
}
