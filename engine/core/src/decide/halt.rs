//! What a kill switch has stopped: a late answer is only put on record, and the step begins anew once it may.

use crate::{
    command::Rejection,
    id::{ActivationId, Attempt},
    instance::Instance,
};

/// A switch has stopped this attempt.
pub(super) fn expect_halted(
    instance: &Instance,
    activation: ActivationId,
    attempt: Attempt,
) -> Result<(), Rejection> {
    let step = instance.halted_step(activation).filter(|step| step.attempt == attempt);
    if step.is_none() {
        return Err(Rejection::NotAwaited);
    }
    // Nothing new begins. Resuming looks again.
    if instance.suspended { Err(Rejection::InstanceSuspended) } else { Ok(()) }
}

/// A switch has stopped this attempt, and its worker has not answered since.
pub(super) fn is_late(instance: &Instance, activation: ActivationId, attempt: Attempt) -> bool {
    let step = instance.halted_step(activation).filter(|step| step.attempt == attempt);
    step.and_then(|step| step.halt.as_ref()).is_some_and(|halt| !halt.answered)
}
