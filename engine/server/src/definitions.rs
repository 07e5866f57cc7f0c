//! The workflows that were deployed: kept in a bucket, immutable, compiled once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use baton_core::{
    Timestamp, Workflow,
    workflow::{Hash, Name},
};
use baton_dsl::{Compiled, Diagnostic, Functions, Program, SecretsKey, Severity};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{self, Broker},
    error::Refusal,
    functions::{self, Catalog},
    limits,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the workflow has {} problems", .0.len())]
    Invalid(Vec<Diagnostic>),
    #[error("{0} exists with another text: give it a new version")]
    VersionConflict(String),
    #[error("with its functions the workflow has more than {} bytes", limits::STORED_BYTES_MAX)]
    TooLarge,
    #[error("{0}")]
    Refused(Refusal),
    #[error("the definitions cannot be reached: {0}")]
    Unavailable(String),
}

/// A workflow ready to run.
pub struct Definition {
    pub workflow: Arc<Workflow>,
    pub program: Program,
    pub source: String,
    /// Of the catalog, as they were when it was deployed.
    pub functions: Functions,
    pub title: String,
    /// `document.metadata.risk`, for policies.
    pub risk: String,
    pub deployed_at: Timestamp,
    /// The hash of the workflow behind its `schedule`.
    pub trigger: Option<Hash>,
    /// A decision of one of its instances took long, in this process.
    slow: AtomicBool,
}

impl Definition {
    pub fn name(&self) -> &Name {
        &self.workflow.name
    }

    /// Whether decisions of its instances may take long.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    pub fn set_slow(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }
}

/// What the bucket holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    source: String,
    /// Texts of the catalog's functions behind it, by their names: whatever becomes of the catalog, it is these that run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    functions: BTreeMap<String, String>,
    deployed_at_ms: i64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Definitions {
    pub catalog: Catalog,
    store: Store,
    secrets: SecretsKey,
    known: Arc<RwLock<Known>>,
}

/// How a deployment was answered.
pub struct Deployed {
    pub definition: Arc<Definition>,
    /// `false`: exactly this text was deployed before.
    pub created: bool,
    /// What the linter warns of.
    pub warnings: Vec<Diagnostic>,
}

#[derive(Default)]
struct Known {
    by_hash: HashMap<Hash, Arc<Definition>>,
    by_name: BTreeMap<WorkflowKey, BTreeMap<semver::Version, Arc<Definition>>>,
}

/// Namespace and name.
type WorkflowKey = (Arc<str>, Arc<str>);

