//! Kill switches: what each stops, who threw it, and who armed it again. Kept in a bucket, so that no restart forgets one.

pub mod scope;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::jetstream::kv::{CreateErrorKind, Store};
use baton_core::{Instance, Timestamp, workflow::Function};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::scope::Scope;
use crate::{
    broker::{self, Broker},
    limits,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no kill switch {0} that stops anything")]
    Unknown(u32),
    #[error(
        "{} kill switches stop something, which is as many as may",
        limits::SWITCHES_ACTIVE_MAX
    )]
    TooMany,
    #[error("the kill switches cannot be reached: {0}")]
    Unavailable(String),
}

/// One that was thrown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// From 1, in the order in which they were thrown.
    #[serde(skip)]
    pub number: u32,
    pub scope: Scope,
    /// Who threw it.
    pub by: String,
    pub at_ms: i64,
    pub reason: String,
    /// It was thrown to see what would be stopped, and stops nothing.
    #[serde(default)]
    pub drill: bool,
    /// What it has stopped; none: that is not known yet.
    #[serde(default)]
    pub stopped: Option<Stopped>,
    /// None: it stops what is in its scope.
    #[serde(default)]
    pub rearmed: Option<Rearmed>,
}

/// What a switch has stopped before whoever threw it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub steps: u64,
    /// From the request to the last partition's word that its commands are out of the queue.
    pub took_ms: u64,
    /// Partitions that had no owner in this process, or whose owner did not answer in time.
    pub elsewhere: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearmed {
    pub by: String,
    pub at_ms: i64,
    pub reason: String,
    /// Steps that it held then, and how many of them a worker had answered too late.
    pub held: u64,
    pub late: u64,
}

impl Switch {
    pub fn is_active(&self) -> bool {
        !self.drill && self.rearmed.is_none()
    }
}

/// Those that stop something.
pub type Active = Arc<[Arc<Switch>]>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Switches {
    store: Store,
    known: Arc<RwLock<Known>>,
    /// Grows whenever another set of switches is active.
    generation: Arc<AtomicU64>,
    /// One reads the bucket at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    /// Each with its revision in the bucket.
    all: BTreeMap<u32, (Arc<Switch>, u64)>,
    active: Active,
    /// How far the bucket was read.
    sequence: Option<u64>,
}

impl Switches {
    /// Loads what there is.
    ///
    /// # Errors
    /// When the bucket cannot be made or read.
    pub async fn open(broker: &Broker) -> Result<Self, broker::Error> {
        let store = broker.bucket(broker::SWITCHES_BUCKET, std::time::Duration::ZERO).await?;
        let (known, generation, turn) = (Arc::default(), Arc::default(), Arc::default());
        let switches = Self { store, known, generation, turn };
        switches.refresh().await.map_err(|error| broker::Error::Prepare {
            what: "the kill switches".into(),
            reason: error.to_string(),
        })?;
        Ok(switches)
    }

