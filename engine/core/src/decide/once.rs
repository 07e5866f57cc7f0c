//! Keys of what must happen once: evaluated when the step begins, and held before it goes out.

use super::{Decision, enter::limit};
use crate::{
    command::Rejection,
    error::{Error, Standard},
    event::{Event, Report},
    id::{ActivationId, Attempt},
    instance::Instance,
    limits,
    once::{self, Answer, Key, State},
    workflow::Once,
};

/// This attempt waits for its key.
pub(super) fn expect_claiming(
    instance: &Instance,
    activation: ActivationId,
    attempt: Attempt,
) -> Result<(), Rejection> {
    let step = instance.claiming_step(activation).filter(|step| step.attempt == attempt);
    if step.is_none() {
        return Err(Rejection::NotAwaited);
    }
    // Nothing new begins. Resuming asks again.
    if instance.suspended { Err(Rejection::InstanceSuspended) } else { Ok(()) }
}

/// The engine cannot know whether what has this key has happened.
pub(super) fn expect_unknown(
    instance: &Instance,
    activation: ActivationId,
) -> Result<(), Rejection> {
    match instance.key_state(activation) {
        Some(State::Unknown) => Ok(()),
        Some(State::Claimed | State::Committed(_) | State::Free) | None => {
            Err(Rejection::NotAwaited)
        }
    }
}

impl Decision<'_> {
    pub(super) fn key(&self, id: ActivationId, once: Once) -> Result<Key, Error> {
        if self.instance.keys.len() >= limits::ONCE_KEYS_MAX {
            return Err(limit("the instance has taken too many keys"));
        }
        let input = &self.activation(id).input;
        let key = self.scoped(id, input, None, |e, scope| e.value(once.key, scope))?;
        let text = once::text_of(&key, limits::ONCE_KEY_BYTES_MAX).ok_or_else(|| {
            let what = "the key of `once` is no number, and no text of 1 to 256 plain characters";
            Error::standard(Standard::Expression, "Not a key", what)
        })?;
        Ok(Key { text, attach: once.attach })
    }

    pub(super) fn settle_key(
        &mut self,
        activation: ActivationId,
        attempt: Attempt,
        answer: Answer,
    ) {
        let step = self.instance.claiming_step(activation).expect("it waits for its key");
        let guarded = step.guard.is_some();
        let key = step.once.as_deref().map(|claim| claim.key.text.clone());
        self.record(match answer {
            Answer::Held => Event::KeyClaimed { activation, attempt, guarded },
            Answer::Attached { by, output } => {
                Event::KeyAttached { activation, attempt, by, output }
            }
            Answer::Refused { by, state } => {
                let error = once::refused(key.as_deref().unwrap_or_default(), by, &state);
                let error = error.at(&self.task(activation).pointer);
                let report = Report::default();
                Event::StepFailed { activation, attempt, error, retry_at: None, report }
            }
        });
    }
}
