//! A worker: the functions of one department in one process.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_nats::jetstream::context::ContextBuilder;
use baton_proto::v1;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, Offer, Outcome, Secrets, announce, cancellation,
    config::{self, Options},
    connection,
    desk::Desk,
    function::Function,
    in_hand::InHand,
    lane::Lane,
    lease,
    limits::{REQUEST_TIMEOUT, SETTLE_GRACE, TURNS_WAITING_MAX, UNSETTLED_MAX},
    pull::Pull,
    settle,
};

/// Serves functions of one department until it is told to stop.
pub struct Worker {
    department: String,
    functions: Vec<Function>,
    options: Option<Options>,
}

/// Why a worker could not begin, or ended otherwise than by draining. What goes wrong while it runs (the broker away,
/// no engine, a handler's panic) is logged and mended, and never ends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {name:?} must be 1 to 63 letters, digits, `-` and `_`")]
    Name { what: &'static str, name: String },
    #[error("function {0:?} is offered twice")]
    DuplicateFunction(String),
    #[error("a worker must offer at least one function")]
    NoFunctions,
    #[error("function {0:?} must have a concurrency above 0")]
    NoConcurrency(String),
    #[error(transparent)]
    Settings(#[from] config::Error),
    #[error(transparent)]
    Connection(#[from] connection::Error),
    #[error("a subscription cannot be set up")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("the process cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

impl Worker {
    /// A worker of this department, with the settings of the environment ([`Options::from_env`]).
    pub fn new(department: impl Into<String>) -> Self {
        Self { department: department.into(), functions: Vec::new(), options: None }
    }

    /// These settings instead of the environment's.
    pub fn with_options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }

    /// Offers a function by name. See [`Worker::function_with`].
    pub fn function<I, O, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        self.function_with(Offer::new(name), handler)
    }

    /// Offers a function. Arguments that do not deserialise into `I` are a terminal validation error with status 400;
    /// the handler is not called then.
    ///
    /// A handler that waits for nothing runs within the worker's own loop, which is why a trivial one costs next to
    /// nothing; one that computes for long or blocks belongs into [`tokio::task::spawn_blocking`].
    pub fn function_with<I, O, F, Fut>(mut self, offer: Offer, handler: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        self.functions.push(Function::new(offer, handler));
        self
    }

    /// Serves until SIGTERM or SIGINT, then drains as [`Worker::run_until`] does.
    ///
    /// # Errors
    ///
    /// As [`Worker::run_until`], or when the process cannot listen for signals.
    pub async fn run(self) -> Result<(), Error> {
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        self.run_until(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
    }

    /// Serves until `shutdown`, then drains: takes nothing more, gives back what has not begun, lets handlers end
    /// within the grace, stores their results and acknowledges their commands. What outlasts the grace goes to another
    /// worker.
    ///
    /// # Errors
    ///
    /// When a name, a setting or the credentials are wrong. A broker or an engine that is away is waited for.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let options = match self.options.clone() {
            Some(options) => options,
            None => Options::from_env()?,
        };
        let name = options.name.clone().unwrap_or_else(|| config::random_name(&self.department));
        self.check(&name)?;

        let (client, connections) = connection::connect(&options, &name).await?;
        let desk = Arc::new(Desk {
            client: client.clone(),
            connections,
            service: options
                .service
                .clone()
                .unwrap_or_else(|| format!("{}-worker", self.department)),
            department: self.department,
            worker: name,
            secrets: options.secrets.clone(),
            in_hand: InHand::default(),
        });
        let announcement = v1::Announcement {
            worker: desk.worker.clone(),
            build: options.build.clone(),
            department: desk.department.clone(),
            functions: self.functions.iter().map(|function| function.offer.to_wire()).collect(),
        };
        tracing::info!(worker = desk.worker, department = desk.department, "worker starts");

        let (queues, found) = watch::channel(announce::Queues::new());
        let (halting, halted) = watch::channel(false);
        let announce_now = Arc::new(Notify::new());
        // Dropped at the end, and everything in it with it.
        let mut upkeep = JoinSet::new();
        let control = client.subscribe(format!("baton.control.{}", desk.department)).await?;
        upkeep.spawn(cancellation::run(desk.clone(), control, announce_now.clone()));
        upkeep.spawn(lease::run(desk.clone(), found.clone()));

        let (settle, turns) = mpsc::channel(TURNS_WAITING_MAX);
        let jetstream = ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(UNSETTLED_MAX)
            .build(client.clone());
        let mut settler = tokio::spawn(settle::run(desk.clone(), jetstream, turns));

        let stop = CancellationToken::new();
        let mut lanes = JoinSet::new();
        for function in self.functions {
            let concurrency = function.offer.concurrency.unwrap_or(options.concurrency);
            let pull = Pull::new(
                desk.clone(),
                function.offer.name.clone(),
                found.clone(),
                announce_now.clone(),
            )
            .await?;
            let (desk, settle, halted) = (desk.clone(), settle.clone(), halted.clone());
            let lane = Lane::new(desk, function, concurrency, pull, settle, halted);
            lanes.spawn(lane.run(stop.clone(), options.grace));
        }
        drop(settle);
        let announcing = announce::run(desk.clone(), announcement, queues, halting, announce_now);
        upkeep.spawn(announcing);

        shutdown.await;
        tracing::info!(in_hand = desk.in_hand.len(), "worker drains");
        stop.cancel();
        let last_moment = Instant::now() + options.grace + SETTLE_GRACE;
        let drained = timeout_at(last_moment, async {
            while lanes.join_next().await.is_some() {}
            (&mut settler).await
        });
        if drained.await.is_err() {
            settler.abort();
            tracing::warn!(
                in_hand = desk.in_hand.len(),
                "worker stops with results unsettled, their steps go to others"
            );
        }
        let flushed = timeout(Duration::from_secs(1), client.flush()).await;
        tracing::info!(flushed = matches!(flushed, Ok(Ok(()))), "worker stopped");
        Ok(())
    }

    pub(crate) fn find(&self, function: &str) -> Option<&Function> {
        self.functions.iter().find(|known| known.offer.name == function)
    }

    pub(crate) fn secrets(&self) -> Secrets {
        self.options.as_ref().map_or(Secrets::Environment, |options| options.secrets.clone())
    }

    pub(crate) fn department(&self) -> &str {
        &self.department
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        check_name("department", &self.department)?;
        check_name("worker", name)?;
        if self.functions.is_empty() {
            return Err(Error::NoFunctions);
        }
        let mut names = BTreeSet::new();
        for Function { offer, .. } in &self.functions {
            check_name("function", &offer.name)?;
            if offer.concurrency == Some(0) {
                return Err(Error::NoConcurrency(offer.name.clone()));
            }
            if !names.insert(&offer.name) {
                return Err(Error::DuplicateFunction(offer.name.clone()));
            }
        }
        Ok(())
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        return Err(Error::Name { what, name: name.into() });
    }
    Ok(())
}
