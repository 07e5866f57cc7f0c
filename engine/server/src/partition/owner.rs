//! The loop of an owner: gather, decide, append, and act only when the log has answered.
//!
//! One commit is in flight while the next one gathers. What is decided meanwhile is ahead of the log; should the log
//! refuse, all of it is dropped with the owner, and nobody was told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use baton_core::{
    ActivationId, Attempt, Command, Instance, InstanceId, Timestamp, command::Timer,
    workflow::Function,
};
use futures::{FutureExt, StreamExt};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Figures, Reply, Request,
    batch::{After, Batch, Positions},
    beside::Beside,
    family::Kin,
    giving::Giving,
    halting::Halting,
    inbox::Inbox,
    intake::Taking,
    judging::Unjudged,
    lanes::{Asker, Lanes},
    listeners::Listeners,
    persist::Flush,
    queries::{Queries, Query},
    resident::Resident,
    work::Work,
};
use crate::{Engine, broker, cache, clock, error::Refusal, large, limits, log};

pub(super) struct Owner {
    pub(super) engine: Arc<Engine>,
    pub(super) partition: u32,
    pub(super) log: log::Log,
    pub(super) cache: cache::Partition,
    pub(super) work: Work,
    pub(super) residents: HashMap<InstanceId, Resident>,
    /// Residents that the cache does not have as they are.
    pub(super) dirty: BTreeSet<InstanceId>,
    /// Every step that waits for its result, of idle instances too.
    pub(super) steps: BTreeMap<(InstanceId, ActivationId), OpenStep>,
    pub(super) timers: BTreeSet<(Timestamp, InstanceId, ActivationId, Timer)>,
    /// Idempotency keys that the cache does not have yet: workflow and key to instance and digest.
    pub(super) keys: HashMap<(String, String), (InstanceId, [u8; 32])>,
    /// Instances that have not ended.
    pub(super) open: HashSet<InstanceId>,
    /// Sequence of the last inbox message whose contents are decided.
    pub(super) inbox_position: u64,
    /// The message after it, when only a part of it found room in a batch.
    pub(super) taking: Option<Taking>,
    /// The same, as far as the log has it.
    pub(super) inbox_committed: u64,
    /// Questions about attempts that wait for the inbox to be taken.
    pub(super) queries: Queries,
    /// The queue is to be compared with the log once the inbox has been taken up to here.
    pub(super) reconcile_after: Option<u64>,
    /// Position of the last event that all listeners were told of, and the same as far as the log has it.
    pub(super) event_position: u64,
    pub(super) event_committed: u64,
    /// The event of which listeners are being told.
    pub(super) giving: Option<Giving>,
    pub(super) listeners: Listeners,
    /// What waits for single instances.
    pub(super) lanes: Lanes,
    /// Decisions that are made beside this loop.
    pub(super) beside: Beside,
    /// What is to be done between parents and children.
    pub(super) family: VecDeque<Kin>,
    /// What people are asked.
    pub(super) inbox: Inbox,
    /// The queue has been rid of what the owner before left in it.
    pub(super) tidied: bool,
    /// What kill switches hold.
    pub(super) halting: Halting,
    /// Steps about which policies are to be asked.
    pub(super) unjudged: VecDeque<Unjudged>,
    /// The inbox is to be read from [`Owner::inbox_position`] again.
    pub(super) inbox_anew: bool,
    pub(super) unfinished: VecDeque<InstanceId>,
    pub(super) batch: Batch,
    pub(super) now: Timestamp,
    waiters: HashMap<InstanceId, Vec<Reply<Instance>>>,
    watchers: HashMap<InstanceId, Vec<mpsc::Sender<u64>>>,
}

pub(super) struct OpenStep {
    pub attempt: Attempt,
    pub function: Function,
    /// The task's name.
    pub task: Arc<str>,
    pub scheduled_at: Timestamp,
    /// The log has it: before, nobody may hear of it.
    pub logged: bool,
}

struct InFlight {
    answer: Pin<Box<dyn Future<Output = Result<log::Position, Exit>> + Send>>,
    batch: Batch,
    began: Instant,
    bytes: usize,
    inbox_position: u64,
    event_position: u64,
}

