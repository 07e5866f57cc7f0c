//! What the world must do: implied by events, and again by the state when the events' effects may have been lost.

use alloc::vec::Vec;

use crate::{
    command::Timer,
    event::Event,
    guard::{Standing, Verdict},
    id::{ActivationId, Attempt, InstanceId, Timestamp},
    instance::{Instance, Phase},
};

/// Something that the world must do, once the log has the event that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Give [`crate::Command::Continue`]: there is more to decide.
    Continue,
    /// Ask the policies whether the attempt may go out, and give [`crate::Command::Judge`].
    AskPolicies { activation: ActivationId, attempt: Attempt },
    /// Find out whether another step holds the key, take it if none does, and give [`crate::Command::SettleKey`].
    ClaimKey { activation: ActivationId, attempt: Attempt },
    /// Ask a worker for the step.
    DispatchStep { activation: ActivationId, attempt: Attempt },
    /// Nobody wants the step any more.
    WithdrawStep { activation: ActivationId, attempt: Attempt },
    /// Give [`crate::Command::FireTimer`] when the time has come. Given too often or too late does no harm.
    SetTimer { activation: ActivationId, timer: Timer, at: Timestamp },
    /// Set every timer of [`pending`] again, ask the policies and for the keys that it asks for, and arm again what no kill switch
    /// holds any more: what was due while it was suspended has been refused.
    Rearm,
    /// Tell whoever waits that the instance has ended.
    End,
    /// Publish the event of an `emit`, and give [`crate::Command::PublishedEvent`] when it is stored. Published twice it
    /// counts once.
    PublishEvent { activation: ActivationId },
    /// Give [`crate::Command::TakeEvent`] for events that this may take, also for those that have come before.
    Listen { activation: ActivationId },
    /// See to it that the child runs, and give [`crate::Command::EndChild`] when it has ended, or at once when nobody
    /// awaits it.
    RunChild { activation: ActivationId },
    /// Cancel this instance.
    CancelChild { child: InstanceId },
}

/// What one event asks for, besides [`Effect::Continue`], which only the state can tell.
pub fn effect(event: &Event) -> Option<Effect> {
    match event {
        Event::StepScheduled { activation, attempt, once: Some(_), .. } => {
            Some(Effect::ClaimKey { activation: *activation, attempt: *attempt })
        }
        Event::StepScheduled { activation, attempt, guarded: true, .. }
        | Event::KeyClaimed { activation, attempt, guarded: true }
        | Event::ApprovalAnswered { activation, attempt, complete: true, .. }
        | Event::ApprovalOverdue { activation, attempt, complete: true, .. }
        | Event::ApprovalsVoided { activation, attempt }
        | Event::StepRemedied { activation, attempt, complete: true, .. } => {
            Some(Effect::AskPolicies { activation: *activation, attempt: *attempt })
        }
        Event::StepScheduled { activation, attempt, guarded: false, .. }
        | Event::KeyClaimed { activation, attempt, guarded: false } => {
            Some(Effect::DispatchStep { activation: *activation, attempt: *attempt })
        }
        Event::ApprovalAsked { activation, ask, .. } => {
            ask.due.map(|at| Effect::SetTimer { activation: *activation, timer: Timer::Due, at })
        }
        Event::StepJudged { activation, attempt, judgement } => (judgement.verdict
            == Verdict::Allow)
            .then_some(Effect::DispatchStep { activation: *activation, attempt: *attempt }),
        Event::StepCancelled { activation, attempt }
        | Event::StepHalted { activation, attempt, .. } => {
            Some(Effect::WithdrawStep { activation: *activation, attempt: *attempt })
        }
        Event::TaskEntered { activation, deadline, .. } => deadline.map(|at| Effect::SetTimer {
            activation: *activation,
            timer: Timer::Deadline,
            at,
        }),
        Event::TimerStarted { activation, fire_at }
        | Event::RetryScheduled { activation, fire_at, .. } => {
            Some(Effect::SetTimer { activation: *activation, timer: Timer::Due, at: *fire_at })
        }
        Event::StepFailed { activation, retry_at, .. } => {
            retry_at.map(|at| Effect::SetTimer { activation: *activation, timer: Timer::Due, at })
        }
        Event::InstanceResumed => Some(Effect::Rearm),
        Event::EventEmitted { activation, .. } => {
            Some(Effect::PublishEvent { activation: *activation })
        }
        Event::ListenStarted { activation, .. } => Some(Effect::Listen { activation: *activation }),
        Event::ChildStarted { activation, .. } => {
            Some(Effect::RunChild { activation: *activation })
        }
        Event::ChildCancelled { child, .. } => Some(Effect::CancelChild { child: *child }),
        Event::InstanceCompleted { .. }
        | Event::InstanceFaulted { .. }
        | Event::InstanceCancelled { .. } => Some(Effect::End),
        Event::InstanceStarted(_)
        | Event::StepRemedied { complete: false, .. }
        | Event::ApprovalAnswered { complete: false, .. }
        | Event::ApprovalClaimed { .. }
        | Event::ApprovalOverdue { complete: false, .. }
        | Event::CompensationKept { .. }
        | Event::CompensationStarted { .. }
        | Event::CompensationFailed { .. }
        | Event::TaskSkipped { .. }
        | Event::TaskCompleted { .. }
        | Event::TaskFaulted { .. }
        | Event::StepCompleted { .. }
        | Event::ResultFenced { .. }
        | Event::KeyAttached { .. }
        | Event::KeyResolved { .. }
        | Event::TimerFired { .. }
        | Event::LoopStarted { .. }
        | Event::LoopIterated { .. }
        | Event::ForkStarted { .. }
        | Event::MapStarted { .. }
        | Event::MapItemFaulted { .. }
        | Event::ErrorCaught { .. }
        | Event::InstanceSuspended { .. }
        | Event::InstanceRerun { .. }
        | Event::EventPublished { .. }
        | Event::EventTaken { .. }
        | Event::ListenIterated { .. }
        | Event::ListenIterationEnded { .. }
        | Event::ChildEnded { .. } => None,
    }
}

