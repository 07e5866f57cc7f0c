//! The policy sets that were deployed, and which of them counts: kept in a bucket, immutable, each activation on record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use baton_core::{Timestamp, workflow::Hash};
use baton_policy::{Decision, Finding, Question, Set, Verdict, set::Texts};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{self, Broker},
    limits,
    wire::hex,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the policy set has {} problems", .0.len())]
    Invalid(Vec<Finding>),
    #[error("a policy set has at most {} bytes, as JSON", limits::STORED_BYTES_MAX)]
    TooLarge,
    #[error("there is no policy set of version {0}")]
    Unknown(u32),
    #[error("no other policy set counted before this one")]
    NothingBefore,
    #[error("the policy sets cannot be reached: {0}")]
    Unavailable(String),
}

/// A set as it was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// From 1, in the order of deployments.
    #[serde(skip)]
    pub version: u32,
    #[serde(with = "as_hex")]
    pub sha256: [u8; 32],
    /// Who deployed it.
    pub author: String,
    pub deployed_at_ms: i64,
    pub texts: Texts,
}

/// From when on a set counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// From 1, in the order of activations: of two that count already the later one does.
    #[serde(skip)]
    pub number: u32,
    pub version: u32,
    /// Who activated it.
    pub by: String,
    pub at_ms: i64,
    pub from_ms: i64,
    pub reason: String,
}

