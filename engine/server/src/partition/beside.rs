//! Decisions that take long are made beside the loop, on threads of their own, so that nobody else waits for them: one
//! at a time about one instance, and what comes for it meanwhile is held. What they say is recorded by the loop.

use std::{num::NonZero, panic, sync::Arc};

use baton_core::{
    ActivationId, Command, Error as WorkflowError, Event, InstanceId, Rejection, Timestamp,
};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

use super::{
    Exit,
    decisions::decide,
    giving::ToShow,
    lanes::{Asked, Asker, Turn},
    owner::Owner,
    resident::Resident,
    starts::Starting,
};
use crate::{error::Refusal, limits};

/// How many such decisions a process makes at once: those that may turn out short, and those of instances whose last one
/// was long, so that these do not keep the former waiting.
pub struct Threads([Arc<Semaphore>; 2]);

impl Default for Threads {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let some = || Arc::new(Semaphore::new((cores - 1).max(1)));
        Self([some(), some()])
    }
}

/// The decisions of a partition that are being made: one of each kind at most.
#[derive(Default)]
pub(super) struct Beside {
    jobs: JoinSet<Made>,
    busy: [bool; 2],
}

impl Beside {
    /// The next one that is made, as long as any is being made.
    pub(super) async fn next(&mut self) -> Result<Made, JoinError> {
        match self.jobs.join_next().await {
            Some(made) => made,
            None => std::future::pending().await,
        }
    }
}

/// What was made.
pub(super) struct Made {
    slow: bool,
    work: u64,
    of: MadeOf,
}

enum MadeOf {
    Decision { id: InstanceId, about: About, decided: Result<Vec<Event>, Rejection> },
    Start { starting: Box<Starting>, begun: Result<Vec<Event>, WorkflowError> },
}

enum About {
    Held(Asked),
    Event { position: u64, listener: Option<ActivationId> },
    More,
}

impl Owner {
    /// A decision about the instance is to be made beside the loop.
    pub(super) fn hold(&mut self, id: InstanceId, asked: Asked) {
        if matches!(asked.asker, Asker::Client(_)) {
            if self.lanes.too_many_clients() {
                return self.tell(id, asked.asker, Err(Refusal::Overloaded));
            }
            self.lanes.queue_for_client(id);
        }
        self.lanes.hold(id, asked);
        self.queue_beside(id);
    }

    /// Whether nothing may be decided about it in the loop.
    pub(super) fn is_beside(&self, id: InstanceId) -> bool {
        self.residents.get(&id).is_some_and(Resident::is_slow) || self.lanes.is_running(id)
    }

    pub(super) fn queue_beside(&mut self, id: InstanceId) {
        let slow = self.residents.get(&id).is_some_and(|resident| resident.slow);
        self.lanes.queue(id, slow);
    }

    /// Begins what there is a thread for.
    pub(super) async fn begin_beside(&mut self) -> Result<(), Exit> {
        for slow in [false, true] {
            while !self.beside.busy[usize::from(slow)] {
                let Some(turn) = self.lanes.next_turn(slow) else { break };
                match turn {
                    Turn::Start(starting) => self.make(slow, move |now, guards| {
                        let turn = starting.definition.program.patient_turn().guarded(guards);
                        let (begun, work) = starting.decide(&turn, now);
                        (work, MadeOf::Start { starting, begun })
                    }),
                    Turn::Lane(id) => self.take_turn(slow, id).await?,
                }
            }
        }
        Ok(())
    }

    async fn take_turn(&mut self, slow: bool, id: InstanceId) -> Result<(), Exit> {
        if self.lanes.of(id).running {
            return Ok(());
        }
        let Some((command, about)) = self.next_about(id).await? else { return Ok(()) };
        let resident = &self.residents[&id];
        let definition = resident.definition.clone().expect("who is slow has its workflow");
        let mut instance = resident.instance.clone();
        self.lanes.of(id).running = true;
        self.make(slow, move |now, guards| {
            let turn = definition.program.patient_turn().guarded(guards);
            let (decided, work) = decide(&definition, turn, &mut instance, now, command);
            (work, MadeOf::Decision { id, about, decided })
        });
        Ok(())
    }

