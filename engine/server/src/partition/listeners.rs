//! Who listens for what, so that an event costs as much as it has listeners, however many wait for others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use baton_core::{
    ActivationId, Evaluator, Instance, InstanceId, Json, Scope, TaskId, Timestamp,
    event::Started,
    workflow::{EventFilter, Hash, Kind, Listen, Name, Until},
};

use crate::{
    definitions::Definition,
    events::{CloudEvent, Feed},
    limits,
};

/// One filter of one task of one workflow: what all its instances listen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Subscription {
    workflow: Hash,
    task: TaskId,
    filter: u32,
}

pub(super) struct Listeners {
    buckets: HashMap<Subscription, Bucket>,
    /// By the type that their events have; `None`: any.
    by_type: HashMap<Option<Box<str>>, Vec<Subscription>>,
    /// Where an instance stands, with the values that it is tied to.
    of: HashMap<InstanceId, Vec<(Subscription, Option<String>)>>,
    /// Expressions that see only the event are asked with this.
    blank: Instance,
}

struct Bucket {
    definition: Arc<Definition>,
    filter: EventFilter,
    kind: Option<Box<str>>,
    /// What ties an event to an instance says the same for all instances.
    closed: bool,
    /// Asking what ties an event takes long: each instance is shown every event instead.
    slow: bool,
    /// Those that may take any event of the type.
    open: BTreeSet<InstanceId>,
    /// Those that take only events with these values.
    tied: HashMap<String, BTreeSet<InstanceId>>,
    /// Positions of the events that are held, by their values, up to `kept_to`.
    kept: HashMap<String, Vec<u64>>,
    kept_to: u64,
    kept_count: usize,
}

impl Default for Listeners {
    fn default() -> Self {
        let nothing: Arc<str> = Arc::from("");
        let name = Name {
            namespace: Arc::clone(&nothing),
            name: Arc::clone(&nothing),
            version: Arc::clone(&nothing),
        };
        let started = Started {
            workflow: Hash([0; 32]),
            name,
            input: Json::null(),
            key: Arc::clone(&nothing),
            labels: BTreeMap::new(),
            traceparent: nothing,
            parent: None,
            carried: baton_core::guard::Carried::default(),
            by: "".into(),
        };
        let blank = Instance::new(InstanceId([0; 16]), Arc::new(started), Timestamp(0));
        Self { buckets: HashMap::new(), by_type: HashMap::new(), of: HashMap::new(), blank }
    }
}

impl Listeners {
    pub(super) fn knows(&self, id: InstanceId) -> bool {
        self.of.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: InstanceId) {
        for (subscription, values) in self.of.remove(&id).unwrap_or_default() {
            let Some(bucket) = self.buckets.get_mut(&subscription) else { continue };
            let Some(values) = values else {
                bucket.open.remove(&id);
                continue;
            };
            if let Some(tied) = bucket.tied.get_mut(&values) {
                tied.remove(&id);
                if tied.is_empty() {
                    bucket.tied.remove(&values);
                }
            }
        }
    }

    /// Enters what an instance listens for now.
    pub(super) fn refresh(&mut self, instance: &Instance, definition: &Arc<Definition>) {
        let id = instance.id;
        self.forget(id);
        let mut stands = Vec::new();
        for (activation, listening) in instance.listeners() {
            let Some((task, listen)) = listen_of(instance, definition, activation) else {
                continue;
            };
            for (number, filter) in numbered(listen) {
                let subscription =
                    Subscription { workflow: instance.started.workflow, task, filter: number };
                let bucket = self.bucket(subscription, definition, filter);
                let known = filter
                    .correlate
                    .iter()
                    .map(|correlate| listening.correlation.get(&correlate.key))
                    .collect::<Option<Vec<_>>>();
                let values = known
                    .filter(|known| bucket.closed && !known.is_empty())
                    .map(|known| join(known.into_iter()));
                match &values {
                    Some(values) => {
                        bucket.tied.entry(values.clone()).or_default().insert(id);
                    }
                    None => {
                        bucket.open.insert(id);
                    }
                }
                stands.push((subscription, values));
            }
        }
        if !stands.is_empty() {
            self.of.insert(id, stands);
        }
    }

    fn bucket(
        &mut self,
        subscription: Subscription,
        definition: &Arc<Definition>,
        filter: &EventFilter,
    ) -> &mut Bucket {
        self.buckets.entry(subscription).or_insert_with(|| {
            let program = &definition.program;
            let kind = program.event_type(filter.matcher).map(|kind| Box::from(&*kind));
            self.by_type.entry(kind.clone()).or_default().push(subscription);
            Bucket {
                definition: Arc::clone(definition),
                filter: filter.clone(),
                kind,
                closed: filter.correlate.iter().all(|c| program.sees_only_its_value(c.from)),
                slow: false,
                open: BTreeSet::new(),
                tied: HashMap::new(),
                kept: HashMap::new(),
                kept_to: 0,
                kept_count: 0,
            }
        })
    }

    /// Where an event may find instances.
    pub(super) fn subscriptions(&self, event: &CloudEvent) -> Vec<Subscription> {
        let of_type = self.by_type.get(&Some(Box::from(&*event.kind))).into_iter().flatten();
        let of_any = self.by_type.get(&None).into_iter().flatten();
        of_type.chain(of_any).copied().collect()
    }

