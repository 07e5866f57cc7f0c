//! What events from outside, and those that go there, change.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc};

use super::{answer, get_mut, set_ready};
use crate::{
    event::Origin,
    id::ActivationId,
    instance::{Instance, Listening, Phase, Ready},
    json::Json,
    limits,
};

/// What an event is for a listener.
pub(super) struct Heard<'a> {
    pub filter: u32,
    pub value: &'a Option<Json>,
    pub correlation: &'a BTreeMap<Arc<str>, Json>,
    pub over: bool,
}

pub(super) fn published(instance: &mut Instance, id: ActivationId) {
    let emitted = get_mut(instance, id);
    if let Phase::Emit(event) = &emitted.phase {
        emitted.value = event.clone();
    }
    answer(instance, id, Ready::Exit);
}

pub(super) fn listen(
    instance: &mut Instance,
    id: ActivationId,
    correlation: &BTreeMap<Arc<str>, Json>,
    each: bool,
) {
    let listening = Listening { each, correlation: correlation.clone(), ..Listening::default() };
    get_mut(instance, id).phase = Phase::Listen(Box::new(listening));
    set_ready(instance, id, None);
}

/// Places that cannot come again are forgotten.
pub(super) fn note(instance: &mut Instance, origin: &Origin) {
    instance.taken = instance.taken.split_off(&origin.floor);
    instance.taken.insert(origin.position);
}

pub(super) fn hear(instance: &mut Instance, id: ActivationId, heard: &Heard<'_>) {
    let listening = listening(instance, id);
    listening.matched.insert(heard.filter);
    listening.events.extend(heard.value.clone());
    listening.correlation.extend(heard.correlation.clone());
    listening.over |= heard.over;
    go_on(instance, id);
}

pub(super) fn begin_pass(instance: &mut Instance, id: ActivationId, index: u32) {
    let listening = listening(instance, id);
    listening.next = index + 1;
    listening.running = true;
    let item = listening.event(index).cloned().unwrap_or_else(Json::null);
    while listening.events.len() > limits::LISTEN_KEPT && listening.first < index {
        listening.events.pop_front();
        listening.first += 1;
    }
    get_mut(instance, id).value = item;
    set_ready(instance, id, Some(Ready::Body));
}

pub(super) fn end_pass(instance: &mut Instance, id: ActivationId, output: &Json) {
    let listening = listening(instance, id);
    listening.running = false;
    listening.outputs.push_back(output.clone());
    if listening.outputs.len() > limits::LISTEN_KEPT {
        listening.outputs.pop_front();
    }
    set_ready(instance, id, None);
    go_on(instance, id);
}

/// A listener that no pass runs in goes on when it has something to do.
fn go_on(instance: &mut Instance, id: ActivationId) {
    let listening = listening(instance, id);
    let (each, over, running) = (listening.each, listening.over, listening.running);
    if each && !running && (over || listening.has_waiting()) {
        set_ready(instance, id, Some(Ready::Exit));
    } else if !each && over {
        answer(instance, id, Ready::Exit);
    }
}

fn listening(instance: &mut Instance, id: ActivationId) -> &mut Listening {
    match &mut get_mut(instance, id).phase {
        Phase::Listen(listening) => listening,
        Phase::Plain
        | Phase::Step(_)
        | Phase::Timer(_)
        | Phase::Loop { .. }
        | Phase::Fork { .. }
        | Phase::Map(_)
        | Phase::Try(_)
        | Phase::Emit(_)
        | Phase::Child { .. } => unreachable!("events are taken by what listens"),
    }
}
