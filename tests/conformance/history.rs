//! What a history tells of each passage through a task.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use baton_proto::v1::event::Kind;
use baton_proto::v1::json::Value as Form;
use baton_proto::v1::{Error, HistoryEvent, Json};
use serde_json::Value;

/// The document itself.
const ROOT: u32 = 0;

/// One passage through a task.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    pub task: String,
    pub end: End,
    /// Of its step.
    pub attempts: u32,
    /// Its worker has given an output, which was taken.
    pub answered: bool,
    /// `department.function` of its step; else empty.
    pub function: String,
    /// What the worker was given.
    pub arguments: Value,
}

/// How a passage ended.
#[derive(Debug, Default)]
pub(crate) enum End {
    /// It has not, or it was taken away.
    #[default]
    Open,
    Completed(Value),
    Faulted(Error),
}

/// All passages but that through the document itself, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub passages: Vec<Passage>,
    /// Names of tasks whose `if` did not hold.
    pub skipped: Vec<String>,
    open: HashMap<u32, Activation>,
}

/// What a passage holds while it is open, as `baton-core` has it.
#[derive(Debug, Default)]
struct Activation {
    /// Among the passages.
    place: Option<usize>,
    parent: u32,
    branch: u32,
    input: Value,
    value: Value,
    /// Of a fork whose branches do not compete.
    gathered: Option<BTreeMap<u32, Value>>,
}

/// Reads the events of an instance.
pub(crate) fn read(events: &[HistoryEvent]) -> Result<History> {
    let mut history = History::default();
    for event in events {
        let kind = event.event.as_ref().and_then(|event| event.kind.as_ref());
        history.take(event, kind.context("an event of a history has a kind")?)?;
    }
    Ok(history)
}