impl Definitions {
    /// Loads what there is, and goes on to learn what other engines deploy. The key makes the placeholders of secrets.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn open(broker: &Broker, secrets: SecretsKey) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::DEFINITIONS_BUCKET, std::time::Duration::ZERO).await?;
        let catalog = Catalog::open(broker).await?;
        let definitions = Self { catalog, store, secrets, known: Arc::default() };
        definitions.refresh().await.map_err(|error| broker::Error::Prepare {
            what: "the definitions".into(),
            reason: error.to_string(),
        })?;
        Ok(definitions)
    }

    /// Reads everything that is stored.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn refresh(&self) -> Result<(), Error> {
        let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        let mut keys = self.store.keys().await.map_err(|e| unavailable(&e))?;
        while let Some(key) = keys.next().await {
            let key = key.map_err(|e| unavailable(&e))?;
            let Some(value) = self.store.get(&key).await.map_err(|e| unavailable(&e))? else {
                continue;
            };
            match serde_json::from_slice::<Stored>(&value) {
                Ok(stored) => {
                    let kept = stored.functions.iter();
                    let kept: Functions = kept
                        .filter_map(|(name, text)| Some((name.parse().ok()?, text.clone())))
                        .collect();
                    // Each partition asks when it recovers, mostly for what is known.
                    if self.by_hash(baton_dsl::hash(&stored.source, &kept)).is_some() {
                        continue;
                    }
                    let learned = match compile(&stored.source, kept).await {
                        Ok(compiled) => Ok(self.learn(stored, compiled)),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = learned {
                        tracing::error!(%key, %error, "A stored workflow no longer compiles; its instances cannot go on");
                    }
                }
                Err(error) => tracing::error!(%key, %error, "A stored workflow cannot be read"),
            }
        }
        Ok(())
    }

    /// Checks and stores a workflow that `may` be deployed.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub async fn deploy(
        &self,
        source: &str,
        now: Timestamp,
        may: impl FnOnce(&Compiled) -> Result<(), Refusal>,
    ) -> Result<Deployed, Error> {
        let compiled = self.compile(source).await?;
        may(&compiled).map_err(Error::Refused)?;
        let name = compiled.workflow.name.clone();
        let key =
            format!("{}.{}.{}", name.namespace, name.name, broker::version_in_key(&name.version));
        let functions = compiled.functions.iter();
        let stored = Stored {
            source: source.to_owned(),
            functions: functions.map(|(name, text)| (name.to_string(), text.clone())).collect(),
            deployed_at_ms: now.0,
        };
        let value = serde_json::to_vec(&stored).expect("strings are JSON");
        if value.len() > limits::STORED_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let warnings = compiled.warnings.clone();
        match self.store.create(&key, value.into()).await {
            Ok(_) => {
                Ok(Deployed { definition: self.learn(stored, compiled), created: true, warnings })
            }
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let existing = self
                    .store
                    .get(&key)
                    .await
                    .map_err(|error| Error::Unavailable(error.to_string()))?
                    .and_then(|value| serde_json::from_slice::<Stored>(&value).ok())
                    .ok_or_else(|| Error::Unavailable("what is stored cannot be read".into()))?;
                if existing.source != source || existing.functions != stored.functions {
                    return Err(Error::VersionConflict(format!(
                        "{}/{}:{}",
                        name.namespace, name.name, name.version
                    )));
                }
                Ok(Deployed {
                    definition: self.learn(existing, compiled),
                    created: false,
                    warnings,
                })
            }
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }

    /// With the functions that the catalog has now.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn compile(&self, source: &str) -> Result<Compiled, Error> {
        let functions = self.catalog.gather(source).await.map_err(|error| match error {
            functions::Error::Unavailable(what) => Error::Unavailable(what),
            functions::Error::Invalid(_)
            | functions::Error::VersionConflict(_)
            | functions::Error::Full => Error::Unavailable(error.to_string()),
        })?;
        compile(source, functions).await
    }

    /// What is stored, and what that compiles to.
    fn learn(&self, stored: Stored, compiled: Compiled) -> Arc<Definition> {
        let hash = compiled.workflow.hash;
        if let Some(known) = self.by_hash(hash) {
            return known;
        }
        let trigger = compiled.trigger.map(|trigger| {
            Arc::new(Definition {
                program: trigger.program.with_key(self.secrets.clone()),
                workflow: trigger.workflow,
                source: String::new(),
                functions: Functions::default(),
                title: compiled.title.clone(),
                risk: compiled.risk.clone(),
                deployed_at: Timestamp(stored.deployed_at_ms),
                trigger: None,
                slow: AtomicBool::default(),
            })
        });
        let definition = Arc::new(Definition {
            trigger: trigger.as_ref().map(|trigger| trigger.workflow.hash),
            workflow: compiled.workflow,
            program: compiled.program.with_key(self.secrets.clone()),
            source: stored.source,
            functions: compiled.functions,
            title: compiled.title,
            risk: compiled.risk,
            deployed_at: Timestamp(stored.deployed_at_ms),
            slow: AtomicBool::default(),
        });
        let name = definition.name();
        let version = semver::Version::parse(&name.version)
            .expect("the compiler takes only semantic versions");
        let mut known = self.known.write().expect("nobody panics while holding it");
        // Two may have compiled it at once: all share one.
        if let Some(found) = known.by_hash.get(&hash) {
            return Arc::clone(found);
        }
        known.by_hash.insert(hash, Arc::clone(&definition));
        // Found by its hash alone: nobody starts it by its name.
        known.by_hash.extend(trigger.map(|trigger| (trigger.workflow.hash, trigger)));
        known
            .by_name
            .entry((Arc::clone(&name.namespace), Arc::clone(&name.name)))
            .or_default()
            .insert(version, Arc::clone(&definition));
        definition
    }

    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn by_hash(&self, hash: Hash) -> Option<Arc<Definition>> {
        self.known.read().expect("nobody panics while holding it").by_hash.get(&hash).cloned()
    }

    /// The highest version when none is named.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn find(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Option<Arc<Definition>> {
        let known = self.known.read().expect("nobody panics while holding it");
        let versions = known.by_name.get(&(Arc::from(namespace), Arc::from(name)))?;
        match version {
            None => versions.values().next_back().cloned(),
            Some(version) => versions.get(&semver::Version::parse(version).ok()?).cloned(),
        }
    }

    /// The highest version of each workflow of which some version has a schedule.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn scheduled(&self) -> Vec<Arc<Definition>> {
        let known = self.known.read().expect("nobody panics while holding it");
        let highest = known.by_name.values().filter_map(|versions| {
            let has_schedule = versions.values().any(|definition| definition.trigger.is_some());
            versions.values().next_back().filter(|_| has_schedule).cloned()
        });
        highest.collect()
    }

    /// By namespace and name; of one name the highest version first.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<Definition>> {
        let known = self.known.read().expect("nobody panics while holding it");
        known
            .by_name
            .iter()
            .filter(|((found, _), _)| namespace.is_none_or(|wanted| wanted == &**found))
            .flat_map(|(_, versions)| versions.values().rev().cloned())
            .collect()
    }
}

/// Beside the loops of the partitions, which a large document must not hold up.
async fn compile(source: &str, functions: Functions) -> Result<Compiled, Error> {
    let source = source.to_owned();
    let compiled =
        tokio::task::spawn_blocking(move || baton_dsl::compile_with(&source, &functions)).await;
    compiled
        .expect("the compiler does not panic: what does in it is a finding")
        .map_err(Error::Invalid)
}

pub fn is_error(diagnostic: &Diagnostic) -> bool {
    matches!(diagnostic.severity, Severity::Error)
}
