//! The canonical bytes of an instance: for caches, and for the check that replaying gives the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Attempt, Instance, Json, TaskId, Timestamp,
    guard::Case,
    instance::{
        Activation, Compensating, Compensation, End, Halt, Listening, Mapping, Phase, Ready, Step,
        Try,
    },
    once::{Claim, Fate, Kept},
};
use baton_proto::v1::{self, phase_state::Kind as PhaseKind, ready_state::Kind as ReadyKind};
use prost::Message;

use super::{
    Error, LargeValues, at, decode_cause, decode_error, decode_json, decode_key, decode_map,
    decode_optional, decode_started, encode_cause, encode_error, encode_json, encode_key,
    encode_map, encode_optional, encode_started, guard, instance_id, ms, split_array,
};

pub fn encode_state(instance: &Instance, large: &mut LargeValues) -> Vec<u8> {
    let (ended_at, ended, output, error) = match &instance.ended {
        None => (0, 0, None, None),
        Some((at, End::Cancelled)) => (at.0, v1::Status::Cancelled as u32, None, None),
        Some((at, End::Faulted(error))) => {
            (at.0, v1::Status::Faulted as u32, None, Some(encode_error(error)))
        }
        Some((at, End::Completed(output))) => {
            (at.0, v1::Status::Completed as u32, Some(encode_json(output, large)), None)
        }
    };
    v1::InstanceState {
        instance: instance.id.0.to_vec(),
        started: Some(encode_started(&instance.started, large)),
        started_at_ms: instance.started_at.0,
        updated_at_ms: instance.updated_at.0,
        ended_at_ms: ended_at,
        ended,
        suspended: instance.suspended,
        reason: instance.reason.as_deref().unwrap_or_default().to_owned(),
        context: Some(encode_json(&instance.context, large)),
        output,
        error,
        next_activation: instance.next_activation.0,
        activations: instance
            .activations
            .iter()
            .map(|(id, activation)| encode_activation(*id, activation, large))
            .collect(),
        events: instance.events,
        taken: instance.taken.iter().copied().collect(),
        compensations: instance
            .compensations
            .iter()
            .map(|kept| v1::CompensationState {
                task: kept.task.0,
                input: Some(encode_json(&kept.input, large)),
            })
            .collect(),
        compensating: instance.compensating.as_ref().map(|compensating| v1::CompensatingState {
            cause: Some(encode_cause(&compensating.cause)),
            failed: compensating.failed.iter().map(encode_error).collect(),
        }),
        taint: guard::encode_texts(&instance.case.taint),
        done: guard::encode_texts(&instance.case.done),
        cost: instance.case.cost,
        turns: instance.case.turns,
        seen: instance.case.seen.clone(),
        keys: instance.keys.iter().map(|(id, kept)| encode_kept(*id, kept, large)).collect(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`Error::LargeValue`] names a value to fetch first.
pub fn decode_state(bytes: &[u8], large: &LargeValues) -> Result<Instance, Error> {
    let state = v1::InstanceState::decode(bytes).map_err(|_| Error::Malformed("state"))?;
    let ended_at = Timestamp(state.ended_at_ms);
    let ended = match state.ended {
        0 => None,
        ended if ended == v1::Status::Cancelled as u32 => Some((ended_at, End::Cancelled)),
        ended if ended == v1::Status::Faulted as u32 => {
            Some((ended_at, End::Faulted(decode_error(state.error)?)))
        }
        ended if ended == v1::Status::Completed as u32 => {
            Some((ended_at, End::Completed(decode_json(state.output, large)?)))
        }
        _ => return Err(Error::Malformed("end")),
    };
    let mut activations = BTreeMap::new();
    for activation in state.activations {
        let id = ActivationId(activation.activation);
        activations.insert(id, Box::new(decode_activation(activation, large)?));
    }
    let ready: BTreeSet<_> = activations
        .iter()
        .filter(|(_, activation)| activation.ready.is_some())
        .map(|(id, _)| *id)
        .collect();
    Ok(Instance {
        id: instance_id(&state.instance)?,
        started: decode_started(state.started.ok_or(Error::Malformed("start"))?, large)?,
        started_at: Timestamp(state.started_at_ms),
        updated_at: Timestamp(state.updated_at_ms),
        ended,
        suspended: state.suspended,
        reason: (!state.reason.is_empty()).then(|| Arc::from(state.reason)),
        context: decode_json(state.context, large)?,
        next_activation: ActivationId(state.next_activation),
        activations,
        ready,
        events: state.events,
        taken: state.taken.into_iter().collect(),
        compensations: state
            .compensations
            .into_iter()
            .map(|kept| {
                let input = decode_json(kept.input, large)?;
                Ok(Compensation { task: TaskId(kept.task), input })
            })
            .collect::<Result<_, Error>>()?,
        compensating: state.compensating.map(decode_compensating).transpose()?,
        case: Case {
            taint: guard::decode_names(state.taint),
            done: guard::decode_names(state.done),
            cost: state.cost,
            turns: state.turns,
            seen: state.seen,
        },
        keys: state
            .keys
            .into_iter()
            .map(|kept| decode_kept(kept, large))
            .collect::<Result<_, Error>>()?,
    })
}

fn decode_compensating(state: v1::CompensatingState) -> Result<Box<Compensating>, Error> {
    let cause = decode_cause(state.cause.ok_or(Error::Malformed("cause of a compensation"))?)?;
    let failed = state.failed.into_iter().map(|error| decode_error(Some(error)));
    Ok(Box::new(Compensating { cause, failed: failed.collect::<Result<_, _>>()? }))
}

fn encode_kept(id: ActivationId, kept: &Kept, large: &mut LargeValues) -> v1::KeptKey {
    let (fate, output) = match &kept.fate {
        Fate::Claimed => (v1::kept_key::Fate::Claimed, None),
        Fate::Out => (v1::kept_key::Fate::Out, None),
        Fate::Done(output) => (v1::kept_key::Fate::Done, output.as_ref()),
        Fate::Undone => (v1::kept_key::Fate::Undone, None),
    };
    v1::KeptKey {
        activation: id.0,
        key: kept.key.to_string(),
        fate: fate.into(),
        output: encode_optional(output, large),
        undoable: kept.undoable,
    }
}

fn decode_kept(kept: v1::KeptKey, large: &LargeValues) -> Result<(ActivationId, Kept), Error> {
    let fate = match kept.fate() {
        v1::kept_key::Fate::Claimed => Fate::Claimed,
        v1::kept_key::Fate::Out => Fate::Out,
        v1::kept_key::Fate::Done => Fate::Done(decode_optional(kept.output, large)?),
        v1::kept_key::Fate::Undone => Fate::Undone,
        v1::kept_key::Fate::Unspecified => return Err(Error::Malformed("fate")),
    };
    let (key, undoable) = (kept.key.into(), kept.undoable);
    Ok((ActivationId(kept.activation), Kept { key, fate, undoable }))
}

fn encode_activation(
    id: ActivationId,
    activation: &Activation,
    large: &mut LargeValues,
) -> v1::ActivationState {
    v1::ActivationState {
        activation: id.0,
        parent: activation.parent.0,
        task: activation.task.0,
        branch: activation.branch,
        raw_input: Some(encode_json(&activation.raw_input, large)),
        // Mostly the same value handed on: absent means the field before it.
        input: unless_same(&activation.input, &activation.raw_input, large),
        value: unless_same(&activation.value, &activation.input, large),
        started_at_ms: activation.started_at.0,
        deadline_ms: ms(activation.deadline),
        ready: activation.ready.as_ref().map(encode_ready),
        phase: encode_phase(&activation.phase, &activation.input, large),
    }
}

fn unless_same(json: &Json, before: &Json, large: &mut LargeValues) -> Option<v1::Json> {
    (json != before).then(|| encode_json(json, large))
}

fn decode_activation(state: v1::ActivationState, large: &LargeValues) -> Result<Activation, Error> {
    let raw_input = decode_json(state.raw_input, large)?;
    let input = decode_optional(state.input, large)?.unwrap_or_else(|| raw_input.clone());
    let value = decode_optional(state.value, large)?.unwrap_or_else(|| input.clone());
    let phase = decode_phase(state.phase, &input, large)?;
    Ok(Activation {
        task: TaskId(state.task),
        parent: ActivationId(state.parent),
        branch: state.branch,
        raw_input,
        input,
        value,
        started_at: Timestamp(state.started_at_ms),
        deadline: at(state.deadline_ms),
        ready: state.ready.map(decode_ready).transpose()?,
        phase,
    })
}

fn encode_ready(ready: &Ready) -> v1::ReadyState {
    let kind = match ready {
        Ready::Begin => ReadyKind::Begin(true),
        Ready::Body => ReadyKind::Body(true),
        Ready::Enter(task) => ReadyKind::Enter(task.0),
        Ready::Branch => ReadyKind::Branch(true),
        Ready::Exit => ReadyKind::Exit(true),
        Ready::Raise(error) => ReadyKind::Raise(encode_error(error)),
    };
    v1::ReadyState { kind: Some(kind) }
}

fn decode_ready(ready: v1::ReadyState) -> Result<Ready, Error> {
    Ok(match ready.kind.ok_or(Error::Malformed("ready"))? {
        ReadyKind::Begin(_) => Ready::Begin,
        ReadyKind::Body(_) => Ready::Body,
        ReadyKind::Enter(task) => Ready::Enter(TaskId(task)),
        ReadyKind::Branch(_) => Ready::Branch,
        ReadyKind::Exit(_) => Ready::Exit,
        ReadyKind::Raise(error) => Ready::Raise(decode_error(Some(error))?),
    })
}

fn encode_phase(phase: &Phase, input: &Json, large: &mut LargeValues) -> Option<v1::PhaseState> {
    let kind = match phase {
        Phase::Plain => return None,
        Phase::Step(step) => PhaseKind::Step(v1::StepState {
            attempt: step.attempt.0,
            arguments: unless_same(&step.arguments, input, large),
            scheduled_at_ms: step.scheduled_at.0,
            retry_at_ms: ms(step.retry_at),
            guard: step.guard.as_deref().map(|guard| guard::encode_guard(guard, large)),
            once: step.once.as_deref().map(|claim| encode_key(&claim.key)),
            holds_key: step.once.as_deref().is_some_and(|claim| claim.held),
            halt: step.halt.as_deref().map(|halt| v1::HaltState {
                switch: halt.switch.to_string(),
                answered: halt.answered,
            }),
        }),
        Phase::Timer(at) => PhaseKind::TimerMs(at.0),
        Phase::Loop { items, next } => PhaseKind::Loop(v1::LoopState {
            items: Some(encode_json(&Json::array(items.iter()), large)),
            next: *next,
        }),
        Phase::Fork { compete, entered, settled, results } => PhaseKind::Fork(v1::ForkState {
            compete: *compete,
            entered: *entered,
            settled: *settled,
            results: encode_results(results, large),
        }),
        Phase::Map(mapping) => PhaseKind::Map(encode_mapping(mapping, large)),
        Phase::Try(attempt) => PhaseKind::Try(v1::TryState {
            failures: attempt.failures,
            first_failed_at_ms: ms(attempt.first_failed_at),
            error: attempt.caught.as_ref().map(encode_error),
            retry_at_ms: ms(attempt.retry_at),
        }),
        Phase::Emit(event) => PhaseKind::Emit(encode_json(event, large)),
        Phase::Listen(listening) => PhaseKind::Listen(encode_listening(listening, large)),
        Phase::Child { id, awaited } => {
            PhaseKind::Child(v1::ChildState { instance: id.0.to_vec(), awaited: *awaited })
        }
    };
    Some(v1::PhaseState { kind: Some(kind) })
}

fn decode_phase(
    phase: Option<v1::PhaseState>,
    input: &Json,
    large: &LargeValues,
) -> Result<Phase, Error> {
    let Some(phase) = phase else { return Ok(Phase::Plain) };
    Ok(match phase.kind.ok_or(Error::Malformed("phase"))? {
        PhaseKind::Step(step) => Phase::Step(Step {
            attempt: Attempt(step.attempt),
            arguments: decode_optional(step.arguments, large)?.unwrap_or_else(|| input.clone()),
            scheduled_at: Timestamp(step.scheduled_at_ms),
            retry_at: at(step.retry_at_ms),
            guard: step
                .guard
                .map(|state| guard::decode_guard(state, large).map(Box::new))
                .transpose()?,
            once: step
                .once
                .map(|key| Box::new(Claim { key: decode_key(key), held: step.holds_key })),
            halt: step.halt.map(|state| {
                Box::new(Halt { switch: state.switch.into(), answered: state.answered })
            }),
        }),
        PhaseKind::TimerMs(ms) => Phase::Timer(Timestamp(ms)),
        PhaseKind::Loop(state) => {
            Phase::Loop { items: split_array(&decode_json(state.items, large)?)?, next: state.next }
        }
        PhaseKind::Fork(fork) => Phase::Fork {
            compete: fork.compete,
            entered: fork.entered,
            settled: fork.settled,
            results: decode_results(fork.results, large)?,
        },
        PhaseKind::Map(state) => Phase::Map(Box::new(decode_mapping(state, large)?)),
        PhaseKind::Try(attempt) => Phase::Try(Try {
            failures: attempt.failures,
            first_failed_at: at(attempt.first_failed_at_ms),
            caught: attempt.error.map(|error| decode_error(Some(error))).transpose()?,
            retry_at: at(attempt.retry_at_ms),
        }),
        PhaseKind::Emit(event) => Phase::Emit(decode_json(Some(event), large)?),
        PhaseKind::Listen(state) => Phase::Listen(Box::new(decode_listening(state, large)?)),
        PhaseKind::Child(child) => {
            Phase::Child { id: instance_id(&child.instance)?, awaited: child.awaited }
        }
    })
}

fn encode_results(results: &[Option<Json>], large: &mut LargeValues) -> Vec<v1::BranchState> {
    let outputs = results.iter().map(|output| encode_optional(output.as_ref(), large));
    outputs.map(|output| v1::BranchState { output }).collect()
}

fn decode_results(
    results: Vec<v1::BranchState>,
    large: &LargeValues,
) -> Result<Vec<Option<Json>>, Error> {
    results.into_iter().map(|branch| decode_optional(branch.output, large)).collect()
}

fn encode_mapping(mapping: &Mapping, large: &mut LargeValues) -> v1::MapState {
    v1::MapState {
        items: Some(encode_json(&Json::array(&mapping.items), large)),
        concurrency: mapping.concurrency,
        collect: mapping.collect,
        entered: mapping.entered,
        settled: mapping.settled,
        results: encode_results(&mapping.results, large),
    }
}

fn decode_mapping(state: v1::MapState, large: &LargeValues) -> Result<Mapping, Error> {
    let results = decode_results(state.results, large)?;
    Ok(Mapping {
        items: split_array(&decode_json(state.items, large)?)?,
        concurrency: state.concurrency,
        collect: state.collect,
        entered: state.entered,
        settled: state.settled,
        bytes: results.iter().flatten().map(|output| output.len()).sum(),
        results,
    })
}

fn encode_listening(listening: &Listening, large: &mut LargeValues) -> v1::ListenState {
    v1::ListenState {
        each: listening.each,
        over: listening.over,
        correlation: encode_map(&listening.correlation, large),
        matched: listening.matched.iter().copied().collect(),
        events: listening.events.iter().map(|event| encode_json(event, large)).collect(),
        first: listening.first,
        next: listening.next,
        running: listening.running,
        outputs: listening.outputs.iter().map(|output| encode_json(output, large)).collect(),
    }
}

fn decode_listening(state: v1::ListenState, large: &LargeValues) -> Result<Listening, Error> {
    let list = |values: Vec<v1::Json>| {
        values.into_iter().map(|value| decode_json(Some(value), large)).collect::<Result<_, _>>()
    };
    Ok(Listening {
        each: state.each,
        over: state.over,
        correlation: decode_map(state.correlation, large)?,
        matched: state.matched.into_iter().collect(),
        events: list(state.events)?,
        first: state.first,
        next: state.next,
        running: state.running,
        outputs: list(state.outputs)?,
    })
}
