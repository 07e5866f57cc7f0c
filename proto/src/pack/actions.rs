//! What became of steps, told from the events of a log as they go by.

use std::collections::BTreeMap;

use super::{Action, Decision, Outcome, bytes::hex};
use crate::v1::{self, event::Kind, step_judged::Verdict};

/// Tasks and instances about which something is remembered; beyond it all is forgotten, and left out of what follows. Who
/// writes a file and who checks it do so at the same place.
const KNOWN_MAX: usize = 100_000;

/// Bytes of a text, and texts of one kind, that are remembered: engines write none that are longer, or more.
const TEXT_BYTES_MAX: usize = 512;
const TEXTS_MAX: usize = 128;

type Id = [u8; 16];

/// Remembers what an action rests on.
#[derive(Default)]
pub struct Actions {
    workflows: BTreeMap<Id, String>,
    /// By instance and number of the activation.
    steps: BTreeMap<(Id, u32), Step>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub partition: u32,
    pub index: u64,
    pub at_ms: i64,
}

#[derive(Default)]
struct Step {
    task: Option<u32>,
    /// Its first attempt was seen to be scheduled: nothing about it is missing.
    whole: bool,
    judged: Option<Judged>,
    /// What people are asked about.
    digest: Vec<u8>,
    approved_by: Vec<String>,
}

struct Judged {
    attempt: u32,
    function: String,
    decision: Decision,
}

impl Actions {
    /// All that a commit settles, in order.
    pub fn of_commit(&mut self, partition: u32, index: u64, body: &v1::CommitBody) -> Vec<Action> {
        let at = At { partition, index, at_ms: body.at_ms };
        let Some(v1::commit_body::Content::Batch(batch)) = &body.content else { return Vec::new() };
        let mut actions = Vec::new();
        for entry in &batch.instances {
            let Ok(id) = Id::try_from(entry.instance.as_slice()) else { continue };
            actions.extend(entry.events.iter().filter_map(|event| self.of_event(at, id, event)));
        }
        actions
    }