/// What policies are asked.
#[derive(Clone)]
pub enum Active {
    /// There is none.
    None,
    /// There should be one, and it cannot be used: everything is denied.
    Broken(u32),
    /// `version` is 0 for the set of this process' own settings.
    Set { version: u32, set: Arc<Set> },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Policies {
    store: Store,
    /// Where there is no set, everything is denied.
    enforced: bool,
    /// What counts as long as nobody has activated another.
    own: Option<Arc<Set>>,
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    sets: BTreeMap<u32, Arc<Deployed>>,
    activations: BTreeMap<u32, Activation>,
    /// Those that were activated; none: it does not compile.
    compiled: BTreeMap<u32, Option<Arc<Set>>>,
    /// How far the bucket was read.
    sequence: u64,
}

impl Policies {
    /// Loads what there is. `enforced`: not in development mode.
    ///
    /// # Errors
    /// When the bucket cannot be made or read.
    pub async fn open(
        broker: &Broker,
        own: Option<Arc<Set>>,
        enforced: bool,
    ) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::POLICIES_BUCKET, std::time::Duration::ZERO).await?;
        let policies = Self { store, enforced, own, known: Arc::default() };
        policies.refresh().await.map_err(|error| broker::Error::Prepare {
            what: "the policy sets".into(),
            reason: error.to_string(),
        })?;
        Ok(policies)
    }

    /// Learns what other engines deploy and activate, until it is told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let learn = async {
            loop {
                tokio::time::sleep(limits::POLICIES_EVERY).await;
                if let Err(error) = self.refresh().await {
                    tracing::debug!(%error, "The policy sets could not be looked at");
                }
            }
        };
        tokio::select! { biased;
            () = stop.cancelled() => {}
            () = learn => {}
        }
    }

    /// Whether steps and requests need a verdict.
    pub fn count(&self, now: Timestamp) -> bool {
        self.enforced || !matches!(self.active(now), Active::None)
    }

    /// What is asked at a time.
    pub fn active(&self, now: Timestamp) -> Active {
        let known = self.read();
        match known.counting(now) {
            Some(activation) => match known.compiled.get(&activation.version) {
                Some(Some(set)) => {
                    Active::Set { version: activation.version, set: Arc::clone(set) }
                }
                Some(None) | None => Active::Broken(activation.version),
            },
            None => match &self.own {
                Some(set) => Active::Set { version: 0, set: Arc::clone(set) },
                None => Active::None,
            },
        }
    }

    /// What the set that counts says, and its hash. Where there is none it is denied.
    pub fn decide(&self, question: &Question, now: Timestamp) -> (Hash, Decision) {
        let deny = |error: String| {
            let errors = vec![error];
            let decision = Decision { verdict: Verdict::Deny, determining: Vec::new(), errors };
            (Hash([0; 32]), decision)
        };
        match self.active(now) {
            Active::Set { set, .. } => (Hash(set.sha256), set.decide(question)),
            Active::None => deny("no policy set is active".into()),
            Active::Broken(version) => {
                deny(format!("the policy set of version {version} cannot be used"))
            }
        }
    }

    /// Checks and stores a set. Texts that were deployed before keep their version; then it is `false`.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// Never: texts are JSON.
    pub async fn deploy(
        &self,
        texts: Texts,
        author: &str,
        now: Timestamp,
    ) -> Result<(Arc<Deployed>, bool, Vec<Finding>), Error> {
        let set = compile(texts.clone()).await.map_err(Error::Invalid)?;
        for _ in 0..limits::POLICY_TRIES {
            self.refresh().await?;
            let known = self.sets();
            if let Some(found) = known.iter().find(|found| found.sha256 == set.sha256) {
                return Ok((Arc::clone(found), false, set.warnings.clone()));
            }
            let deployed = Deployed {
                version: known.last().map_or(0, |last| last.version) + 1,
                sha256: set.sha256,
                author: author.to_owned(),
                deployed_at_ms: now.0,
                texts: texts.clone(),
            };
            let value = serde_json::to_vec(&deployed).expect("texts are JSON");
            if value.len() > limits::STORED_BYTES_MAX {
                return Err(Error::TooLarge);
            }
            if self.create(&format!("set.{}", deployed.version), value).await? {
                let deployed = Arc::new(deployed);
                self.write().sets.insert(deployed.version, Arc::clone(&deployed));
                return Ok((deployed, true, set.warnings.clone()));
            }
        }
        Err(Error::Unavailable("others deploy at the same time".into()))
    }

    /// Lets a set count, from `from` on.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// Never: texts are JSON.
    pub async fn activate(
        &self,
        version: u32,
        by: &str,
        from: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<Activation, Error> {
        self.refresh().await?;
        let deployed = self.set(version).ok_or(Error::Unknown(version))?;
        compile(deployed.texts.clone()).await.map_err(Error::Invalid)?;
        for _ in 0..limits::POLICY_TRIES {
            let activation = Activation {
                number: self.read().activations.last_key_value().map_or(0, |(last, _)| *last) + 1,
                version,
                by: by.to_owned(),
                at_ms: now.0,
                from_ms: from.0.max(now.0),
                reason: reason.to_owned(),
            };
            let value = serde_json::to_vec(&activation).expect("texts are JSON");
            if self.create(&format!("activation.{}", activation.number), value).await? {
                self.refresh().await?;
                return Ok(activation);
            }
            self.refresh().await?;
        }
        Err(Error::Unavailable("others activate at the same time".into()))
    }

    /// The version that counted before the one that counts now.
    ///
    /// # Errors
    /// [`Error::NothingBefore`]
    pub fn version_before(&self, now: Timestamp) -> Result<u32, Error> {
        let known = self.read();
        let current = known.counting(now).ok_or(Error::NothingBefore)?;
        let before = known.activations.values().rev().find(|earlier| {
            earlier.number < current.number
                && earlier.version != current.version
                && earlier.from_ms <= now.0
        });
        before.map(|activation| activation.version).ok_or(Error::NothingBefore)
    }

    /// By version, ascending.
    pub fn sets(&self) -> Vec<Arc<Deployed>> {
        self.read().sets.values().cloned().collect()
    }

    pub fn set(&self, version: u32) -> Option<Arc<Deployed>> {
        self.read().sets.get(&version).cloned()
    }

    /// By number, ascending.
    pub fn activations(&self) -> Vec<Activation> {
        self.read().activations.values().cloned().collect()
    }

    /// Reads what is stored and not known.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn refresh(&self) -> Result<(), Error> {
        let info = self.store.stream.get_info().await.map_err(|error| unavailable(&error))?;
        let sequence = info.state.last_sequence;
        if self.read().sequence == sequence {
            return Ok(());
        }
        let mut keys = self.store.keys().await.map_err(|error| unavailable(&error))?;
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| unavailable(&error))?;
            if !self.knows(&key)
                && let Some(value) =
                    self.store.get(&key).await.map_err(|error| unavailable(&error))?
            {
                self.learn(&key, &value).await?;
            }
        }
        self.write().sequence = sequence;
        Ok(())
    }

    fn knows(&self, key: &str) -> bool {
        let known = self.read();
        match numbered(key) {
            Some(("set", version)) => known.sets.contains_key(&version),
            Some(("activation", number)) => known.activations.contains_key(&number),
            Some(_) | None => true,
        }
    }

    async fn learn(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        match numbered(key) {
            Some(("set", version)) => match serde_json::from_slice::<Deployed>(value) {
                Ok(set) => {
                    self.write().sets.insert(version, Arc::new(Deployed { version, ..set }));
                }
                Err(error) => tracing::error!(%error, version, "A policy set cannot be read"),
            },
            Some(("activation", number)) => match serde_json::from_slice::<Activation>(value) {
                Ok(activation) => self.activated(Activation { number, ..activation }).await?,
                Err(error) => {
                    // What it was to change is not known, so that nothing may count that was before it.
                    tracing::error!(%error, number, "An activation cannot be read: everything is denied");
                    let unreadable = Activation {
                        number,
                        version: u32::MAX,
                        by: String::new(),
                        at_ms: 0,
                        from_ms: 0,
                        reason: String::new(),
                    };
                    self.write().activations.insert(number, unreadable);
                }
            },
            Some(_) | None => {}
        }
        Ok(())
    }

    async fn activated(&self, activation: Activation) -> Result<(), Error> {
        let version = activation.version;
        let stored = match self.set(version) {
            Some(set) => Some(set),
            None => match self.store.get(format!("set.{version}")).await {
                Ok(value) => {
                    value.and_then(|value| serde_json::from_slice(&value).ok()).map(Arc::new)
                }
                Err(error) => return Err(unavailable(&error)),
            },
        };
        let known = self.read().compiled.contains_key(&version);
        let set = match stored {
            Some(_) if known => None,
            Some(stored) => match compile(stored.texts.clone()).await {
                Ok(set) => Some(Some(Arc::new(set))),
                Err(findings) => {
                    tracing::error!(
                        version,
                        problems = findings.len(),
                        "The active policy set can no longer be used: everything is denied"
                    );
                    Some(None)
                }
            },
            None => Some(None),
        };
        let Activation { number, ref by, .. } = activation;
        tracing::info!(version, number, by, "A policy set was activated");
        let mut known = self.write();
        // Together: nobody may see the one without the other.
        if let Some(set) = set {
            known.compiled.insert(version, set);
        }
        known.activations.insert(number, activation);
        // What neither counts nor will is not kept ready.
        let now = crate::clock::now();
        let counting = known.counting(now).map(|activation| activation.version);
        let to_come = known.activations.values().filter(|activation| activation.from_ms > now.0);
        let wanted: BTreeSet<u32> =
            to_come.map(|activation| activation.version).chain(counting).collect();
        known.compiled.retain(|version, _| wanted.contains(version));
        Ok(())
    }

    /// Whether it was not there.
    async fn create(&self, key: &str, value: Vec<u8>) -> Result<bool, Error> {
        match self.store.create(key, value.into()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().expect("nobody panics while holding it")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().expect("nobody panics while holding it")
    }
}

impl Known {
    /// The activation that counts at a time.
    fn counting(&self, now: Timestamp) -> Option<&Activation> {
        self.activations.values().rev().find(|activation| activation.from_ms <= now.0)
    }
}

/// Beside the loops of the partitions, which a large set must not hold up.
///
/// # Errors
/// Everything that is wrong with it, and warnings beside.
///
/// # Panics
/// Never: what panics in the checker is a finding.
pub async fn compile(texts: Texts) -> Result<Set, Vec<Finding>> {
    let compiled = tokio::task::spawn_blocking(move || Set::compile(&texts)).await;
    compiled.expect("the checker does not panic: what does in it is a finding")
}

fn numbered(key: &str) -> Option<(&str, u32)> {
    let (kind, number) = key.split_once('.')?;
    Some((kind, number.parse().ok()?))
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

mod as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::hex;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let byte =
            |n: usize| text.get(2 * n..2 * n + 2).and_then(|b| u8::from_str_radix(b, 16).ok());
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom("a SHA-256 has 64 hexadecimal digits"))
    }
}