    /// Learns what others throw and arm again, until it is told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let learn = async {
            let mut told = false;
            loop {
                tokio::time::sleep(limits::SWITCHES_EVERY).await;
                let failed = self.refresh().await.err();
                if let Some(error) = failed.as_ref().filter(|_| !told) {
                    tracing::warn!(%error, "The kill switches cannot be looked at");
                }
                told = failed.is_some();
            }
        };
        tokio::select! { biased;
            () = stop.cancelled() => {}
            () = learn => {}
        }
    }

    /// Another number: other switches are active.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn active(&self) -> Active {
        Arc::clone(&self.read().active)
    }

    /// By number, ascending.
    pub fn all(&self) -> Vec<Arc<Switch>> {
        self.read().all.values().map(|(switch, _)| Arc::clone(switch)).collect()
    }

    /// The one that stops this worker, whatever it is asked to do.
    pub fn of_worker(&self, worker: &str) -> Option<Arc<Switch>> {
        self.active().iter().find(|switch| switch.scope.is_worker(worker)).cloned()
    }

    /// The one that stops this workflow: by namespace, name and version.
    pub fn of_workflow(&self, of: (&str, &str, &str)) -> Option<Arc<Switch>> {
        self.active().iter().find(|switch| switch.scope.is_workflow(of)).cloned()
    }

    /// Throws a switch: from now on it is on record, and each engine learns of it.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    ///
    /// # Panics
    /// Never: a switch is JSON.
    pub async fn throw(&self, new: Switch) -> Result<Arc<Switch>, Error> {
        let value = serde_json::to_vec(&new).expect("a switch is JSON");
        for _ in 0..limits::SWITCH_TRIES {
            self.refresh().await?;
            if !new.drill && self.active().len() >= limits::SWITCHES_ACTIVE_MAX {
                return Err(Error::TooMany);
            }
            self.forget_oldest().await?;
            let number = self.read().all.last_key_value().map_or(0, |(number, _)| *number) + 1;
            match self.store.create(&number.to_string(), value.clone().into()).await {
                Ok(revision) => return Ok(self.learn(Switch { number, ..new }, revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::Unavailable(error.to_string())),
            }
        }
        Err(Error::Unavailable("others throw switches at the same time".into()))
    }

    /// Makes room on record: those that stop nothing any more go first.
    async fn forget_oldest(&self) -> Result<(), Error> {
        let oldest = {
            let known = self.read();
            if known.all.len() < limits::SWITCHES_MAX {
                return Ok(());
            }
            let mut all = known.all.values();
            all.find(|(switch, _)| !switch.is_active()).map(|(switch, _)| switch.number)
        };
        if let Some(number) = oldest {
            let purged = self.store.purge(number.to_string()).await;
            purged.map_err(|error| unavailable(&error))?;
            self.write().all.remove(&number);
        }
        Ok(())
    }

    /// Puts on record what a switch has stopped.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn tell_stopped(&self, number: u32, stopped: Stopped) -> Result<Arc<Switch>, Error> {
        self.change(number, |switch| switch.stopped = Some(stopped.clone())).await
    }

    /// Arms a switch again: what it held goes on.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn rearm(&self, number: u32, rearmed: Rearmed) -> Result<Arc<Switch>, Error> {
        self.expect_active(number)?;
        self.change(number, |switch| switch.rearmed = Some(rearmed.clone())).await
    }

    /// One that stops something.
    ///
    /// # Errors
    /// [`Error::Unknown`]
    pub fn expect_active(&self, number: u32) -> Result<Arc<Switch>, Error> {
        let known = self.read();
        let found = known.all.get(&number).map(|(switch, _)| Arc::clone(switch));
        found.filter(|switch| switch.is_active()).ok_or(Error::Unknown(number))
    }

    async fn change(
        &self,
        number: u32,
        change: impl Fn(&mut Switch),
    ) -> Result<Arc<Switch>, Error> {
        for _ in 0..limits::SWITCH_TRIES {
            let (mut switch, revision) = {
                let known = self.read();
                let (switch, revision) = known.all.get(&number).ok_or(Error::Unknown(number))?;
                (Switch::clone(switch), *revision)
            };
            // Whoever was first has armed it again; that stands.
            let was_rearmed = switch.rearmed.clone();
            change(&mut switch);
            switch.rearmed = was_rearmed.or(switch.rearmed);
            let value = serde_json::to_vec(&switch).map_err(|error| unavailable(&error))?;
            match self.store.update(number.to_string(), value.into(), revision).await {
                Ok(revision) => return Ok(self.learn(switch, revision)),
                Err(error) => {
                    tracing::debug!(%error, number, "A kill switch has changed meanwhile");
                    self.read_again(number).await?;
                }
            }
        }
        Err(Error::Unavailable("others change it at the same time".into()))
    }

    /// Reads what is stored and not known.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let info = self.store.stream.get_info().await.map_err(|error| unavailable(&error))?;
        let sequence = info.state.last_sequence;
        if self.read().sequence == Some(sequence) {
            return Ok(());
        }
        let mut keys = self.store.keys().await.map_err(|error| unavailable(&error))?;
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| unavailable(&error))?;
            if let Ok(number) = key.parse()
                && !self.is_settled(number)
            {
                self.read_again(number).await?;
            }
        }
        let mut known = self.write();
        let newest = known.all.values().map(|(_, revision)| *revision).max().unwrap_or(0);
        // A copy of the bucket may lag behind: then it is read again.
        known.sequence = (newest >= sequence).then_some(sequence);
        Ok(())
    }

    /// Nothing about it changes any more.
    fn is_settled(&self, number: u32) -> bool {
        let known = self.read();
        let found = known.all.get(&number).map(|(switch, _)| switch);
        found.is_some_and(|it| it.rearmed.is_some() || (it.drill && it.stopped.is_some()))
    }

    async fn read_again(&self, number: u32) -> Result<(), Error> {
        let entry = self.store.entry(number.to_string()).await;
        let Some(entry) = entry.map_err(|error| unavailable(&error))? else { return Ok(()) };
        let switch = match serde_json::from_slice::<Switch>(&entry.value) {
            Ok(switch) => Switch { number, ..switch },
            Err(error) => {
                // What it was to stop is not known, so that nothing may go on.
                tracing::error!(%error, number, "A kill switch cannot be read: everything is stopped");
                Switch {
                    number,
                    scope: Scope::Everything,
                    by: String::new(),
                    at_ms: Timestamp::default().0,
                    reason: "it cannot be read".into(),
                    drill: false,
                    stopped: None,
                    rearmed: None,
                }
            }
        };
        self.learn(switch, entry.revision);
        Ok(())
    }

    fn learn(&self, switch: Switch, revision: u64) -> Arc<Switch> {
        let switch = Arc::new(switch);
        let mut known = self.write();
        if known.all.get(&switch.number).is_some_and(|(_, newer)| *newer > revision) {
            return switch;
        }
        known.all.insert(switch.number, (Arc::clone(&switch), revision));
        let all = known.all.values().map(|(switch, _)| switch);
        let active: Active = all.filter(|switch| switch.is_active()).cloned().collect();
        if active.iter().map(|switch| switch.number).ne(known.active.iter().map(|old| old.number)) {
            known.active = active;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        switch
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().expect("nobody panics while holding it")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().expect("nobody panics while holding it")
    }
}

/// The first of them that holds a step of an instance.
pub fn holding<'s>(
    active: &'s [Arc<Switch>],
    instance: &Instance,
    function: &Function,
) -> Option<&'s Arc<Switch>> {
    active.iter().find(|switch| switch.scope.holds(instance, function))
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
