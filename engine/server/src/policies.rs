//! The policy sets that were deployed, and which of them counts: kept in a bucket, immutable, each activation on record.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
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
    wire::{hex, unhex},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the policy set has {} problems", .0.len())]
    Invalid(Vec<Finding>),
    #[error("a policy set has at most {} bytes, as JSON", limits::STORED_BYTES_MAX)]
    TooLarge,
    #[error("there are {} policy sets, which is as many as there may be", limits::POLICY_SETS_MAX)]
    Full,
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

/// What somebody wants to count.
pub struct NewActivation<'a> {
    pub version: u32,
    pub by: String,
    pub from: Timestamp,
    pub reason: &'a str,
    /// The activation that is gone back to; 0: none.
    pub restores: u32,
    /// The last activation that was known when it was asked whether this one may be.
    pub seen: u32,
}

/// From when on a set counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// From 1, in the order of activations. Of those whose time has come the last one counts: by that time, then by number.
    #[serde(skip)]
    pub number: u32,
    pub version: u32,
    /// Who activated it.
    pub by: String,
    pub at_ms: i64,
    pub from_ms: i64,
    pub reason: String,
    /// The activation that it goes back to; 0: none.
    #[serde(default)]
    pub restores: u32,
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

impl Active {
    /// SHA-256 of the set; zeros where there is none.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Set { set, .. } => Hash(set.sha256),
            Self::None | Self::Broken(_) => Hash([0; 32]),
        }
    }

    /// How much confidence counts that any of these agents has stated, in percent.
    pub fn confidence_max<'a>(&self, agents: impl IntoIterator<Item = &'a str>) -> Option<i64> {
        match self {
            Self::Set { set, .. } => set.confidence_max(agents),
            Self::None | Self::Broken(_) => None,
        }
    }

    pub fn decide(&self, question: &Question) -> Decision {
        let deny = |error: String| {
            let (determining, errors) = (Vec::new(), vec![error]);
            Decision { verdict: Verdict::Deny, determining, errors }
        };
        match self {
            Self::Set { set, .. } => set.decide(question),
            Self::None => deny("no policy set is active".into()),
            Self::Broken(version) => {
                deny(format!("the policy set of version {version} cannot be used"))
            }
        }
    }
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
    /// One reads the bucket at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    sets: BTreeMap<u32, Arc<Deployed>>,
    activations: BTreeMap<u32, Activation>,
    /// Those that were activated; none: it does not compile.
    compiled: BTreeMap<u32, Option<Arc<Set>>>,
    /// How far the bucket was read, whether all was there that counts, and when.
    sequence: u64,
    ready: bool,
    read_at: Option<Instant>,
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
        let policies = Self { store, enforced, own, known: Arc::default(), turn: Arc::default() };
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
                    tracing::warn!(%error, "The policy sets could not be looked at");
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

    /// What the set that counts says. Where there is none it is denied.
    pub fn decide(&self, question: &Question, now: Timestamp) -> Decision {
        self.active(now).decide(question)
    }

    /// The name under which a person's answers count.
    pub fn person(&self, name: &str, now: Timestamp) -> String {
        match self.active(now) {
            Active::Set { set, .. } => set.person(name).into_owned(),
            Active::None | Active::Broken(_) => name.to_owned(),
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
            if known.len() >= limits::POLICY_SETS_MAX {
                return Err(Error::Full);
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

    /// Lets a set count, from a time on. Nobody else may have activated one since it was asked about.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// Never: texts are JSON.
    pub async fn activate(
        &self,
        new: NewActivation<'_>,
        now: Timestamp,
    ) -> Result<Activation, Error> {
        let deployed = self.set(new.version).ok_or(Error::Unknown(new.version))?;
        compile(deployed.texts.clone()).await.map_err(Error::Invalid)?;
        // Whatever the clocks say, what is activated at once comes after what was.
        let known = self.activations();
        let at_once = known.iter().filter(|earlier| earlier.from_ms <= earlier.at_ms.max(now.0));
        let latest = at_once.map(|earlier| earlier.from_ms).max().unwrap_or(0);
        let from_ms = if new.from.0 <= now.0 { now.0.max(latest) } else { new.from.0 };
        let activation = Activation {
            number: new.seen + 1,
            version: new.version,
            by: new.by,
            at_ms: now.0,
            from_ms,
            reason: new.reason.to_owned(),
            restores: new.restores,
        };
        let value = serde_json::to_vec(&activation).expect("texts are JSON");
        if self.create(&format!("activation.{}", activation.number), value).await? {
            self.refresh().await?;
            return Ok(activation);
        }
        Err(Error::Unavailable("somebody else has activated a set just now".into()))
    }

    /// The number of the last activation; 0: there was none.
    pub fn last_activation(&self) -> u32 {
        self.read().activations.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The activation of another set that counted before. Going back twice goes back further.
    ///
    /// # Errors
    /// [`Error::NothingBefore`]
    pub fn before(&self, now: Timestamp) -> Result<Activation, Error> {
        let known = self.read();
        let mut current = known.counting(now).ok_or(Error::NothingBefore)?;
        let version = current.version;
        while let Some(restored) = known.activations.get(&current.restores) {
            current = restored;
        }
        let earlier = known
            .activations
            .values()
            .filter(|earlier| earlier.order() < current.order() && earlier.version != version);
        earlier.max_by_key(|earlier| earlier.order()).cloned().ok_or(Error::NothingBefore)
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
        let _turn = self.turn.lock().await;
        let info = self.store.stream.get_info().await.map_err(|error| unavailable(&error))?;
        let sequence = info.state.last_sequence;
        {
            let known = self.read();
            let fresh = known.read_at.is_some_and(|at| at.elapsed() < limits::POLICIES_READ_AGAIN);
            if known.sequence == sequence && known.ready && fresh {
                return Ok(());
            }
        }
        let mut keys = self.store.keys().await.map_err(|error| unavailable(&error))?;
        let mut activations = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| unavailable(&error))?;
            if self.knows(&key) {
                continue;
            }
            let entry = self.store.entry(&key).await.map_err(|error| unavailable(&error))?;
            if let Some(entry) = entry {
                let at_ms = entry.created.unix_timestamp().saturating_mul(1_000);
                activations.extend(self.learn(&key, &entry.value, at_ms));
            }
        }
        let ready = self.count_them(activations).await;
        let mut known = self.write();
        (known.sequence, known.ready, known.read_at) = (sequence, ready, Some(Instant::now()));
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

    /// Keeps a set, or gives the activation that it is.
    fn learn(&self, key: &str, value: &[u8], at_ms: i64) -> Option<Activation> {
        match numbered(key)? {
            ("set", version) => {
                match serde_json::from_slice::<Deployed>(value) {
                    Ok(set) => {
                        let set = Arc::new(Deployed { version, ..set });
                        self.write().sets.insert(version, set);
                    }
                    Err(error) => tracing::error!(%error, version, "A policy set cannot be read"),
                }
                None
            }
            ("activation", number) => match serde_json::from_slice::<Activation>(value) {
                Ok(activation) => Some(Activation { number, ..activation }),
                Err(error) => {
                    // What it was to change is not known, so that nothing may count that was before it.
                    tracing::error!(%error, number, "An activation cannot be read: everything is denied");
                    Some(Activation {
                        number,
                        version: u32::MAX,
                        by: String::new(),
                        at_ms,
                        from_ms: at_ms,
                        reason: String::new(),
                        restores: 0,
                    })
                }
            },
            _ => None,
        }
    }

    /// Lets activations count, each with its set compiled; whether all sets are there that count, have just counted, or will.
    async fn count_them(&self, fresh: Vec<Activation>) -> bool {
        let now = crate::clock::now();
        let mut all = self.read().activations.clone();
        all.extend(fresh.into_iter().map(|activation| (activation.number, activation)));
        let wanted = wanted(&all, now);
        let mut compiled = BTreeMap::new();
        let mut ready = true;
        for version in &wanted {
            if self.read().compiled.contains_key(version) || *version == u32::MAX {
                continue;
            }
            let Some(stored) = self.set(*version) else {
                tracing::error!(version, "An active policy set is missing: everything is denied");
                ready = false;
                continue;
            };
            let set = match compile(stored.texts.clone()).await {
                Ok(set) => Some(Arc::new(set)),
                Err(findings) => {
                    let problems = findings.len();
                    tracing::error!(
                        version,
                        problems,
                        "An active policy set can no longer be used"
                    );
                    None
                }
            };
            compiled.insert(*version, set);
        }
        let mut known = self.write();
        // Together: nobody may see the one without the other.
        for (number, activation) in all {
            if let btree_map::Entry::Vacant(place) = known.activations.entry(number) {
                let Activation { version, ref by, .. } = activation;
                tracing::info!(version, number, by, "A policy set was activated");
                place.insert(activation);
            }
        }
        known.compiled.extend(compiled);
        known.compiled.retain(|version, _| wanted.contains(version));
        ready
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
        counting(&self.activations, now)
    }
}

/// The activation that counts at a time.
fn counting(activations: &BTreeMap<u32, Activation>, now: Timestamp) -> Option<&Activation> {
    let come = activations.values().filter(|activation| activation.from_ms <= now.0);
    come.max_by_key(|activation| activation.order())
}

/// Versions that count, have counted a little before, or will.
fn wanted(activations: &BTreeMap<u32, Activation>, now: Timestamp) -> BTreeSet<u32> {
    let kept = i64::try_from(limits::POLICIES_KEPT.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp(now.0.saturating_sub(kept));
    let then = counting(activations, before).map(|activation| activation.version);
    let since = activations.values().filter(|activation| activation.from_ms > before.0);
    since.map(|activation| activation.version).chain(then).collect()
}

impl Activation {
    fn order(&self) -> (i64, u32) {
        (self.from_ms, self.number)
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

    use super::{hex, unhex};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        unhex(&text).ok_or_else(|| D::Error::custom("a SHA-256 has 64 hexadecimal digits"))
    }
}