impl Owner {
    pub(super) fn new(
        engine: &Arc<Engine>,
        partition: u32,
        log: log::Log,
        cache: cache::Partition,
        work: Work,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            partition,
            log,
            cache,
            work,
            residents: HashMap::new(),
            dirty: BTreeSet::new(),
            steps: BTreeMap::new(),
            timers: BTreeSet::new(),
            keys: HashMap::new(),
            open: HashSet::new(),
            inbox_position: 0,
            taking: None,
            inbox_committed: 0,
            queries: Queries::default(),
            reconcile_after: None,
            event_position: 0,
            event_committed: 0,
            giving: None,
            listeners: Listeners::default(),
            lanes: Lanes::default(),
            beside: Beside::default(),
            family: VecDeque::new(),
            inbox: Inbox::default(),
            tidied: false,
            halting: Halting::default(),
            unjudged: VecDeque::new(),
            inbox_anew: false,
            unfinished: VecDeque::new(),
            batch: Batch::default(),
            now: Timestamp::default(),
            waiters: HashMap::new(),
            watchers: HashMap::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.log.position.epoch
    }

    pub(super) fn open_instances(&self) -> u64 {
        self.open.len() as u64
    }

    #[expect(clippy::too_many_lines, reason = "one loop, one arm for each thing that can happen")]
    pub(super) async fn lead(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        figures: &watch::Sender<Figures>,
        stop: &CancellationToken,
        mut losing: oneshot::Receiver<String>,
    ) -> Result<Infallible, Exit> {
        let mut connections = self.engine.broker.connections();
        connections.mark_unchanged();
        let mut connected = true;
        self.reconcile_soon().await;
        let feed = self.engine.feed.clone();
        let mut inbox = self.open_inbox().await?;
        let mut in_flight: Option<InFlight> = None;
        let mut flush: Option<Flush> = None;
        // No more is gathered until the log has everything: then what is in memory is what the log says.
        let mut closing = false;
        let mut stopping = false;
        // Requests that are still to be decided about, first one first.
        let mut gathered = Vec::new().into_iter();
        let mut tick = tokio::time::interval(limits::CACHE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut slow_tick = tokio::time::interval(Duration::from_secs(1));
        slow_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flushed_at = Instant::now();
        let mut purge = Instant::now() + limits::PURGE_EVERY;
        loop {
            if !closing {
                self.look_at_switches();
                self.judge().await?;
                self.halt().await?;
            }
            if in_flight.is_none() && (!self.batch.is_empty() || self.has_positions_to_note()) {
                in_flight = Some(self.append());
            }
            if closing && in_flight.is_none() && self.batch.is_empty() && flush.is_none() {
                flush = self.flush();
                if stopping && flush.is_none() {
                    // Where the log ends is signed once more.
                    figures.send_replace(self.figures());
                    return Err(Exit::Shutdown);
                }
                closing = stopping;
            }
            if std::mem::take(&mut self.inbox_anew) {
                inbox = self.open_inbox().await?;
            }
            if self.reconcile_after.is_some_and(|sequence| sequence <= self.inbox_position) {
                self.reconcile_after = None;
                self.reconcile().await?;
            }
            self.answer_queries();
            let crowded = self.dirty.len() >= limits::CACHE_CHANGES_MAX;
            closing |= crowded && flush.is_none();
            let gathering = !closing && !crowded && !self.batch.is_full();
            let timer = self.next_timer();
            let seen = self.event_position;
            self.begin_beside().await?;
            tokio::select! { biased;
                appended = async { in_flight.as_mut().expect("the guard saw one").answer.as_mut().await }, if in_flight.is_some() => {
                    let landed = in_flight.take().expect("the guard saw one");
                    let position = appended?;
                    self.log.position = position;
                    self.inbox_committed = landed.inbox_position;
                    self.event_committed = landed.event_position;
                    let metrics = &self.engine.metrics;
                    if !landed.batch.instances.is_empty() {
                        metrics.committed(landed.began.elapsed(), landed.bytes);
                    }
                    self.landed(position.sequence, landed.batch).await;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    closing = true;
                }
                holder = &mut losing => return Err(Exit::LeaseLost(holder.unwrap_or_default())),
                written = async { flush.as_mut().expect("the guard saw one").done().await }, if flush.is_some() => {
                    let flushed = flush.take().expect("the guard saw one");
                    written?;
                    self.flushed(&flushed);
                    flushed_at = Instant::now();
                }
                made = self.beside.next(), if gathering => self.made(made).await?,
                // What parents and children owe each other comes before anything new.
                () = std::future::ready(()), if gathering && !self.family.is_empty() => self.settle_family().await?,
                () = std::future::ready(()), if gathering && gathered.len() > 0 => {
                    while !self.batch.is_full() && let Some(request) = gathered.next() {
                        self.request(request).await?;
                    }
                }
                more = received(requests), if gathering && gathered.len() == 0 => gathered = more.into_iter(),
                () = std::future::ready(()), if gathering && self.taking.is_some() => self.take_results().await?,
                message = inbox.next(), if gathering && self.taking.is_none() => {
                    let mut next = message;
                    loop {
                        match next {
                            Some(Ok(message)) => self.take_message(&message).await?,
                            Some(Err(error)) => {
                                tracing::warn!(partition = self.partition, %error, "The inbox is read anew");
                                inbox = self.open_inbox().await?;
                                break;
                            }
                            None => {
                                inbox = self.open_inbox().await?;
                                break;
                            }
                        }
                        if self.batch.is_full() {
                            break;
                        }
                        match inbox.next().now_or_never() {
                            Some(more) => next = more,
                            None => break,
                        }
                    }
                }
                () = wait_for(timer), if gathering && timer.is_some() => self.fire_due().await?,
                () = feed.reached(seen), if gathering && self.lanes.is_catching_up() => {
                    self.catch_up().await?;
                    self.give_events().await?;
                }
                () = std::future::ready(()), if gathering && self.giving.is_some() && !self.too_many_behind() => self.give_events().await?,
                () = feed.beyond(seen), if gathering && self.giving.is_none() && !self.too_many_behind() => self.give_events().await?,
                () = std::future::ready(()), if gathering && !self.unfinished.is_empty() => {
                    self.go_on().await?;
                }
                // The next turn goes on with it.
                () = tokio::task::yield_now(), if gathering && self.halting.has_work() => {}
                _ = tick.tick() => {
                    let due = self.dirty.len() <= limits::CACHE_CHANGES_FEW
                        || flushed_at.elapsed() >= limits::CACHE_EVERY_BUSY;
                    closing |= due && flush.is_none() && !self.dirty.is_empty();
                }
                _ = slow_tick.tick() => {
                    figures.send_replace(self.figures());
                    self.forget_idle();
                    if gathering {
                        self.void_approvals().await?;
                        let now = self.tell_time();
                        self.halting.rearm_due(now);
                    }
                    self.lanes.queue_stalled();
                    if Instant::now() >= purge {
                        purge = Instant::now() + limits::PURGE_EVERY;
                        self.purge_inbox();
                    }
                }
                changed = connections.changed(), if connected => {
                    connected = changed.is_ok();
                    tracing::info!(partition = self.partition, "NATS is back: comparing the queue with the log");
                    self.engine.registry.restore_queues().await;
                    self.reconcile_soon().await;
                    // The broker may have forgotten the reader, which itself looks after it only each half minute.
                    self.inbox_anew = true;
                }
            }
        }
    }

    async fn open_inbox(&self) -> Result<pull::Ordered, Exit> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.inbox_position + 1,
            },
            ..Default::default()
        };
        let name = broker::inbox_stream(self.partition);
        let mut last = String::new();
        for _ in 0..limits::APPEND_TRIES {
            let opened = async {
                let stream = self
                    .engine
                    .broker
                    .jetstream
                    .get_stream_no_info(&name)
                    .await
                    .map_err(|e| e.to_string())?;
                let consumer =
                    stream.create_consumer(config.clone()).await.map_err(|e| e.to_string())?;
                consumer.messages().await.map_err(|e| e.to_string())
            };
            match opened.await {
                Ok(messages) => return Ok(messages),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(Exit::Broker(last))
    }

    /// Sends the gathered batch to the log. A batch that holds only answers needs no commit.
    fn append(&mut self) -> InFlight {
        let mut batch = std::mem::take(&mut self.batch);
        let objects = self.engine.objects.clone();
        let large = std::mem::take(&mut batch.large);
        let position = self.log.position;
        let bytes = batch.bytes();
        let unwritten = batch.instances.is_empty() && !self.has_positions_to_note();
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = if unwritten {
            Box::pin(std::future::ready(Ok(position)))
        } else {
            let positions = Positions {
                inbox: self.inbox_floor(),
                events: self.event_position,
                behind: self.lanes.all_behind(),
            };
            let body = batch.take_body(self.now, &positions);
            let append = self.log.append(body);
            Box::pin(async move {
                if !large.is_empty() {
                    large::store(&objects, large).await?;
                }
                Ok(append.await?)
            })
        };
        let (inbox_position, event_position) = if unwritten {
            (self.inbox_committed, self.event_committed)
        } else {
            (self.inbox_floor(), self.event_position)
        };
        InFlight { answer, batch, bytes, began: Instant::now(), inbox_position, event_position }
    }

    /// All up to here in the inbox is decided about.
    fn inbox_floor(&self) -> u64 {
        self.lanes
            .first_held()
            .map_or(self.inbox_position, |held| self.inbox_position.min(held - 1))
    }

    /// Others must wait for them then: a commit names each.
    pub(super) fn too_many_behind(&self) -> bool {
        self.lanes.all_behind().len() >= limits::BEHIND_MAX
    }

    /// Many events went by that nobody wanted: a commit says so, lest all of them be looked at again after a restart.
    fn has_positions_to_note(&self) -> bool {
        self.event_position.saturating_sub(self.event_committed) >= limits::EVENTS_UNNOTED_MAX
    }

    /// The log has answered: now the world may know.
    async fn landed(&mut self, sequence: u64, batch: Batch) {
        for id in &batch.instances {
            if let Some(resident) = self.residents.get_mut(id) {
                resident.appended(sequence);
            }
            if !self.watchers.is_empty()
                && let Some(watchers) = self.watchers.get_mut(id)
            {
                // Who lags behind or has gone is dropped, and reads the history again.
                watchers.retain(|watcher| watcher.try_send(sequence).is_ok());
            }
        }
        if let Some(traces) = &self.engine.traces {
            traces.write(batch.spans);
        }
        if let Some(lifecycle) = &self.engine.lifecycle {
            lifecycle.write(batch.told);
        }
        let (mut withdrawn, mut told) = (Vec::new(), Vec::new());
        for after in batch.after {
            match after {
                After::Dispatch { instance, step, attempt } => {
                    if let Some(open) = self.steps.get_mut(&(instance, step))
                        && open.attempt == attempt
                    {
                        open.logged = true;
                    }
                    self.send_command(instance, step, attempt, false).await;
                }
                After::Withdraw { instance, step, attempt, function } => {
                    withdrawn.push((function, instance, step, attempt));
                }
                After::Stopped { told: who } => told.extend(who),
                After::Ended { instance } => {
                    self.watchers.remove(&instance);
                    if let Some(resident) = self.residents.get(&instance) {
                        for waiter in self.waiters.remove(&instance).unwrap_or_default() {
                            let _ = waiter.send(Ok(resident.instance.clone()));
                        }
                    }
                }
                After::ClaimKey { instance, step, attempt } => {
                    self.claim_key(instance, step, attempt);
                }
                After::Publish { department, instance, activation, event } => {
                    self.work.emit(department, instance, activation, event);
                }
                After::Answer(answer) => answer(),
            }
        }
        self.work.withdraw(withdrawn, told);
        self.work.confirm();
    }

    async fn request(&mut self, request: Request) -> Result<(), Exit> {
        match request {
            Request::Start { id, started, definition, digest, reply } => {
                self.start(id, started, definition, digest, reply)?;
            }
            Request::FindKey { started, digest, reply } => {
                let outcome = self.started_before(&started, digest)?.transpose();
                self.answer(reply, outcome);
            }
            Request::Command { id, command, reply } => {
                if self.resident(id).await?.is_some() {
                    self.command(id, command, Asker::Client(reply));
                } else {
                    self.answer(reply, Err(Refusal::UnknownInstance(id.to_string())));
                }
            }
            Request::Get { id, reply } => {
                let found =
                    self.look(id).await?.ok_or_else(|| Refusal::UnknownInstance(id.to_string()));
                self.answer(reply, found);
            }
            Request::Await { id, reply } => {
                if self.open.contains(&id) {
                    let waiters = self.waiters.entry(id).or_default();
                    waiters.retain(|waiter| !waiter.is_closed());
                    waiters.push(reply);
                } else {
                    let found = self.look(id).await?;
                    self.answer(
                        reply,
                        found.ok_or_else(|| Refusal::UnknownInstance(id.to_string())),
                    );
                }
            }
            Request::Positions { id, watcher, reply } => {
                let mut positions = self.cache.positions(&id.0)?;
                if let Some(resident) = self.residents.get(&id) {
                    positions.extend(&resident.positions);
                }
                positions.sort_unstable();
                positions.dedup();
                let known = !positions.is_empty();
                if let Some(watcher) = watcher.filter(|_| known || self.residents.contains_key(&id))
                {
                    self.watchers.entry(id).or_default().push(watcher);
                }
                let found = if known || self.residents.contains_key(&id) {
                    Ok(positions)
                } else {
                    Err(Refusal::UnknownInstance(id.to_string()))
                };
                let _ = reply.send(found);
            }
            Request::AttemptOpen { id, step, attempt, reply } => {
                self.attempt_open(Query { id, step, attempt, reply });
            }
            Request::Inbox { reply } => {
                let items = self.inbox.items().cloned().collect();
                self.answer(reply, Ok(items));
            }
            Request::KeyAnswered { id, step, attempt, answer } => {
                if self.resident(id).await?.is_some() {
                    let command = Command::SettleKey { activation: step, attempt, answer };
                    self.command(id, command, Asker::Nobody);
                }
            }
            Request::KeyState { id, step, key, reply } => {
                let state = self.key_state(id, step, &key).await?;
                self.answer(reply, state);
            }
            Request::IsClaiming { id, step, attempt, reply } => {
                let claims = self.is_claiming(id, step, attempt).await?;
                self.answer(reply, Ok(claims));
            }
            Request::Switched { reply } => self.tell_when_stopped(reply),
            Request::Held { switch, reply } => {
                let held = self.held(switch);
                self.answer(reply, Ok(held));
            }
            Request::WouldStop { scope, reply } => {
                let steps = self.would_stop(&scope).await?;
                self.answer(reply, Ok(steps));
            }
            Request::InboxEnds { question, sequence } => self.inbox_ends(question, sequence),
            Request::Published { id, activation } => {
                if self.resident(id).await?.is_some() {
                    self.command(id, Command::PublishedEvent { activation }, Asker::Nobody);
                }
            }
            Request::Reconcile => self.reconcile_soon().await,
        }
        Ok(())
    }

    /// Answers when the log has all that was decided before.
    pub(super) fn answer<T: Send + Sync + 'static>(
        &mut self,
        reply: Reply<T>,
        outcome: Result<T, Refusal>,
    ) {
        self.batch.after.push(After::Answer(Box::new(move || {
            let _ = reply.send(outcome);
        })));
    }

    /// One decision more for an instance that has work left.
    async fn go_on(&mut self) -> Result<(), Exit> {
        if let Some(id) = self.unfinished.pop_front()
            && self.resident(id).await?.is_some()
        {
            if self.is_beside(id) {
                self.queue_beside(id);
                return Ok(());
            }
            let _ = self.decide(id, Command::Continue);
            // There may always be more to go on with, and nobody else runs what this task has just woken: without this,
            // the broker's connection stands still.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn fire_due(&mut self) -> Result<(), Exit> {
        let now = self.tell_time();
        while !self.batch.is_full()
            && let Some(due) = self.timers.first().copied().filter(|(at, ..)| *at <= now)
        {
            self.timers.remove(&due);
            let (_, id, activation, timer) = due;
            if self.resident(id).await?.is_some() {
                self.command(id, Command::FireTimer { activation, timer }, Asker::Nobody);
            }
        }
        Ok(())
    }

    /// The time of the batch that is being gathered: what is decided for one commit happens at one time, so that
    /// replaying it tells the same. Never goes back, whatever the clock does.
    pub(super) fn tell_time(&mut self) -> Timestamp {
        if self.batch.instances.is_empty() {
            self.now = self.now.max(clock::now());
        }
        self.now
    }

    /// The next timer, unless it is due only after the time of the batch that is being gathered.
    fn next_timer(&self) -> Option<Timestamp> {
        let at = self.timers.first().map(|(at, ..)| *at)?;
        (self.batch.instances.is_empty() || at <= self.now).then_some(at)
    }

    fn figures(&self) -> Figures {
        let mut open_steps: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        for step in self.steps.values() {
            let (count, oldest) =
                open_steps.entry(step.function.to_string()).or_insert((0, i64::MAX));
            *count += 1;
            *oldest = (*oldest).min(step.scheduled_at.0);
        }
        Figures {
            log_position: self.log.position.sequence,
            log_chain: self.log.position.chain,
            open_instances: self.open_instances(),
            resident_instances: self.residents.len() as u64,
            open_steps,
        }
    }

    /// What the log has need not stay in the inbox.
    fn purge_inbox(&self) {
        let keep_from = self.inbox_committed + 1;
        let jetstream = self.engine.broker.jetstream.clone();
        let name = broker::inbox_stream(self.partition);
        tokio::spawn(async move {
            if let Ok(stream) = jetstream.get_stream_no_info(name).await {
                let _ = stream.purge().sequence(keep_from).await;
            }
        });
    }
}

/// What has arrived, as soon as something has.
async fn received(requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut gathered = Vec::new();
    requests.recv_many(&mut gathered, 256).await;
    gathered
}

/// Sleeps until a time on the clock, looking at the clock again at least every second: it may jump.
async fn wait_for(at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    loop {
        let now = clock::now();
        if now >= at {
            return;
        }
        tokio::time::sleep(Duration::from_millis(at.since(now).0.min(1_000))).await;
    }
}
