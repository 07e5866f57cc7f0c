//! A share of the instances and its one owner: takes the lease, recovers, leads, and steps down when fenced.

mod batch;
pub mod beside;
pub(crate) mod claiming;
mod decisions;
mod family;
mod giving;
pub mod halting;
pub mod inbox;
mod intake;
mod judging;
mod lanes;
mod listeners;
mod owner;
mod persist;
mod queries;
mod recovery;
mod resident;
mod starts;
mod work;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use baton_core::{ActivationId, Attempt, Command, Instance, InstanceId, event::Started, once};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine, cache,
    definitions::Definition,
    error::Refusal,
    growth::Growth,
    large,
    lease::{Held, Lease},
    limits, log,
    switches::Scope,
    wire,
};

/// Which partition an instance lives in: the last ten bits of its id, which are random in a UUIDv7.
pub fn partition_of(id: InstanceId) -> u32 {
    u32::from(u16::from_be_bytes([id.0[14], id.0[15]]) & PARTITIONS_MASK)
}

const PARTITIONS_MASK: u16 = 0x3ff;

/// As many as the bits in an id can say.
pub const PARTITIONS_MAX: u32 = PARTITIONS_MASK as u32 + 1;

/// A new id in a partition.
pub fn new_id(partition: u32) -> InstanceId {
    let mut bytes = uuid::Uuid::now_v7().into_bytes();
    let low = u16::from_be_bytes([bytes[14], bytes[15]]) & !PARTITIONS_MASK;
    let partition = u16::try_from(partition).unwrap_or_default() & PARTITIONS_MASK;
    bytes[14..].copy_from_slice(&(low | partition).to_be_bytes());
    InstanceId(bytes)
}

/// What becomes of a partition in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody else holds the lease.
    Standby {
        holder: String,
    },
    Recovering,
    Leading {
        epoch: u64,
    },
    /// Its log is not what it must be. A person must look; nothing is skipped.
    Broken {
        what: String,
    },
    Stopped,
}

impl State {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Standby { .. } => "standby",
            Self::Recovering => "recovering",
            Self::Leading { .. } => "leading",
            Self::Broken { .. } => "broken",
            Self::Stopped => "stopped",
        }
    }

    /// Why it does not lead; empty when it does.
    pub fn because(&self) -> String {
        match self {
            Self::Standby { holder } => format!("it is held by engine {holder}"),
            Self::Recovering => "it is recovering".into(),
            Self::Leading { .. } => String::new(),
            Self::Broken { what } => what.clone(),
            Self::Stopped => "it is stopping".into(),
        }
    }
}

pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What is asked of an owner. An answer comes only when the log has what it rests on.
pub enum Request {
    Start {
        id: InstanceId,
        started: Arc<Started>,
        definition: Arc<Definition>,
        digest: [u8; 32],
        reply: Reply<StartedAs>,
    },
    Command {
        id: InstanceId,
        command: Command,
        reply: Reply<Instance>,
    },
    /// Which instance a request's idempotency key has started, if any; another request under the same key is refused.
    FindKey {
        started: Arc<Started>,
        digest: [u8; 32],
        reply: Reply<Option<StartedAs>>,
    },
    Get {
        id: InstanceId,
        reply: Reply<Instance>,
    },
    /// Answered when the instance has ended.
    Await {
        id: InstanceId,
        reply: Reply<Instance>,
    },
    /// Where in the log the instance's events are; from then on each commit with more is told to `watcher`.
    Positions {
        id: InstanceId,
        watcher: Option<mpsc::Sender<u64>>,
        reply: Reply<Vec<u64>>,
    },
    AttemptOpen {
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        reply: oneshot::Sender<bool>,
    },
    /// What people are asked.
    Inbox {
        reply: Reply<Vec<inbox::Item>>,
    },
    /// Where the inbox ended when the broker was asked, if it said so.
    InboxEnds {
        /// Which question it answers: an earlier owner's, or one that was given up, counts no more.
        question: uuid::Uuid,
        sequence: Option<u64>,
    },
    /// The event of an `emit` is stored.
    Published {
        id: InstanceId,
        activation: ActivationId,
    },
    /// Whether a step holds its key.
    KeyAnswered {
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        answer: once::Answer,
    },
    /// How it stands with a key that this step was the last to hold.
    KeyState {
        id: InstanceId,
        step: ActivationId,
        key: Arc<str>,
        reply: Reply<once::State>,
    },
    /// Whether a step still waits for its key.
    IsClaiming {
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
        reply: Reply<bool>,
    },
    /// Other kill switches are active than before; answered when all that they hold is stopped.
    Switched {
        reply: Reply<()>,
    },
    /// What a kill switch holds.
    Held {
        switch: u32,
        reply: Reply<halting::Held>,
    },
    /// How many steps a kill switch would stop.
    WouldStop {
        scope: Scope,
        reply: Reply<u64>,
    },
    /// Commands may be missing from the queue: compare and publish.
    Reconcile,
}

