//! How far an instance is with undoing what it has done.

use alloc::{boxed::Box, vec::Vec};

use super::{get_mut, set_ready};
use crate::{
    error::Error,
    event::Cause,
    id::ActivationId,
    instance::{Compensating, Instance, Phase, Ready},
};

/// Only the root remains, and time stands still no longer.
pub(super) fn begin(instance: &mut Instance, cause: &Cause) {
    let root = ActivationId::ROOT;
    instance.compensating =
        Some(Box::new(Compensating { cause: cause.clone(), failed: Vec::new() }));
    instance.suspended = false;
    instance.activations.retain(|id, _| *id == root);
    instance.ready.clear();
    let activation = get_mut(instance, root);
    activation.phase = Phase::Plain;
    activation.deadline = None;
    set_ready(instance, root, Some(Ready::Exit));
}

/// A list of the root is the next one that undoes something.
pub(super) fn entered(instance: &mut Instance, parent: ActivationId) {
    if parent == ActivationId::ROOT {
        instance.compensations.pop();
    }
}

pub(super) fn fail(instance: &mut Instance, error: &Error) {
    if let Some(compensating) = &mut instance.compensating {
        compensating.failed.push(error.clone());
    }
    set_ready(instance, ActivationId::ROOT, Some(Ready::Exit));
}
