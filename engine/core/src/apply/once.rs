//! How far what has a key has come.

use alloc::sync::Arc;

use super::get_mut;
use crate::{
    id::ActivationId,
    instance::{Instance, Phase},
    json::Json,
    limits,
    once::{Fate, Kept},
};

pub(super) fn claimed(instance: &mut Instance, id: ActivationId, guarded: bool) {
    if let Phase::Step(step) = &mut get_mut(instance, id).phase
        && let Some(claim) = &mut step.once
    {
        claim.held = true;
        let key = Arc::clone(&claim.key.text);
        let fate = if guarded { Fate::Claimed } else { Fate::Out };
        instance.keys.insert(id, Kept { key, fate, undoable: false });
    }
}

pub(super) fn sent_out(instance: &mut Instance, id: ActivationId) {
    if let Some(kept) = instance.keys.get_mut(&id) {
        kept.fate = Fate::Out;
    }
}

pub(super) fn done(instance: &mut Instance, id: ActivationId, output: &Json) {
    if let Some(kept) = instance.keys.get_mut(&id) {
        let fits = output.len() <= limits::ONCE_OUTPUT_BYTES_MAX;
        kept.fate = Fate::Done(fits.then(|| output.clone()));
    }
}

pub(super) fn resolved(instance: &mut Instance, id: ActivationId, happened: bool) {
    if let Some(kept) = instance.keys.get_mut(&id) {
        kept.fate = if happened { Fate::Done(None) } else { Fate::Undone };
    }
}

pub(super) fn undoable(instance: &mut Instance, id: ActivationId) {
    if let Some(kept) = instance.keys.get_mut(&id) {
        kept.undoable = true;
    }
}

/// All that could be undone is.
pub(super) fn undone(instance: &mut Instance) {
    for kept in instance.keys.values_mut() {
        if kept.undoable && matches!(kept.fate, Fate::Done(_)) {
            kept.fate = Fate::Undone;
        }
    }
}