    /// The job is told the time, and whether steps need a verdict.
    fn make(
        &mut self,
        slow: bool,
        job: impl FnOnce(Timestamp, bool) -> (u64, MadeOf) + Send + 'static,
    ) {
        let now = self.tell_time();
        let guards = self.engine.policies.count(now);
        self.beside.busy[usize::from(slow)] = true;
        let threads = Arc::clone(&self.engine.threads.0[usize::from(slow)]);
        self.beside.jobs.spawn(async move {
            let _thread = threads.acquire_owned().await;
            let made = tokio::task::spawn_blocking(move || job(now, guards)).await;
            let (work, of) = made.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
            Made { slow, work, of }
        });
    }

    /// What an instance is to decide about next: what clients ask, what has come, and in turn an event and whatever it
    /// has to go on with.
    async fn next_about(&mut self, id: InstanceId) -> Result<Option<(Command, About)>, Exit> {
        if self.resident(id).await?.is_none() {
            self.lanes.forget(id);
            return Ok(None);
        }
        if let Some(asked) = self.lanes.next_held(id) {
            let mut command = asked.command.clone();
            // What was true when it was held may no longer be: policies are asked now. When nobody waits for it any more,
            // the instance refuses it.
            if let Command::Judge { activation, attempt, judgement } = &mut command
                && let Some(now) = self.judgement(id, *activation, *attempt)
            {
                *judgement = Arc::new(now);
            }
            return Ok(Some((command, About::Held(asked))));
        }
        let more = self.residents[&id].has_more();
        let heard = std::mem::take(&mut self.lanes.of(id).heard);
        if !(more && heard) {
            match self.next_to_show(id).await? {
                ToShow::Event { arrived, listener } => {
                    if let Some(event) = &arrived.event {
                        self.lanes.of(id).heard = true;
                        let position = arrived.position;
                        let command = self.taking(id, position, event, listener);
                        return Ok(Some((command, About::Event { position, listener })));
                    }
                }
                ToShow::Later => {
                    // In the loop, where others have their turn before the next part.
                    self.lanes.queue_catching_up(id);
                    return Ok(None);
                }
                ToShow::Nothing => {}
            }
        }
        if more {
            return Ok(Some((Command::Continue, About::More)));
        }
        self.lanes.has_more(id);
        Ok(None)
    }

    /// Records what was made beside the loop.
    pub(super) async fn made(&mut self, made: Result<Made, JoinError>) -> Result<(), Exit> {
        let Made { slow, work, of } =
            made.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
        self.beside.busy[usize::from(slow)] = false;
        let (id, about, decided) = match of {
            MadeOf::Start { starting, begun } => {
                self.lanes.start_made(&starting);
                return self.begun_beside(*starting, begun).await;
            }
            MadeOf::Decision { id, about, decided } => (id, about, decided),
        };
        let now = self.tell_time();
        let told = self.engine.lifecycle.is_some();
        let resident = self.resident(id).await?.expect("an instance that is decided about stays");
        resident.slow = work >= limits::SLOW_WORK;
        if told {
            resident.remember_what_was_told();
        }
        for event in decided.iter().flatten() {
            baton_core::apply(&mut resident.instance, event, now);
        }
        self.lanes.of(id).running = false;
        if let Ok(events) = &decided {
            self.decided(id, events);
        }
        match about {
            About::Held(asked) => {
                self.lanes.settled(id, &asked);
                self.tell(id, asked.asker, decided.map(drop).map_err(Refusal::Rejected));
            }
            About::Event { position, listener } => self.lanes.shown(id, position, listener),
            About::More => {}
        }
        if let Some(from) = self.lanes.read_again_from() {
            self.inbox_position = from - 1;
            self.inbox_anew = true;
        }
        if self.lanes.has_client(id) {
            self.lanes.queue_for_client(id);
        }
        if self.lanes.has_more(id) || self.residents[&id].has_more() {
            self.queue_beside(id);
        }
        Ok(())
    }
}
