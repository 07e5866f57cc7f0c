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

/// Whoever has looked knows of all that may have done it.
pub(super) fn resolved(instance: &mut Instance, id: ActivationId, happened: bool) {
    let Some(key) = instance.keys.get(&id).map(|kept| Arc::clone(&kept.key)) else { return };
    let unknown = instance.keys.values_mut().filter(|kept| kept.key == key);
    for kept in unknown.filter(|kept| kept.fate == Fate::Out) {
        kept.fate = if happened { Fate::Done(None) } else { Fate::Undone };
    }
}

pub(super) fn undoable(instance: &mut Instance, id: ActivationId) {
    if let Some(kept) = instance.keys.get_mut(&id) {
        kept.undoable = true;
    }
}

/// Nobody undoes any more what is left.
pub(super) fn given_up(instance: &mut Instance) {
    for kept in instance.keys.values_mut() {
        kept.undoable = false;
    }
}

/// The instance has ended; `undone`: after all that could be undone was.
pub(super) fn ended(instance: &mut Instance, undone: bool) {
    for kept in instance.keys.values_mut() {
        if undone && kept.undoable && matches!(kept.fate, Fate::Done(_)) {
            kept.fate = Fate::Undone;
        }
        // What may be done after a rerun undoes nothing of before.
        kept.undoable = false;
    }
}