impl History {
    fn take(&mut self, event: &HistoryEvent, kind: &Kind) -> Result<()> {
        match kind {
            Kind::InstanceStarted(started) => {
                let value = value(started.input.as_ref())?.unwrap_or_default();
                self.open.insert(ROOT, Activation { value, ..Activation::default() });
            }
            Kind::TaskEntered(entered) => {
                let held = self.open.get(&entered.parent).map(|parent| parent.value.clone());
                let raw = value(entered.raw_input.as_ref())?.or(held).unwrap_or_default();
                let input = value(entered.input.as_ref())?.unwrap_or(raw);
                let place = (entered.activation != ROOT).then_some(self.passages.len());
                if place.is_some() {
                    let passage = Passage { task: event.task.clone(), ..Passage::default() };
                    self.passages.push(passage);
                }
                let activation = Activation {
                    place,
                    parent: entered.parent,
                    branch: entered.branch,
                    value: input.clone(),
                    input,
                    gathered: None,
                };
                self.open.insert(entered.activation, activation);
            }
            Kind::TaskSkipped(_) => self.skipped.push(event.task.clone()),
            Kind::TaskCompleted(completed) => {
                self.complete(completed.activation, value(completed.output.as_ref())?)?;
            }
            Kind::TaskFaulted(faulted) => {
                let error = faulted.error.clone().context("a fault has an error")?;
                self.passage(faulted.activation)?.end = End::Faulted(error);
            }
            Kind::StepScheduled(scheduled) => {
                let input = self.activation(scheduled.activation)?.input.clone();
                let given = value(scheduled.arguments.as_ref())?;
                let passage = self.passage(scheduled.activation)?;
                if scheduled.attempt == 1 {
                    passage.arguments = given.unwrap_or(input);
                }
                passage.attempts = scheduled.attempt;
                event.function.clone_into(&mut passage.function);
            }
            Kind::StepCompleted(completed) => {
                self.answer(completed.activation, completed.output.as_ref())?;
            }
            Kind::KeyAttached(attached) => {
                self.answer(attached.activation, attached.output.as_ref())?;
            }
            Kind::ForkStarted(fork) if !fork.compete => {
                self.activation(fork.activation)?.gathered = Some(BTreeMap::new());
            }
            Kind::MapStarted(map) => {
                self.activation(map.activation)?.gathered = Some(BTreeMap::new());
            }
            Kind::MapItemFaulted(faulted) => {
                self.complete(faulted.activation, value(faulted.output.as_ref())?)?;
                let error = faulted.error.clone().context("a fault has an error")?;
                self.passage(faulted.activation)?.end = End::Faulted(error);
            }
            Kind::ErrorCaught(caught) => self.begin_again(caught.activation)?,
            Kind::RetryScheduled(retry) => self.begin_again(retry.activation)?,
            Kind::ForkStarted(_)
            | Kind::StepJudged(_)
            | Kind::StepRemedied(_)
            | Kind::ApprovalAsked(_)
            | Kind::ApprovalClaimed(_)
            | Kind::ApprovalAnswered(_)
            | Kind::ApprovalOverdue(_)
            | Kind::ApprovalsVoided(_)
            | Kind::StepHalted(_)
            | Kind::KeyClaimed(_)
            | Kind::KeyResolved(_)
            | Kind::ResultFenced(_)
            | Kind::EventEmitted(_)
            | Kind::EventPublished(_)
            | Kind::ListenStarted(_)
            | Kind::EventTaken(_)
            | Kind::ListenIterated(_)
            | Kind::ListenIterationEnded(_)
            | Kind::ChildStarted(_)
            | Kind::ChildEnded(_)
            | Kind::ChildCancelled(_)
            | Kind::CompensationKept(_)
            | Kind::CompensationStarted(_)
            | Kind::CompensationFailed(_)
            | Kind::LoopStarted(_)
            | Kind::LoopIterated(_)
            | Kind::StepFailed(_)
            | Kind::StepCancelled(_)
            | Kind::TimerStarted(_)
            | Kind::TimerFired(_)
            | Kind::InstanceSuspended(_)
            | Kind::InstanceResumed(_)
            | Kind::InstanceCompleted(_)
            | Kind::InstanceFaulted(_)
            | Kind::InstanceCancelled(_)
            | Kind::InstanceRerun(_) => {}
        }
        Ok(())
    }

    fn complete(&mut self, id: u32, output: Option<Value>) -> Result<()> {
        let activation = self.activation(id)?;
        let output = output.unwrap_or_else(|| activation.value.clone());
        let (parent, branch) = (activation.parent, activation.branch);
        self.passage(id)?.end = End::Completed(output.clone());
        let parent = self.activation(parent)?;
        parent.value = match &mut parent.gathered {
            Some(gathered) => {
                gathered.insert(branch, output);
                gathered.values().cloned().collect()
            }
            None => output,
        };
        Ok(())
    }

    fn begin_again(&mut self, id: u32) -> Result<()> {
        let activation = self.activation(id)?;
        activation.value = activation.input.clone();
        Ok(())
    }

    /// A step has its output.
    fn answer(&mut self, activation: u32, output: Option<&Json>) -> Result<()> {
        self.activation(activation)?.value = value(output)?.unwrap_or_default();
        self.passage(activation)?.answered = true;
        Ok(())
    }

    fn activation(&mut self, id: u32) -> Result<&mut Activation> {
        self.open.get_mut(&id).context("events are of tasks that were entered")
    }

    fn passage(&mut self, id: u32) -> Result<&mut Passage> {
        let place = self.activation(id)?.place.context("the document is no passage")?;
        Ok(&mut self.passages[place])
    }
}

fn value(json: Option<&Json>) -> Result<Option<Value>> {
    match json.and_then(|json| json.value.as_ref()) {
        None => Ok(None),
        Some(Form::Text(text)) => Ok(Some(serde_json::from_str(text)?)),
        Some(Form::Large(_)) => bail!("a value of a history is in the object store"),
    }
}