    /// The attempt that an event settles.
    pub fn of_event(&mut self, at: At, id: Id, event: &v1::Event) -> Option<Action> {
        match event.kind.as_ref() {
            Some(Kind::InstanceStarted(e)) => {
                self.make_room();
                let workflow = format!("{}/{}:{}", e.namespace, e.name, e.version);
                self.workflows.extend(bounded(workflow).map(|workflow| (id, workflow)));
            }
            Some(Kind::TaskEntered(e)) => {
                self.make_room();
                let step = Step { task: Some(e.task), ..Step::default() };
                self.steps.insert((id, e.activation), step);
            }
            Some(Kind::TaskCompleted(e)) => drop(self.steps.remove(&(id, e.activation))),
            Some(Kind::TaskFaulted(e)) => drop(self.steps.remove(&(id, e.activation))),
            Some(Kind::StepScheduled(e)) => {
                let step = self.step(id, e.activation);
                step.whole |= e.attempt == 1;
                step.judged = None;
            }
            Some(Kind::StepJudged(e)) => self.step(id, e.activation).judged = Some(judged(e)),
            Some(Kind::ApprovalAsked(e)) => {
                let step = self.step(id, e.activation);
                if step.digest != e.digest && e.digest.len() == 32 {
                    step.approved_by.clear();
                    step.digest.clone_from(&e.digest);
                }
            }
            Some(Kind::ApprovalAnswered(e)) if e.approves => {
                let step = self.step(id, e.activation);
                if step.approved_by.len() < TEXTS_MAX {
                    step.approved_by.extend(bounded(e.by.clone()));
                }
            }
            Some(Kind::ApprovalsVoided(e)) => self.step(id, e.activation).approved_by.clear(),
            Some(Kind::StepCompleted(e)) => {
                let settled = (e.attempt, Outcome::Completed, None);
                return Some(self.settled(at, (id, e.activation), settled, e.report.as_ref()));
            }
            Some(Kind::StepFailed(e)) => {
                let error = e.error.as_ref().map(|error| error.r#type.clone());
                let settled = (e.attempt, Outcome::Failed, error);
                return Some(self.settled(at, (id, e.activation), settled, e.report.as_ref()));
            }
            Some(Kind::StepHalted(e)) => {
                let settled = (e.attempt, Outcome::Halted, None);
                return Some(self.settled(at, (id, e.activation), settled, None));
            }
            Some(Kind::ResultFenced(e)) => {
                let settled = (e.attempt, Outcome::Fenced, None);
                return Some(self.settled(at, (id, e.activation), settled, e.report.as_ref()));
            }
            Some(Kind::KeyAttached(e)) => {
                let settled = (e.attempt, Outcome::Attached, None);
                return Some(self.settled(at, (id, e.activation), settled, None));
            }
            Some(Kind::StepCancelled(e)) => {
                let settled = (e.attempt, Outcome::Cancelled, None);
                return Some(self.settled(at, (id, e.activation), settled, None));
            }
            Some(
                Kind::InstanceCompleted(_) | Kind::InstanceFaulted(_) | Kind::InstanceCancelled(_),
            ) => {
                let of_it: Vec<_> =
                    self.steps.range((id, 0)..=(id, u32::MAX)).map(|(key, _)| *key).collect();
                for key in of_it {
                    self.steps.remove(&key);
                }
                self.workflows.remove(&id);
            }
            Some(_) | None => {}
        }
        None
    }

    fn settled(
        &mut self,
        at: At,
        (id, activation): (Id, u32),
        (attempt, outcome, error): (u32, Outcome, Option<String>),
        report: Option<&v1::StepReport>,
    ) -> Action {
        let step = self.steps.get(&(id, activation));
        let judged = step.and_then(|step| step.judged.as_ref());
        let judged = judged.filter(|judged| judged.attempt == attempt);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let time = |ms: i64| (ms != 0).then_some(ms);
        Action {
            partition: at.partition,
            index: at.index,
            instance: instance(id),
            workflow: self.workflows.get(&id).cloned(),
            task: step.and_then(|step| step.task),
            step: activation,
            attempt,
            function: judged.and_then(|judged| text(&judged.function)),
            outcome,
            error: error.and_then(|error| text(&error)),
            settled_at_ms: at.at_ms,
            worker: report.and_then(|report| text(&report.worker)),
            service: report.and_then(|report| text(&report.service)),
            started_at_ms: report.and_then(|report| time(report.started_ms)),
            finished_at_ms: report.and_then(|report| time(report.finished_ms)),
            cost: report.map(|report| report.cost).filter(|cost| *cost != 0),
            decision: judged.map(|judged| judged.decision.clone()),
            approved_by: step.filter(|step| step.whole).map(|step| step.approved_by.clone()),
        }
    }

    fn step(&mut self, id: Id, activation: u32) -> &mut Step {
        if !self.steps.contains_key(&(id, activation)) {
            self.make_room();
        }
        self.steps.entry((id, activation)).or_default()
    }

    fn make_room(&mut self) {
        if self.steps.len() >= KNOWN_MAX || self.workflows.len() >= KNOWN_MAX {
            *self = Self::default();
        }
    }
}

fn judged(event: &v1::StepJudged) -> Judged {
    let verdict = match event.verdict() {
        Verdict::Allow => "allow",
        Verdict::DenyUnless => "deny-unless",
        Verdict::Deny | Verdict::Unspecified => "deny",
    };
    let policies = event.determining.iter().take(TEXTS_MAX).cloned().filter_map(bounded);
    Judged {
        attempt: event.attempt,
        function: bounded(event.function.clone()).unwrap_or_default(),
        decision: Decision {
            verdict: verdict.to_owned(),
            set: bounded(hex(&event.set)).unwrap_or_default(),
            policies: policies.collect(),
        },
    }
}

fn bounded(text: String) -> Option<String> {
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

/// A UUID in its usual form.
fn instance(id: Id) -> String {
    let digits = hex(&id);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = [7; 16];

    fn event(kind: Kind) -> v1::Event {
        v1::Event { kind: Some(kind) }
    }

    fn told(events: Vec<Kind>) -> Vec<Action> {
        let mut actions = Actions::default();
        let at = At { partition: 1, index: 5, at_ms: 9 };
        events.into_iter().filter_map(|kind| actions.of_event(at, ID, &event(kind))).collect()
    }

    fn scheduled(attempt: u32) -> Kind {
        Kind::StepScheduled(v1::StepScheduled { activation: 3, attempt, ..Default::default() })
    }

    fn allowed(attempt: u32) -> Kind {
        let mut judged = v1::StepJudged { activation: 3, attempt, ..Default::default() };
        judged.set_verdict(Verdict::Allow);
        judged.function = "lab.echo".into();
        judged.determining = vec!["the-lab-works".into()];
        Kind::StepJudged(judged)
    }

    fn approved(by: &str) -> Kind {
        let answer = v1::ApprovalAnswered { activation: 3, attempt: 1, ..Default::default() };
        Kind::ApprovalAnswered(v1::ApprovalAnswered { approves: true, by: by.into(), ..answer })
    }

    fn completed(attempt: u32) -> Kind {
        Kind::StepCompleted(v1::StepCompleted { activation: 3, attempt, ..Default::default() })
    }

    #[test]
    fn a_step_says_who_let_it_out() {
        let entered = v1::TaskEntered { activation: 3, task: 2, ..Default::default() };
        let told = told(vec![
            Kind::TaskEntered(entered),
            scheduled(1),
            approved("person bob"),
            allowed(1),
            completed(1),
        ]);
        let [action] = &told[..] else { panic!("{told:?}") };
        assert_eq!((action.task, action.function.as_deref()), (Some(2), Some("lab.echo")));
        assert_eq!(action.decision.as_ref().unwrap().policies, ["the-lab-works"]);
        assert_eq!(action.approved_by.as_deref(), Some(&["person bob".to_owned()][..]));
        assert_eq!(action.instance, "07070707-0707-0707-0707-070707070707");
    }

    #[test]
    fn what_was_said_of_another_attempt_is_not_said_of_this_one() {
        let failed = v1::StepFailed { activation: 3, attempt: 1, ..Default::default() };
        let told = told(vec![
            scheduled(1),
            allowed(1),
            Kind::StepFailed(failed),
            scheduled(2),
            completed(2),
        ]);
        let decided: Vec<_> = told.iter().map(|action| action.decision.is_some()).collect();
        assert_eq!(decided, [true, false]);
    }

    #[test]
    fn what_is_void_is_no_approval() {
        let voided = v1::ApprovalsVoided { activation: 3, attempt: 1 };
        let told = told(vec![
            scheduled(1),
            approved("person bob"),
            Kind::ApprovalsVoided(voided),
            approved("person carl"),
            completed(1),
        ]);
        assert_eq!(told[0].approved_by.as_deref(), Some(&["person carl".to_owned()][..]));
    }

    #[test]
    fn what_began_before_leaves_out_who_approved_it() {
        let told = told(vec![approved("person bob"), allowed(1), completed(1)]);
        assert_eq!((told[0].approved_by.clone(), told[0].task), (None, None));
        assert!(told[0].decision.is_some());
    }
}