/// How a start was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedAs {
    pub id: InstanceId,
    /// `false`: the idempotency key had started it before.
    pub created: bool,
}

/// Speaks to a partition's owner. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    figures: watch::Receiver<Figures>,
}

/// What an owner says of itself now and then.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub log_position: u64,
    /// The chain value of the last commit.
    pub log_chain: [u8; 32],
    pub open_instances: u64,
    pub resident_instances: u64,
    /// By `department.function`: steps that wait for a result, and the time of the oldest, Unix milliseconds.
    pub open_steps: std::collections::BTreeMap<String, (u64, i64)>,
}

impl Handle {
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub fn figures(&self) -> Figures {
        self.figures.borrow().clone()
    }

    /// # Errors
    /// When this process does not lead the partition, or too many requests wait.
    pub fn send(&self, request: Request) -> Result<(), Refusal> {
        let state = self.state.borrow();
        if !matches!(*state, State::Leading { .. }) {
            return Err(Refusal::PartitionUnavailable(state.because()));
        }
        drop(state);
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Overloaded,
            mpsc::error::TrySendError::Closed(_) => {
                Refusal::PartitionUnavailable("it has stopped".into())
            }
        })
    }

    /// # Errors
    /// As the owner refuses, or when it goes before it has answered: what became of the request is then unknown.
    pub async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply))?;
        answer
            .await
            .unwrap_or_else(|_| Err(Refusal::PartitionUnavailable("its owner stepped down".into())))
    }

    /// Sends without looking at the state: for what may come at any time.
    pub fn nudge(&self) {
        let _ = self.requests.try_send(Request::Reconcile);
    }
}

