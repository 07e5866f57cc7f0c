//! The streams on NATS: what they are called, how they are kept, and the connection to them.

use std::time::Duration;

use async_nats::{
    ConnectOptions, ServerAddr,
    jetstream::{
        self,
        consumer::{AckPolicy, PullConsumer, pull},
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use baton_core::{ActivationId, Attempt, InstanceId, workflow::Function};
use tokio::sync::watch;

use crate::limits;

pub const WORK_STREAM: &str = "BATON_WORK";
pub const EVENTS_STREAM: &str = "BATON_EVENTS";
pub const LIFECYCLE_STREAM: &str = "BATON_LIFECYCLE";
pub const HEADS_STREAM: &str = "BATON_HEADS";
pub const DEFINITIONS_BUCKET: &str = "BATON_DEFINITIONS";
pub const FUNCTIONS_BUCKET: &str = "BATON_FUNCTIONS";
pub const POLICIES_BUCKET: &str = "BATON_POLICIES";
pub const ONCE_BUCKET: &str = "BATON_ONCE";
pub const SWITCHES_BUCKET: &str = "BATON_SWITCHES";
pub const EFFECTS_BUCKET: &str = "BATON_EFFECTS";
pub const LEASES_BUCKET: &str = "BATON_LEASES";
pub const SETTINGS_BUCKET: &str = "BATON_SETTINGS";
pub const OBJECTS_BUCKET: &str = "BATON_OBJECTS";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach NATS at {url}")]
    Connect { url: String, source: async_nats::ConnectError },
    #[error("nats-server {found} is too old, 2.12 or newer is needed")]
    TooOld { found: String },
    #[error("cannot prepare {what} on NATS: {reason}")]
    Prepare { what: String, reason: String },
}

impl Error {
    /// Whether it may go better a moment later: the server is away, or not ready yet.
    pub fn is_passing(&self) -> bool {
        use async_nats::ConnectErrorKind as Kind;
        match self {
            Self::Connect { source, .. } => {
                matches!(source.kind(), Kind::Io | Kind::Dns | Kind::TimedOut | Kind::MaxReconnects)
            }
            Self::TooOld { .. } => false,
            Self::Prepare { .. } => true,
        }
    }
}

pub fn log_stream(partition: u32) -> String {
    format!("BATON_LOG_{partition}")
}

pub fn log_subject(partition: u32) -> String {
    format!("baton.log.{partition}")
}

/// Where the signed ends of a partition's log go.
pub fn head_subject(partition: u32) -> String {
    format!("baton.head.{partition}")
}

pub fn inbox_stream(partition: u32) -> String {
    format!("BATON_IN_{partition}")
}

/// Where events that a department publishes go.
pub fn event_subject(department: &str) -> String {
    format!("baton.event.{department}")
}

/// Where the lifecycle events of a workflow go.
pub fn lifecycle_subject(namespace: &str, name: &str) -> String {
    format!("baton.lifecycle.{namespace}.{name}")
}

/// Where the workers of a department hear what concerns what they have in hand.
pub fn control_subject(department: &str) -> String {
    format!("baton.control.{department}")
}

/// Where the workers of a department send what concerns instances of a partition.
pub fn result_subject(partition: u32, department: &str) -> String {
    format!("baton.in.{partition}.{department}")
}

/// The department that a result subject belongs to.
pub fn result_department(subject: &str) -> Option<&str> {
    let mut parts = subject.split('.').skip(3);
    parts.next().filter(|_| parts.next().is_none())
}

pub fn work_subject(
    function: &Function,
    instance: InstanceId,
    step: ActivationId,
    attempt: Attempt,
) -> String {
    format!(
        "baton.work.{}.{}.{instance}.{}.{}",
        function.department, function.name, step.0, attempt.0
    )
}

/// What a work subject says: the function; instance, step and attempt.
pub fn parse_work_subject(
    subject: &str,
) -> Option<(Function, (InstanceId, ActivationId, Attempt))> {
    let mut parts = subject.split('.').skip(2);
    let (department, name) = (parts.next()?.into(), parts.next()?.into());
    let instance = uuid::Uuid::try_parse(parts.next()?).ok()?;
    let step = parts.next()?.parse().ok()?;
    let attempt = parts.next()?.parse().ok()?;
    let command = (InstanceId(instance.into_bytes()), ActivationId(step), Attempt(attempt));
    Some((Function { department, name }, command))
}

pub fn queue_consumer(department: &str, function: &str) -> String {
    format!("{department}-{function}")
}

/// A version as part of a key: the keys of a bucket may not hold a `+`.
pub fn version_in_key(version: &str) -> String {
    version.replace('+', "=")
}

/// Servers, separated by commas. A password in an address would stand in process lists and logs.
fn addresses(urls: &str) -> Result<Vec<ServerAddr>, Error> {
    let refuse =
        |reason: &str| Error::Prepare { what: "the address of NATS".into(), reason: reason.into() };
    let address = |url: &str| match url.trim().parse::<ServerAddr>() {
        Ok(address) if address.has_user_pass() => Err(refuse(
            "user and password are settings of their own, BATON_NATS_USER and BATON_NATS_PASSWORD",
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(refuse("it is not like nats://host:4222")),
    };
    urls.split(',').map(address).collect()
}

/// A connection to NATS, and whether it is up. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    pub client: async_nats::Client,
    pub jetstream: jetstream::Context,
    /// Counts the connections made: a change means that the server may have come back without its memory.
    connections: watch::Receiver<u64>,
    replicas: usize,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub url: String,
    pub credentials: Option<std::path::PathBuf>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub name: String,
    pub replicas: usize,
}

impl Broker {
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let (connected, connections) = watch::channel(0);
        let mut connect = ConnectOptions::new()
            .name(format!("batond {}", options.name))
            .subscription_capacity(1 << 18)
            .client_capacity(1 << 15)
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis((50 << attempts.min(5)).min(1_000))
            })
            .event_callback(move |event| {
                match &event {
                    async_nats::Event::Connected => connected.send_modify(|count| *count += 1),
                    async_nats::Event::Disconnected => {
                        tracing::warn!("NATS is gone, trying to reach it again");
                    }
                    async_nats::Event::ServerError(error) => {
                        tracing::warn!(%error, "NATS refused something");
                    }
                    async_nats::Event::ClientError(error) => {
                        tracing::warn!(%error, "NATS connection");
                    }
                    async_nats::Event::SlowConsumer(_) => {
                        tracing::warn!("This process is too slow for NATS");
                    }
                    async_nats::Event::LameDuckMode
                    | async_nats::Event::Draining
                    | async_nats::Event::Closed => {
                        tracing::info!(%event, "NATS connection");
                    }
                }
                async {}
            });
        if let Some(path) = &options.credentials {
            connect = connect.credentials_file(path).await.map_err(|error| Error::Prepare {
                what: "credentials".into(),
                reason: error.to_string(),
            })?;
        }
        if let Some(user) = &options.user {
            connect = connect
                .user_and_password(user.clone(), options.password.clone().unwrap_or_default());
        }
        let addresses = addresses(&options.url)?;
        let shown = addresses
            .iter()
            .map(|a| format!("{}:{}", a.host(), a.port()))
            .collect::<Vec<_>>()
            .join(",");
        let client = connect
            .connect(addresses)
            .await
            .map_err(|source| Error::Connect { url: shown, source })?;
        let version = client.server_info().version;
        let recent =
            semver::Version::parse(&version).is_ok_and(|v| v >= semver::Version::new(2, 12, 0));
        if !recent {
            return Err(Error::TooOld { found: version });
        }
        let mut jetstream = jetstream::ContextBuilder::new()
            .timeout(limits::APPEND_TIMEOUT)
            .ack_timeout(limits::APPEND_TIMEOUT)
            .max_ack_inflight(1 << 16)
            .build(client.clone());
        jetstream.set_timeout(limits::APPEND_TIMEOUT);
        Ok(Self { client, jetstream, connections, replicas: options.replicas })
    }

    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Copies of each stream.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Changes with every connection made.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// The log and the inbox of a partition. What is there already stays as it is.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_partition(&self, partition: u32) -> Result<(), Error> {
        self.stream(Config {
            name: log_stream(partition),
            subjects: vec![log_subject(partition)],
            description: Some("Baton: what has happened, the only truth".into()),
            discard: DiscardPolicy::New,
            deny_delete: true,
            max_message_size: 1 << 20,
            ..self.defaults()
        })
        .await?;
        self.stream(Config {
            name: inbox_stream(partition),
            subjects: vec![format!("baton.in.{partition}.>")],
            description: Some("Baton: results that wait to be taken into the log".into()),
            discard: DiscardPolicy::New,
            max_message_size: 1 << 20,
            ..self.defaults()
        })
        .await
    }

    /// The queue of commands: kept in memory, for the log can always rebuild it.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_work(&self) -> Result<(), Error> {
        self.stream(Config {
            name: WORK_STREAM.into(),
            subjects: vec!["baton.work.>".into()],
            description: Some("Baton: commands that wait for workers".into()),
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::Memory,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_message_size: 1 << 20,
            ..self.defaults()
        })
        .await
    }

    /// The events of all: the oldest go when there are too many.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_events(&self) -> Result<(), Error> {
        self.stream(Config {
            name: EVENTS_STREAM.into(),
            subjects: vec!["baton.event.>".into()],
            description: Some("Baton: events, for whoever listens or will listen soon".into()),
            discard: DiscardPolicy::Old,
            max_age: limits::EVENTS_AGE_MAX,
            max_messages: limits::EVENTS_MAX,
            max_bytes: limits::EVENTS_BYTES_MAX,
            duplicate_window: limits::EVENTS_REMEMBERED,
            max_message_size: 1 << 20,
            ..self.defaults()
        })
        .await
    }

    /// The lifecycle events of all: apart from [`EVENTS_STREAM`], lest a workflow be woken by its own life.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_lifecycle(&self) -> Result<(), Error> {
        self.stream(Config {
            name: LIFECYCLE_STREAM.into(),
            subjects: vec!["baton.lifecycle.>".into()],
            description: Some("Baton: what becomes of instances and tasks".into()),
            discard: DiscardPolicy::Old,
            max_age: limits::LIFECYCLE_AGE_MAX,
            max_messages: limits::LIFECYCLE_MAX,
            max_bytes: limits::LIFECYCLE_BYTES_MAX,
            duplicate_window: limits::LIFECYCLE_REMEMBERED,
            max_message_size: limits::LIFECYCLE_EVENT_BYTES_MAX,
            ..self.defaults()
        })
        .await
    }

    /// The signed ends of the logs.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_heads(&self) -> Result<(), Error> {
        self.stream(Config {
            name: HEADS_STREAM.into(),
            subjects: vec!["baton.head.*".into()],
            description: Some("Baton: where the logs ended, signed".into()),
            discard: DiscardPolicy::Old,
            max_messages_per_subject: limits::HEADS_MAX,
            deny_delete: true,
            max_message_size: limits::HEAD_BYTES_MAX,
            ..self.defaults()
        })
        .await
    }

    /// The durable consumer from which the workers of one function pull.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn prepare_queue(&self, department: &str, function: &str) -> Result<(), Error> {
        let name = queue_consumer(department, function);
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: format!("baton.work.{department}.{function}.>"),
            ack_policy: AckPolicy::Explicit,
            ack_wait: limits::QUEUE_ACK_WAIT,
            max_ack_pending: limits::QUEUE_IN_HAND_MAX,
            max_deliver: -1,
            memory_storage: true,
            ..Default::default()
        };
        let _: PullConsumer =
            self.jetstream.create_consumer_on_stream(config, WORK_STREAM).await.map_err(
                |error| Error::Prepare {
                    what: format!("consumer {name}"),
                    reason: error.to_string(),
                },
            )?;
        Ok(())
    }

    /// A key-value bucket; `max_age` zero keeps values for ever.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn bucket(
        &self,
        name: &str,
        max_age: Duration,
    ) -> Result<jetstream::kv::Store, Error> {
        if let Ok(store) = self.jetstream.get_key_value(name).await {
            return Ok(store);
        }
        let config = jetstream::kv::Config {
            bucket: name.into(),
            history: 1,
            max_age,
            num_replicas: self.replicas,
            ..Default::default()
        };
        self.jetstream.create_key_value(config).await.map_err(|error| Error::Prepare {
            what: format!("bucket {name}"),
            reason: error.to_string(),
        })
    }

    /// What all engines must agree on.
    ///
    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn settings(&self) -> Result<jetstream::kv::Store, Error> {
        self.bucket(SETTINGS_BUCKET, Duration::ZERO).await
    }

    /// # Errors
    /// [`Error`] says what can go wrong.
    pub async fn objects(&self) -> Result<jetstream::object_store::ObjectStore, Error> {
        if let Ok(store) = self.jetstream.get_object_store(OBJECTS_BUCKET).await {
            return Ok(store);
        }
        let config = jetstream::object_store::Config {
            bucket: OBJECTS_BUCKET.into(),
            num_replicas: self.replicas,
            ..Default::default()
        };
        self.jetstream.create_object_store(config).await.map_err(|error| Error::Prepare {
            what: format!("object store {OBJECTS_BUCKET}"),
            reason: error.to_string(),
        })
    }

    fn defaults(&self) -> Config {
        Config { num_replicas: self.replicas, allow_direct: false, ..Default::default() }
    }

    async fn stream(&self, config: Config) -> Result<(), Error> {
        let name = config.name.clone();
        match self.jetstream.get_or_create_stream(config).await {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(Error::Prepare { what: format!("stream {name}"), reason: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_subject_says_what_it_is_for() {
        let function = Function { department: "finance".into(), name: "pay".into() };
        let id = InstanceId([0xab; 16]);
        let subject = work_subject(&function, id, ActivationId(12), Attempt(3));
        assert_eq!(subject, "baton.work.finance.pay.abababab-abab-abab-abab-abababababab.12.3");
        let command = (id, ActivationId(12), Attempt(3));
        assert_eq!(parse_work_subject(&subject), Some((function, command)));
        for broken in
            ["baton.work.finance.pay", "baton.work.finance.pay.x.1.1", "baton.work.a.b.c.d"]
        {
            assert_eq!(parse_work_subject(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_result_subject_belongs_to_one_department() {
        assert_eq!(result_department(&result_subject(3, "finance")), Some("finance"));
        assert_eq!(result_department("baton.in.3"), None);
        assert_eq!(result_department("baton.in.3.finance.more"), None);
    }
}
