//! The workers that have announced themselves, and the queues of the functions that they offer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Message, Subscriber};
use baton_core::{ActivationId, Attempt, Timestamp, workflow::Function};
use baton_dsl::Offer;
use baton_proto::v1;
use bytes::Bytes;
use futures::StreamExt;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    Engine,
    broker::{self, Broker},
    clock,
    effects::{self, Effects},
    limits,
    partition::{Request, partition_of},
    switches::Switches,
    wire,
};

#[derive(Clone)]
pub struct Registry {
    broker: Broker,
    effects: Effects,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By department and worker.
    workers: HashMap<(String, String), Worker>,
    /// Queues that were made: department and function.
    queues: BTreeSet<(String, String)>,
    /// JSON Schemas of inputs, by department and function: the last that a worker announced.
    schemas: HashMap<(String, String), Arc<str>>,
}

struct Worker {
    build: String,
    functions: BTreeSet<String>,
    /// What each of them does, as this worker says: a class of [`effects`].
    effects: BTreeMap<String, &'static str>,
    /// A kill switch stops it, as it was told.
    halted: bool,
    seen: Instant,
    seen_at: Timestamp,
}

/// A worker as `baton doctor` shows it.
pub struct LiveWorker {
    pub department: String,
    pub worker: String,
    pub build: String,
    pub functions: Vec<String>,
    pub seen_at: Timestamp,
}

