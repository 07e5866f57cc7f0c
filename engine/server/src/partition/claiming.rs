//! Steps that must hold a key before they go out: asks beside the loop who holds it, and tells the owner.

use std::sync::Arc;

use baton_core::{
    ActivationId, Attempt, InstanceId,
    once::{Answer, Key, State},
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Exit, Request, owner::Owner, partition_of, resident::Resident};
use crate::{
    Engine,
    error::Refusal,
    limits,
    once::{Error, Found, Holder},
};

/// A step that wants its key.
pub(super) struct Claiming {
    pub department: Arc<str>,
    pub key: Key,
    pub holder: Holder,
    pub attempt: Attempt,
}

/// Asks until there is an answer, and tells the owner.
pub(super) fn claim(
    engine: &Arc<Engine>,
    owner: mpsc::Sender<Request>,
    under_way: &Arc<Semaphore>,
    gone: CancellationToken,
    claiming: Claiming,
) {
    let (engine, under_way) = (Arc::clone(engine), Arc::clone(under_way));
    tokio::spawn(async move {
        let Holder { instance: id, step } = claiming.holder;
        let attempt = claiming.attempt;
        let asked = async {
            let mut told = false;
            loop {
                let permit = under_way.acquire().await;
                let found = claiming.ask(&engine).await;
                drop(permit);
                match found {
                    Ok(Some(answer)) => break Some(answer),
                    Ok(None) => {}
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!(%error, instance = %id, key = %claiming.key.text, "Who holds a key is not known yet");
                        }
                    }
                }
                tokio::time::sleep(limits::CLAIM_AGAIN).await;
                // Nobody takes a key for a step that has ended meanwhile.
                let (reply, wanted) = oneshot::channel();
                let _ = owner.send(Request::IsClaiming { id, step, attempt, reply }).await;
                if let Ok(Ok(false)) = wanted.await {
                    break None;
                }
            }
        };
        // The next owner asks again, should this one go before.
        tokio::select! { biased;
            () = gone.cancelled() => {}
            answer = asked => if let Some(answer) = answer {
                let _ = owner.send(Request::KeyAnswered { id, step, attempt, answer }).await;
            },
        }
    });
}

#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Keys(#[from] Error),
    #[error("the instance that holds it does not answer: {0}")]
    Holder(#[from] Refusal),
}

impl Claiming {
    /// None: it is to be asked again later.
    async fn ask(&self, engine: &Engine) -> Result<Option<Answer>, Unknown> {
        let (department, key) = (&*self.department, &*self.key.text);
        let Some(found) = engine.keys.take(department, key, self.holder).await? else {
            return Ok(Some(Answer::Held));
        };
        if found.holder == self.holder {
            return Ok(Some(Answer::Held));
        }
        let by = found.holder.instance;
        let state = state_of(engine, &found, key).await?;
        let own = by == self.holder.instance;
        match state {
            // What was tried before in this instance is tried again, under the same idempotency key.
            State::Free => self.take_over(engine, found).await,
            State::Unknown if own => self.take_over(engine, found).await,
            State::Committed(Some(output)) if self.key.attach => {
                Ok(Some(Answer::Attached { by, output }))
            }
            State::Claimed if self.key.attach && !own => Ok(None),
            State::Claimed | State::Committed(_) | State::Unknown => {
                Ok(Some(Answer::Refused { by, state }))
            }
        }
    }

    async fn take_over(&self, engine: &Engine, from: Found) -> Result<Option<Answer>, Unknown> {
        let (department, key) = (&*self.department, &*self.key.text);
        let taken = engine.keys.take_over(department, key, self.holder, from).await?;
        Ok(taken.then_some(Answer::Held))
    }
}

/// How it stands with a key, by the word of the instance whose step holds it.
async fn state_of(engine: &Engine, found: &Found, key: &str) -> Result<State, Refusal> {
    let Holder { instance: id, step } = found.holder;
    let handle = engine.handle(partition_of(id))?;
    handle.ask(|reply| Request::KeyState { id, step, key: key.into(), reply }).await
}

impl Owner {
    /// The key that an open step wants to hold.
    pub(super) fn claiming(
        resident: &Resident,
        step: ActivationId,
        attempt: Attempt,
    ) -> Option<Claiming> {
        let instance = &resident.instance;
        let wanted = instance.claiming_step(step).filter(|wanted| wanted.attempt == attempt)?;
        let key = wanted.once.as_deref()?.key.clone();
        let department = Arc::clone(&resident.function(step)?.department);
        Some(Claiming { department, key, holder: Holder { instance: instance.id, step }, attempt })
    }

    /// Has the key of a step asked for, when the log has the step.
    pub(super) fn claim_key(&self, id: InstanceId, step: ActivationId, attempt: Attempt) {
        let resident = self.residents.get(&id);
        if let Some(claiming) = resident.and_then(|it| Self::claiming(it, step, attempt)) {
            self.work.claim(&self.engine, claiming);
        }
    }

    /// How it stands with a key that was last held by this step. A record of a step that this owner does not know is newer than
    /// what it knows, or the log is older than the record: then nobody can tell.
    pub(super) async fn key_state(
        &self,
        id: InstanceId,
        step: ActivationId,
        key: &str,
    ) -> Result<Result<State, Refusal>, Exit> {
        let instance = self.look(id).await?;
        let known = instance.filter(|instance| step < instance.next_activation);
        let unknown = || Refusal::UnknownInstance(format!("{id} with a step {}", step.0));
        Ok(known.map(|instance| instance.word_on_key(key, step)).ok_or_else(unknown))
    }

    /// Whether a step still waits for its key.
    pub(super) async fn is_claiming(
        &self,
        id: InstanceId,
        step: ActivationId,
        attempt: Attempt,
    ) -> Result<bool, Exit> {
        let instance = self.look(id).await?;
        let step = instance.as_ref().and_then(|instance| instance.claiming_step(step));
        Ok(step.is_some_and(|step| step.attempt == attempt))
    }
}
