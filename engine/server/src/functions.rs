//! The catalog: functions that every workflow may call, kept in a bucket, immutable.

use std::collections::BTreeSet;

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use baton_core::Timestamp;
use baton_dsl::{Diagnostic, FunctionName, Functions, mentions};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{
    broker::{self, Broker},
    limits,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the function has {} problems", .0.len())]
    Invalid(Vec<Diagnostic>),
    #[error("the function {0} exists with another text: give it a new version")]
    VersionConflict(FunctionName),
    #[error("the catalog holds {} functions, which is as many as it may", limits::FUNCTIONS_MAX)]
    Full,
    #[error("the catalog cannot be reached: {0}")]
    Unavailable(String),
}

/// A function as it was deployed.
pub struct Function {
    pub name: FunctionName,
    pub source: String,
    pub deployed_at: Timestamp,
}

/// How a deployment was answered.
pub struct Deployed {
    pub function: Function,
    /// `false`: exactly this text was deployed before.
    pub created: bool,
    /// What the linter warns of.
    pub warnings: Vec<Diagnostic>,
}

/// What the bucket holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    version: String,
    source: String,
    deployed_at_ms: i64,
}

/// Cheap to clone. Nothing is kept in memory: functions are read where something is deployed, and not to run.
#[derive(Clone)]
pub struct Catalog {
    store: Store,
}

impl Catalog {
    /// # Errors
    /// When the bucket cannot be made.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::FUNCTIONS_BUCKET, std::time::Duration::ZERO).await?;
        Ok(Self { store })
    }

    /// Checks and stores a function.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// Never: strings are JSON.
    pub async fn deploy(
        &self,
        name: FunctionName,
        source: String,
        now: Timestamp,
    ) -> Result<Deployed, Error> {
        if let Some(known) = self.get(&name).await? {
            if known.source != source {
                return Err(Error::VersionConflict(name));
            }
            let warnings = match self.check(&source).await {
                // It was well when it was deployed, and never changes.
                Err(Error::Invalid(_)) => Vec::new(),
                checked => checked?,
            };
            return Ok(Deployed { function: known, created: false, warnings });
        }
        let warnings = self.check(&source).await?;
        if self.keys().await?.len() >= limits::FUNCTIONS_MAX {
            return Err(Error::Full);
        }
        let stored = Stored {
            name: name.name().to_owned(),
            version: name.version().to_owned(),
            source: source.clone(),
            deployed_at_ms: now.0,
        };
        let value = serde_json::to_vec(&stored).expect("strings are JSON");
        match self.store.create(&key(&name), value.into()).await {
            Ok(_) => {
                let function = Function { name, source, deployed_at: now };
                Ok(Deployed { function, created: true, warnings })
            }
            // Somebody else was faster.
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                match self.get(&name).await? {
                    Some(function) if function.source == source => {
                        Ok(Deployed { function, created: false, warnings })
                    }
                    _ => Err(Error::VersionConflict(name)),
                }
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The warnings about a function.
    ///
    /// # Errors
    /// All findings when one of them is an error; or that the catalog cannot be reached.
    pub async fn check(&self, source: &str) -> Result<Vec<Diagnostic>, Error> {
        let functions = self.gather(source).await?;
        baton_dsl::check_function(source, &functions).map_err(Error::Invalid)
    }

    /// The functions that a text mentions, and those that they mention.
    ///
    /// # Errors
    /// When the catalog cannot be reached.
    pub async fn gather(&self, source: &str) -> Result<Functions, Error> {
        let mut found = Functions::new();
        let mut open = mentions(source);
        let mut asked = BTreeSet::new();
        while let Some(name) = open.pop_first() {
            // One more than a workflow may have is for the compiler to refuse.
            if found.len() > baton_dsl::FUNCTIONS_MAX || asked.len() >= limits::FUNCTIONS_ASKED_MAX
            {
                break;
            }
            if !asked.insert(name.clone()) {
                continue;
            }
            if let Some(function) = self.get(&name).await? {
                open.extend(mentions(&function.source));
                found.insert(name, function.source);
            }
        }
        Ok(found)
    }

    /// # Errors
    /// When the catalog cannot be reached.
    pub async fn get(&self, name: &FunctionName) -> Result<Option<Function>, Error> {
        let Some(value) = self.store.get(key(name)).await.map_err(unavailable)? else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&value)
            .map_err(|_| Error::Unavailable(format!("the function {name} cannot be read")))?;
        let deployed_at = Timestamp(stored.deployed_at_ms);
        Ok(Some(Function { name: name.clone(), source: stored.source, deployed_at }))
    }

    /// By name; of one name the highest version first.
    ///
    /// # Errors
    /// When the catalog cannot be reached.
    pub async fn list(&self) -> Result<Vec<Function>, Error> {
        let mut functions = Vec::new();
        for key in self.keys().await? {
            let Some(value) = self.store.get(&key).await.map_err(unavailable)? else { continue };
            let Ok(stored) = serde_json::from_slice::<Stored>(&value) else {
                tracing::error!(%key, "A stored function cannot be read");
                continue;
            };
            let Ok(name) = format!("{}:{}", stored.name, stored.version).parse() else {
                tracing::error!(%key, "A stored function has no name");
                continue;
            };
            let deployed_at = Timestamp(stored.deployed_at_ms);
            functions.push(Function { name, source: stored.source, deployed_at });
        }
        functions.sort_by(|a, b| {
            let version = |f: &Function| semver::Version::parse(f.name.version()).ok();
            a.name.name().cmp(b.name.name()).then_with(|| version(b).cmp(&version(a)))
        });
        Ok(functions)
    }

    async fn keys(&self) -> Result<Vec<String>, Error> {
        let mut keys = self.store.keys().await.map_err(unavailable)?;
        let mut found = Vec::new();
        while let Some(key) = keys.next().await {
            found.push(key.map_err(unavailable)?);
        }
        Ok(found)
    }
}

fn key(name: &FunctionName) -> String {
    format!("{}.{}", name.name(), broker::version_in_key(name.version()))
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