/// Why an owner stops leading.
#[derive(Debug, thiserror::Error)]
enum Exit {
    #[error("asked to stop")]
    Shutdown,
    #[error("the lease went to engine {0}")]
    LeaseLost(String),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Large(#[from] large::Error),
    #[error(transparent)]
    Cache(#[from] cache::Error),
    #[error("an event cannot be read: {0}")]
    Wire(#[from] wire::Error),
    #[error("NATS does not answer: {0}")]
    Broker(String),
    #[error("another engine made it {0} partitions, restart this one")]
    Grown(u32),
    /// A bug of ours. What was in memory is gone; the log is as it was.
    #[error("the owner panicked")]
    Panicked,
}

pub fn spawn(
    engine: Arc<Engine>,
    partition: u32,
    stop: CancellationToken,
) -> (Handle, tokio::task::JoinHandle<()>) {
    let (requests, receiver) = mpsc::channel(limits::REQUESTS_WAITING_MAX);
    let (state_sender, state) = watch::channel(State::Recovering);
    let (figures_sender, figures) = watch::channel(Figures::default());
    let nudges = requests.clone();
    let supervisor = Supervisor {
        engine,
        partition,
        stop,
        requests: receiver,
        nudges,
        state: state_sender,
        figures: figures_sender,
    };
    (Handle { requests, state, figures }, tokio::spawn(supervisor.run()))
}

struct Supervisor {
    engine: Arc<Engine>,
    partition: u32,
    stop: CancellationToken,
    requests: mpsc::Receiver<Request>,
    nudges: mpsc::Sender<Request>,
    state: watch::Sender<State>,
    figures: watch::Sender<Figures>,
}

impl Supervisor {
    async fn run(mut self) {
        let partition = self.partition;
        let mut panics = 0;
        loop {
            let Some(lease) = self.acquire().await else { break };
            self.state.send_replace(State::Recovering);
            let (lost, losing) = oneshot::channel();
            let renewing = CancellationToken::new();
            let renewal = tokio::spawn(renew(
                Arc::clone(&self.engine),
                partition,
                lease,
                renewing.clone(),
                lost,
            ));
            let began = std::time::Instant::now();
            let exit = match AssertUnwindSafe(Box::pin(self.lead(losing))).catch_unwind().await {
                Ok(Ok(never)) => match never {},
                Ok(Err(exit)) => exit,
                Err(_) => Exit::Panicked,
            };
            renewing.cancel();
            let lease = renewal.await.ok().flatten();
            // Whoever still waits learns that this owner is gone.
            while self.requests.try_recv().is_ok() {}
            match exit {
                Exit::Shutdown => {
                    if let Some(lease) = lease {
                        self.engine.leases.release(lease).await;
                    }
                    break;
                }
                Exit::Log(log::Error::Fenced { engine, epoch, .. }) => {
                    tracing::warn!(partition, %engine, epoch, "Fenced out: another engine claimed the partition; all its state is dropped here");
                }
                Exit::Log(error @ log::Error::Broken { .. }) => {
                    tracing::error!(partition, %error, "The partition is stopped: its log is not what it must be");
                    self.state.send_replace(State::Broken { what: error.to_string() });
                    self.stop.cancelled().await;
                    break;
                }
                error @ Exit::Grown(_) => {
                    tracing::error!(partition, %error, "The engine cannot lead");
                    if let Some(lease) = lease {
                        self.engine.leases.release(lease).await;
                    }
                    self.state.send_replace(State::Broken { what: error.to_string() });
                    self.stop.cancelled().await;
                    break;
                }
                Exit::Cache(error) => {
                    tracing::warn!(partition, %error, "The cache is thrown away and built anew from the log");
                    let wiped =
                        self.engine.cache.partition(partition).and_then(|cache| cache.wipe());
                    if let Err(error) = wiped {
                        let what = format!(
                            "the cache folder cannot be used, restart batond to build it anew: {error}"
                        );
                        tracing::error!(partition, %what, "The partition is stopped");
                        self.state.send_replace(State::Broken { what });
                        self.stop.cancelled().await;
                        break;
                    }
                }
                Exit::Panicked => {
                    panics =
                        if began.elapsed() > limits::PANICS_FORGOTTEN { 1 } else { panics + 1 };
                    tracing::error!(
                        partition,
                        panics,
                        "The owner panicked; its state is built anew from the log"
                    );
                    if panics >= limits::PANICS_MAX {
                        let what =
                            "its owner panicked again and again; please report the log above"
                                .to_owned();
                        self.state.send_replace(State::Broken { what });
                        self.stop.cancelled().await;
                        break;
                    }
                }
                exit @ (Exit::LeaseLost(_)
                | Exit::Log(log::Error::Unavailable { .. })
                | Exit::Large(_)
                | Exit::Wire(_)
                | Exit::Broker(_)) => {
                    tracing::warn!(partition, reason = %exit, "The partition is given up and taken anew");
                }
            }
            self.state.send_replace(State::Recovering);
            tokio::select! { biased;
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        self.state.send_replace(State::Stopped);
    }

    /// Waits until the lease is ours; `None`: asked to stop.
    async fn acquire(&self) -> Option<Lease> {
        let mut told = String::new();
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            match self.engine.leases.acquire(self.partition).await {
                Ok(lease) => return Some(lease),
                Err(Some(Held(holder))) => {
                    if told != holder.name {
                        tracing::warn!(partition = self.partition, holder = %holder.name, "The partition is held by another engine; standing by");
                        told.clone_from(&holder.name);
                    }
                    self.state.send_replace(State::Standby { holder: holder.name });
                }
                Err(None) => {
                    tracing::debug!(partition = self.partition, "The lease was not answered");
                }
            }
            tokio::select! { biased;
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(limits::LEASE_AGAIN) => {}
            }
        }
    }

    /// Another engine may have added partitions while this one stood by.
    async fn expect_no_growth(&self) -> Result<(), Exit> {
        let unavailable = |error: &dyn std::fmt::Display| Exit::Broker(error.to_string());
        let settings = self.engine.broker.settings().await.map_err(|error| unavailable(&error))?;
        let now = Growth::settle(&settings, None).await.map_err(|error| unavailable(&error))?;
        if now == self.engine.growth { Ok(()) } else { Err(Exit::Grown(now.now())) }
    }

    async fn lead(
        &mut self,
        losing: oneshot::Receiver<String>,
    ) -> Result<std::convert::Infallible, Exit> {
        let began = std::time::Instant::now();
        if self.partition == 0 {
            self.expect_no_growth().await?;
        }
        let mut owner =
            Box::pin(recovery::recover(&self.engine, self.partition, self.nudges.clone())).await?;
        let epoch = owner.epoch();
        let recovery_s = began.elapsed().as_secs_f64();
        tracing::info!(
            partition = self.partition,
            epoch,
            recovery_s,
            instances = owner.open_instances(),
            "Leading"
        );
        self.state.send_replace(State::Leading { epoch });
        owner.lead(&mut self.requests, &self.figures, &self.stop, losing).await
    }
}

/// Keeps the lease until told to stop, or until somebody else has it.
async fn renew(
    engine: Arc<Engine>,
    partition: u32,
    mut lease: Lease,
    stop: CancellationToken,
    lost: oneshot::Sender<String>,
) -> Option<Lease> {
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return Some(lease),
            () = tokio::time::sleep(limits::LEASE_EVERY) => {}
        }
        if let Err(Some(Held(holder))) = engine.leases.expect_first(partition).await {
            let _ = lost.send(holder.name);
            engine.leases.release(lease).await;
            return None;
        }
        if engine.leases.renew(&mut lease).await {
            continue;
        }
        match engine.leases.acquire(partition).await {
            Ok(again) => lease = again,
            Err(Some(Held(holder))) => {
                let _ = lost.send(holder.name);
                return None;
            }
            // The broker is gone; what the log says will tell.
            Err(None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_partition_and_stays_a_uuid_of_version_7() {
        for partition in [0, 1, 7, PARTITIONS_MAX - 1] {
            let id = new_id(partition);
            assert_eq!(partition_of(id), partition);
            assert_eq!(uuid::Uuid::from_bytes(id.0).get_version_num(), 7);
        }
    }

    #[test]
    fn ids_of_one_partition_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| new_id(5)).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
