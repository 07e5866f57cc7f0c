//! An engine that knows nobody without a token and allows nothing without a policy.

use std::path::Path;

use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::wait::{DEADLINE, eventually};
use crate::{Api, Cluster, Setup, clock};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "baton";

/// Signs tokens.
pub struct Authority(EncodingKey);

impl Default for Authority {
    /// A fresh Ed25519 key in PKCS #8: the fixed bytes of RFC 8410 before 32 random ones.
    fn default() -> Self {
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(rand::random::<[u8; 32]>());
        Self(EncodingKey::from_ed_der(&der))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// What an engine is given to know it by.
    ///
    /// # Errors
    /// When the key is none.
    pub fn public_keys(&self) -> Result<Value> {
        let mut key = Jwk::from_encoding_key(&self.0, Algorithm::EdDSA).context("a key")?;
        key.common.key_id = Some("one".to_owned());
        Ok(json!({ "keys": [key] }))
    }

    /// A token of five minutes. `kind` is `person` or `service`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, kind: &str, name: &str, groups: &[&str]) -> Result<String> {
        let now = clock::now_ms() / 1_000;
        let claims = json!({
            "sub": name, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "groups": groups,
            "baton_kind": kind,
        });
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.0).context("a token")
    }
}

/// A broker, an engine that is not in development mode, and the lab.
#[derive(Debug)]
pub struct Governed {
    pub lab: Lab,
    pub cluster: Cluster,
    pub authority: Authority,
    folder: TempDir,
}

impl Governed {
    /// `policies` is the text of the engine's own set; empty: it has none.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn begin(policies: &str) -> Result<Self> {
        Self::with_entities(policies, "[]").await
    }

    /// With people, groups and agents.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn with_entities(policies: &str, entities: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        Self::open(folder, policies, entities, Vec::new()).await
    }

    /// One that signs; its public key lies in `audit-public.pem` in the folder.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn signing(policies: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        let key = SigningKey::from_bytes(&rand::random());
        let private = folder.path().join("audit.pem");
        std::fs::write(&private, key.to_pkcs8_pem(LineEnding::LF)?.as_bytes())?;
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF)?;
        std::fs::write(folder.path().join("audit-public.pem"), public)?;
        let arguments = ["--audit-key".to_owned(), private.display().to_string()];
        Self::open(folder, policies, "[]", arguments.to_vec()).await
    }

    async fn open(
        folder: TempDir,
        policies: &str,
        entities: &str,
        more: Vec<String>,
    ) -> Result<Self> {
        let authority = Authority::default();
        let keys = folder.path().join("keys.json");
        std::fs::write(&keys, authority.public_keys()?.to_string())?;
        let mut arguments = vec![
            "--identity-keys".to_owned(),
            keys.display().to_string(),
            "--identity-issuer".to_owned(),
            ISSUER.to_owned(),
            "--identity-audience".to_owned(),
            AUDIENCE.to_owned(),
        ];
        arguments.extend(more);
        if !policies.is_empty() {
            let set = folder.path().join("policies");
            write_set(&set, policies, entities)?;
            arguments.extend(["--policies".to_owned(), set.display().to_string()]);
        }
        let cluster = Cluster::start(Setup { dev: false, arguments, ..Setup::default() }).await?;
        let lab = Lab::open(&cluster.nats.url(), "lab-1")?;
        let governed = Self { lab, cluster, authority, folder };
        let watcher = governed.service("watcher")?;
        let announced = async || {
            let status = watcher.status().await?;
            Ok((!status.workers.is_empty()).then_some(()))
        };
        eventually(DEADLINE, "the lab is announced", announced).await?;
        Ok(governed)
    }

    /// # Errors
    /// When no token can be made.
    pub fn person(&self, name: &str, groups: &[&str]) -> Result<Api> {
        self.caller("person", name, groups)
    }

    /// # Errors
    /// When no token can be made.
    pub fn service(&self, name: &str) -> Result<Api> {
        self.caller("service", name, &[])
    }

    /// `kind` is `person` or `service`.
    ///
    /// # Errors
    /// When no token can be made.
    pub fn caller(&self, kind: &str, name: &str, groups: &[&str]) -> Result<Api> {
        let token = self.authority.token(kind, name, groups)?;
        Api::with_token(&self.cluster.batond.url(), &token)
    }

    /// Where more files may be put.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends everything in good order.
    ///
    /// # Errors
    /// When something does not end by itself.
    pub async fn end(self) -> Result<()> {
        self.lab.close().await?;
        self.cluster.stop().await
    }
}

fn write_set(folder: &Path, policies: &str, entities: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("rules.cedar"), policies)?;
    std::fs::write(folder.join("entities.json"), entities)?;
    Ok(())
}