    /// Adds the instances that may take an event, and answers the work of it.
    pub(super) fn candidates(
        &mut self,
        subscription: Subscription,
        event: &CloudEvent,
        found: &mut BTreeSet<InstanceId>,
    ) -> u64 {
        let Some(bucket) = self.buckets.get_mut(&subscription) else { return 0 };
        found.extend(&bucket.open);
        if bucket.tied.is_empty() {
            return 0;
        }
        if bucket.slow {
            found.extend(bucket.tied.values().flatten());
            return 0;
        }
        let (values, work) = bucket.values(&self.blank, event);
        found.extend(values.and_then(|values| bucket.tied.get(&values)).into_iter().flatten());
        work
    }

    /// Whether an instance may want events of a type.
    pub(super) fn may_want(&self, id: InstanceId, kind: &str) -> bool {
        let stands = self.of.get(&id).into_iter().flatten();
        let mut buckets = stands.filter_map(|(subscription, _)| self.buckets.get(subscription));
        buckets.any(|bucket| bucket.kind.as_deref().is_none_or(|wanted| wanted == kind))
    }

    /// Positions of the events that came before a listener and that it may still take, in order: only what is tied to
    /// it by a correlation is kept for it. Adds up the work of it; `None` when that was enough for once.
    pub(super) fn kept_for(
        &mut self,
        feed: &Feed,
        up_to: u64,
        instance: &Instance,
        definition: &Definition,
        activation: ActivationId,
        work: &mut u64,
    ) -> Option<BTreeSet<u64>> {
        let mut found = BTreeSet::new();
        let Some((task, listen)) = listen_of(instance, definition, activation) else {
            return Some(found);
        };
        let Some(listening) = instance.activations[&activation].phase.listening() else {
            return Some(found);
        };
        for (number, filter) in numbered(listen) {
            if filter.correlate.is_empty() {
                continue;
            }
            let subscription =
                Subscription { workflow: instance.started.workflow, task, filter: number };
            let Some(bucket) = self.buckets.get_mut(&subscription).filter(|b| b.closed) else {
                continue;
            };
            *work += bucket.index(&self.blank, feed, up_to);
            if bucket.slow {
                let kind = bucket.kind.as_deref();
                found.extend(feed.between(0, up_to, kind).iter().map(|arrived| arrived.position));
                continue;
            }
            if bucket.kept_to < up_to {
                return None;
            }
            let known: Option<Vec<_>> =
                filter.correlate.iter().map(|c| listening.correlation.get(&c.key)).collect();
            match known {
                Some(known) => {
                    found.extend(bucket.kept.get(&join(known.into_iter())).into_iter().flatten());
                }
                None => found.extend(bucket.kept.values().flatten()),
            }
        }
        Some(found)
    }
}

impl Bucket {
    /// What ties an event to instances, `None` when it says nothing of it, and the work of it.
    fn values(&mut self, blank: &Instance, event: &CloudEvent) -> (Option<String>, u64) {
        let scope = Scope {
            workflow: &self.definition.workflow,
            instance: blank,
            value: &event.json,
            input: None,
            output: None,
            task: None,
            variables: &[],
        };
        let evaluator = self.definition.program.turn().about_event();
        let values = self.filter.correlate.iter().map(|correlate| {
            let value = evaluator.value(correlate.from, &scope).ok()?;
            (value.as_str() != "null").then_some(value)
        });
        let values: Option<Vec<Json>> = values.collect();
        let work = evaluator.spent();
        if work >= limits::SLOW_FILTER_WORK {
            self.slow = true;
            self.kept = HashMap::new();
            self.definition.set_slow();
        }
        (values.map(|values| join(values.iter())), work)
    }

    /// Takes in the events that came since, as far as that does not take long, and forgets
    /// those that are gone. Answers the work of it.
    fn index(&mut self, blank: &Instance, feed: &Feed, up_to: u64) -> u64 {
        let mut all = 0;
        if self.slow {
            return all;
        }
        for arrived in feed.between(self.kept_to, up_to, self.kind.as_deref()) {
            if let Some(event) = &arrived.event {
                let (values, work) = self.values(blank, event);
                if let Some(values) = values {
                    self.kept.entry(values).or_default().push(arrived.position);
                    self.kept_count += 1;
                }
                all += work;
            }
            self.kept_to = arrived.position;
            if all >= limits::SLOW_WORK || self.slow {
                return all;
            }
        }
        self.kept_to = self.kept_to.max(up_to);
        if self.kept_count > 2 * limits::EVENTS_KEPT {
            let first = feed.first();
            self.kept.retain(|_, positions| {
                positions.retain(|position| *position >= first);
                !positions.is_empty()
            });
            self.kept_count = self.kept.values().map(Vec::len).sum();
        }
        all
    }
}

fn listen_of<'d>(
    instance: &Instance,
    definition: &'d Definition,
    activation: ActivationId,
) -> Option<(TaskId, &'d Listen)> {
    let task = instance.activations.get(&activation)?.task;
    let kind = &definition.workflow.task(task)?.kind;
    if let Kind::Listen(listen) = kind { Some((task, listen)) } else { None }
}

/// The filters of a listener by the numbers that events name; those of `until` count on.
fn numbered(listen: &Listen) -> impl Iterator<Item = (u32, &EventFilter)> {
    let more = if let Until::Events { filters, .. } = &listen.until { &filters[..] } else { &[] };
    (0..).zip(listen.filters.iter().chain(more))
}

/// JSON as it is compared has no line breaks.
fn join<'j>(values: impl Iterator<Item = &'j Json>) -> String {
    values.map(Json::as_str).collect::<Vec<_>>().join("\n")
}