/// What was asked for and is not settled: the same whether the instance was decided or folded from its events.
pub fn pending(instance: &Instance) -> Vec<Effect> {
    let mut effects = Vec::new();
    if !instance.ready.is_empty() && !instance.suspended {
        effects.push(Effect::Continue);
    }
    for (id, activation) in &instance.activations {
        let asked = activation.guarded_step().and_then(|step| step.guard.as_deref());
        let deadline = activation.timer(Timer::Deadline).map(|at| (Timer::Deadline, at));
        // People may be asked several things, each with a fallback in its time.
        let dues = match asked {
            Some(guard) => guard.dues(),
            None => activation.timer(Timer::Due).into_iter().collect(),
        };
        let dues = dues.into_iter().map(|at| (Timer::Due, at));
        effects.extend(deadline.into_iter().chain(dues).map(|(timer, at)| Effect::SetTimer {
            activation: *id,
            timer,
            at,
        }));
    }
    for (id, step) in instance.open_steps() {
        effects.push(Effect::DispatchStep { activation: id, attempt: step.attempt });
    }
    for (id, step) in instance.claiming_steps().filter(|_| !instance.suspended) {
        effects.push(Effect::ClaimKey { activation: id, attempt: step.attempt });
    }
    for (id, step) in instance.guarded_steps().filter(|_| !instance.suspended) {
        if step.standing() == Some(Standing::Unjudged) {
            effects.push(Effect::AskPolicies { activation: id, attempt: step.attempt });
        }
    }
    for (id, activation) in &instance.activations {
        let effect = match &activation.phase {
            Phase::Emit(_) if activation.ready.is_none() => {
                Effect::PublishEvent { activation: *id }
            }
            Phase::Listen(listening) if !listening.over => Effect::Listen { activation: *id },
            Phase::Child { .. } if activation.ready.is_none() => {
                Effect::RunChild { activation: *id }
            }
            Phase::Plain
            | Phase::Step(_)
            | Phase::Timer(_)
            | Phase::Loop { .. }
            | Phase::Fork { .. }
            | Phase::Map(_)
            | Phase::Try(_)
            | Phase::Emit(_)
            | Phase::Listen(_)
            | Phase::Child { .. } => continue,
        };
        effects.push(effect);
    }
    effects
}