impl Registry {
    pub fn new(broker: &Broker, effects: &Effects) -> Self {
        Self { broker: broker.clone(), effects: effects.clone(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn serves(&self, department: &str, function: &str) -> bool {
        let known = self.known();
        known.workers.iter().any(|((found, _), worker)| {
            found == department && worker.works() && worker.functions.contains(function)
        })
    }

    /// What is known of a function's arguments.
    pub fn offer(&self, function: &Function) -> Offer {
        let (department, name) = (function.department.to_string(), function.name.to_string());
        if !self.serves(&department, &name) {
            return Offer::None;
        }
        let schema = self.known().schemas.get(&(department, name)).cloned();
        schema.map_or(Offer::Anything, Offer::Schema)
    }

    /// All functions that a live worker offers, as `department.function`.
    pub fn served(&self) -> BTreeSet<String> {
        let known = self.known();
        let live = known.workers.iter().filter(|(_, worker)| worker.works());
        live.flat_map(|((department, _), worker)| {
            worker.functions.iter().map(move |f| format!("{department}.{f}"))
        })
        .collect()
    }

    pub fn live(&self) -> Vec<LiveWorker> {
        let known = self.known();
        let mut live: Vec<_> = known
            .workers
            .iter()
            .filter(|(_, worker)| worker.is_live())
            .map(|((department, name), worker)| LiveWorker {
                department: department.clone(),
                worker: name.clone(),
                build: worker.build.clone(),
                functions: worker.functions.iter().cloned().collect(),
                seen_at: worker.seen_at,
            })
            .collect();
        live.sort_by(|a, b| (&a.department, &a.worker).cmp(&(&b.department, &b.worker)));
        live
    }

    /// After the broker came back without its memory.
    pub async fn restore_queues(&self) {
        self.effects.begin_anew();
        if let Err(error) = self.broker.prepare_work().await {
            tracing::warn!(%error, "The work queue cannot be restored yet");
            return;
        }
        let queues: Vec<_> = self.known().queues.iter().cloned().collect();
        for (department, function) in queues {
            if let Err(error) = self.broker.prepare_queue(&department, &function).await {
                tracing::warn!(%error, department, function, "A queue cannot be restored yet");
            }
        }
    }

    async fn announce(
        &self,
        subject: &str,
        payload: Bytes,
        switches: &Switches,
    ) -> v1::AnnouncementReply {
        let every = i64::try_from(limits::ANNOUNCE_EVERY.as_millis()).unwrap_or(i64::MAX);
        let refuse = |code: &str, error: String| v1::AnnouncementReply {
            error,
            code: code.into(),
            announce_every_ms: every,
            ..Default::default()
        };
        let Ok(announcement) = v1::Announcement::decode(payload) else {
            return refuse("malformed-announcement", "the announcement cannot be decoded".into());
        };
        let department = announcement.department;
        if subject.strip_prefix("baton.announce.") != Some(&department) {
            return refuse("wrong-department", "the subject is of another department".into());
        }
        let effects: BTreeMap<_, _> = announcement
            .functions
            .iter()
            .map(|offer| (offer.name.clone(), effects::class(&offer.effect)))
            .collect();
        let schemas: BTreeMap<_, _> = announcement
            .functions
            .into_iter()
            .map(|offer| (offer.name, offer.input_schema))
            .collect();
        let functions: BTreeSet<_> = schemas.keys().cloned().collect();
        let names = functions.iter().chain([&department, &announcement.worker]);
        if let Some(bad) = names.into_iter().find(|name| !is_name(name)) {
            let error = format!(
                "`{}` is not a name: 1 to 63 letters, digits, - and _",
                bad.escape_default()
            );
            return refuse("invalid-name", error.chars().take(200).collect());
        }
        if functions.len() > limits::FUNCTIONS_PER_WORKER_MAX {
            return refuse("too-many-functions", "a worker may offer 256 functions".into());
        }
        for function in &functions {
            let queue = (department.clone(), function.clone());
            // Made again each time: it costs little, and the broker may have lost it.
            if let Err(error) = self.broker.prepare_work().await {
                return refuse("unavailable", error.to_string());
            }
            if let Err(error) = self.broker.prepare_queue(&department, function).await {
                return refuse("unavailable", error.to_string());
            }
            self.known().queues.insert(queue);
        }
        let queues = functions.iter().map(|function| v1::Queue {
            function: function.clone(),
            stream: broker::WORK_STREAM.into(),
            consumer: broker::queue_consumer(&department, function),
            ack_wait_ms: i64::try_from(limits::QUEUE_ACK_WAIT.as_millis()).unwrap_or(i64::MAX),
        });
        let queues = queues.collect();
        let name = announcement.worker;
        let halted = switches.of_worker(&name).is_some();
        {
            let mut known = self.known();
            known.forget_silent();
            if known.workers.len() >= limits::WORKERS_MAX {
                return refuse(
                    "too-many-workers",
                    "10,000 workers have announced themselves".into(),
                );
            }
            for (function, schema) in schemas {
                known.describe((department.clone(), function), &schema);
            }
            let worker = Worker {
                build: wire::cut(&announcement.build, limits::BUILD_BYTES_MAX).to_owned(),
                functions: functions.clone(),
                effects,
                halted,
                seen: Instant::now(),
                seen_at: clock::now(),
            };
            let key = (department.clone(), name.clone());
            if known.workers.insert(key, worker).is_none() {
                tracing::info!(%department, worker = %name, "A worker announced itself");
            }
        }
        for function in functions {
            let worst = || self.known().worst(&department, &function);
            self.effects.announced(&department, &function, worst).await;
        }
        v1::AnnouncementReply { queues, announce_every_ms: every, halted, ..Default::default() }
    }
}

impl Known {
    /// What a function does by the worst that a live worker says of it: any of them may be given the command.
    fn worst(&self, department: &str, function: &str) -> &'static str {
        let live =
            self.workers.iter().filter(|((of, _), worker)| of == department && worker.is_live());
        let said = live.filter_map(|(_, worker)| worker.effects.get(function));
        said.copied().max_by_key(|class| effects::place(class)).unwrap_or(effects::WORST)
    }

    /// Takes the schema of a function's input; an empty one, or one that is too large, says nothing.
    fn describe(&mut self, function: (String, String), schema: &str) {
        if schema.is_empty() || schema.len() > limits::SCHEMA_BYTES_MAX {
            self.schemas.remove(&function);
        } else if self.schemas.get(&function).is_none_or(|known| **known != *schema)
            && (self.schemas.len() < limits::SCHEMAS_MAX || self.schemas.contains_key(&function))
        {
            self.schemas.insert(function, Arc::from(schema));
        }
    }

    /// Forgets what nobody offers any more.
    fn forget_silent(&mut self) {
        let before = self.workers.len();
        self.workers.retain(|_, worker| worker.is_live());
        if self.workers.len() < before {
            let workers = &self.workers;
            self.schemas.retain(|(department, function), _| {
                workers.iter().any(|((found, _), worker)| {
                    found == department && worker.functions.contains(function)
                })
            });
        }
    }
}

impl Worker {
    fn works(&self) -> bool {
        self.is_live() && !self.halted
    }

    fn is_live(&self) -> bool {
        self.seen.elapsed() < limits::ANNOUNCE_EVERY * 3
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Answers announcements and questions about attempts until told to stop.
///
/// # Errors
/// When the subjects cannot be subscribed to.
pub async fn serve(
    engine: Arc<Engine>,
    stop: CancellationToken,
) -> Result<(), async_nats::SubscribeError> {
    let client = &engine.broker.client;
    // Every engine must know every worker, also one that only stands by now: the worker takes the first answer.
    let announcements = client.subscribe("baton.announce.*").await?;
    let queries = client.subscribe("baton.attempt.*").await?;
    let answers = answer_announcements(&engine, announcements);
    let attempts = answer_attempts(&engine, queries);
    let watch = watch_unserved(&engine);
    let call = call_workers(&engine);
    tokio::select! { biased;
        () = stop.cancelled() => {}
        () = answers => {}
        () = attempts => {}
        () = watch => {}
        () = call => {}
    }
    Ok(())
}

async fn answer_announcements(engine: &Engine, announcements: Subscriber) {
    announcements
        .for_each_concurrent(64, async |message: Message| {
            let Some(reply) = message.reply.clone() else { return };
            let Engine { registry, switches, .. } = engine;
            let answer = registry.announce(&message.subject, message.payload, switches).await;
            let _ = engine.broker.client.publish(reply, answer.encode_to_vec().into()).await;
        })
        .await;
}

async fn answer_attempts(engine: &Engine, queries: Subscriber) {
    queries
        .for_each_concurrent(1_024, async |message: Message| {
            let Some(reply) = message.reply.clone() else { return };
            // No answer: the partition is another engine's, or the question is not one.
            if let Some(open) = attempt_open(engine, message.payload).await {
                let status = v1::AttemptStatus { open };
                let _ = engine.broker.client.publish(reply, status.encode_to_vec().into()).await;
            }
        })
        .await;
}

async fn attempt_open(engine: &Engine, payload: Bytes) -> Option<bool> {
    let query = v1::AttemptQuery::decode(payload).ok()?;
    let id = wire::instance_id(&query.instance).ok()?;
    let (step, attempt) = (ActivationId(query.step), Attempt(query.attempt));
    if !engine.tokens.verify(&query.token, id, step, attempt) {
        engine.metrics.result_refused("wrong-token");
        return None;
    }
    let partition = engine.partition(partition_of(id))?;
    let (reply, answer) = oneshot::channel();
    partition.send(Request::AttemptOpen { id, step, attempt, reply }).ok()?;
    // Who gets no answer asks again; nobody may hold the places of others.
    tokio::time::timeout(limits::QUERY_WAIT, answer).await.ok()?.ok()
}

/// Has workers announce themselves that were told otherwise than the kill switches say now: each engine learns of a switch in
/// its own time, and a worker takes the first answer.
async fn call_workers(engine: &Engine) {
    let mut every = tokio::time::interval(limits::SWITCHES_EVERY);
    loop {
        every.tick().await;
        let changed: Vec<_> = {
            let known = engine.registry.known();
            let live = known.workers.iter().filter(|(_, worker)| worker.is_live());
            let halted = |name: &str| engine.switches.of_worker(name).is_some();
            let changed = live.filter(|((_, name), worker)| halted(name) != worker.halted);
            changed.map(|(key, _)| key.clone()).collect()
        };
        for (department, worker) in changed {
            engine.call_worker(&department, &worker).await;
        }
    }
}

/// A function with waiting steps and no live worker is an incident: says so once, and again when it is over.
async fn watch_unserved(engine: &Engine) {
    let mut told = BTreeSet::new();
    let mut every = tokio::time::interval(Duration::from_secs(2));
    let began = Instant::now();
    loop {
        every.tick().await;
        // Right after the start nobody has had time to announce himself.
        if began.elapsed() < limits::ANNOUNCE_EVERY {
            continue;
        }
        let unserved = engine.unserved();
        for function in &unserved {
            if told.insert(function.clone()) {
                tracing::error!(%function, "Steps wait for a function that no live worker offers");
            }
        }
        told.retain(|function| {
            let still = unserved.contains(function);
            if !still {
                tracing::info!(%function, "The function is served again");
            }
            still
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(functions: &[&str], seen: Instant) -> Worker {
        Worker {
            build: String::new(),
            functions: functions.iter().map(ToString::to_string).collect(),
            effects: BTreeMap::new(),
            halted: false,
            seen,
            seen_at: Timestamp(0),
        }
    }

    fn key(function: &str) -> (String, String) {
        ("erp".into(), function.into())
    }

    #[test]
    fn a_function_does_the_worst_that_a_live_worker_says() {
        let says = |effect: &str| {
            let mut worker = worker(&["pay"], Instant::now());
            worker.effects.insert("pay".into(), effects::class(effect));
            worker
        };
        let mut known = Known::default();
        assert_eq!(known.worst("erp", "pay"), "irreversible", "nobody has said anything");
        known.workers.insert(("erp".into(), "a".into()), says("read"));
        assert_eq!(known.worst("erp", "pay"), "read");
        known.workers.insert(("erp".into(), "b".into()), says("write"));
        assert_eq!(known.worst("erp", "pay"), "write");
        for unsaid in ["", "harmless"] {
            known.workers.insert(("erp".into(), "c".into()), says(unsaid));
            assert_eq!(known.worst("erp", "pay"), "irreversible", "{unsaid:?}");
        }
        assert_eq!(known.worst("lab", "pay"), "irreversible");
    }

    #[test]
    fn the_last_schema_of_a_function_counts_within_bounds() {
        let mut known = Known::default();
        known.describe(key("pay"), "{}");
        known.describe(key("pay"), "true");
        assert_eq!(known.schemas[&key("pay")].as_ref(), "true");
        known.describe(key("pay"), &" ".repeat(limits::SCHEMA_BYTES_MAX + 1));
        assert!(known.schemas.is_empty(), "nothing is known of it now");
        for number in 0..=limits::SCHEMAS_MAX {
            known.describe(key(&number.to_string()), "{}");
        }
        assert_eq!(known.schemas.len(), limits::SCHEMAS_MAX);
        known.describe(key("0"), "true");
        assert_eq!(known.schemas[&key("0")].as_ref(), "true", "one that is known may change");
    }

    #[test]
    fn the_schemas_of_workers_that_fell_silent_are_forgotten() {
        let now = Instant::now();
        let mut known = Known::default();
        known.workers.insert(key("one"), worker(&["pay"], now));
        let Some(long_ago) = now.checked_sub(limits::ANNOUNCE_EVERY * 4) else { return };
        known.workers.insert(key("two"), worker(&["pay", "order"], long_ago));
        known.describe(key("pay"), "{}");
        known.describe(key("order"), "{}");
        known.forget_silent();
        assert_eq!(known.schemas.keys().collect::<Vec<_>>(), [&key("pay")]);
    }
}
