//! Instances that run others. A child lives in its parent's partition; each step of their dealings can be done again
//! from what the log says, so that a crash between two of them loses nothing.

use std::sync::Arc;

use baton_core::{
    ActivationId, Command, Error as WorkflowError, InstanceId, Json,
    error::Standard,
    event::{Event, Parent, Started},
    guard::Carried,
    instance::End,
    workflow::Name,
};

use super::{
    Exit,
    lanes::Asker,
    owner::Owner,
    starts::{Starting, Then},
};
use crate::telemetry;

/// What is to be done between a parent and a child.
pub(super) enum Kin {
    /// See to it that the child of a task runs.
    Run { parent: InstanceId, activation: ActivationId, wanted: Option<Wanted> },
    /// A child has ended: tell whoever waits.
    Ended { child: InstanceId },
    /// Nobody waits for it any more.
    Cancel { child: InstanceId },
    /// After a recovery: cancel it if nobody waits for it.
    Check { child: InstanceId },
}

/// The instance that is to begin.
pub(super) struct Wanted {
    workflow: Name,
    input: Json,
}

impl Wanted {
    pub(super) fn of(event: &Event) -> Option<Self> {
        if let Event::ChildStarted { workflow, input, .. } = event {
            Some(Self { workflow: workflow.clone(), input: input.clone() })
        } else {
            None
        }
    }
}

impl Owner {
    /// Does the next thing between parents and children.
    pub(super) async fn settle_family(&mut self) -> Result<(), Exit> {
        match self.family.pop_front() {
            Some(Kin::Run { parent, activation, wanted }) => {
                self.run_child(parent, activation, wanted).await
            }
            Some(Kin::Ended { child }) => self.tell_parent(child).await,
            Some(Kin::Cancel { child }) => self.cancel_child(child).await,
            Some(Kin::Check { child }) => self.check_child(child).await,
            None => Ok(()),
        }
    }

    async fn run_child(
        &mut self,
        parent: InstanceId,
        activation: ActivationId,
        wanted: Option<Wanted>,
    ) -> Result<(), Exit> {
        let Some(resident) = self.resident(parent).await? else { return Ok(()) };
        let started = Arc::clone(&resident.instance.started);
        let carried = resident.instance.carries();
        let Some((child, awaited)) = resident.instance.open_child(activation) else {
            return Ok(());
        };
        if let Some(found) = self.look(child).await? {
            if let Some((_, end)) = &found.ended {
                let carried = found.hands_back();
                self.end_child(parent, activation, result_of(child, end), carried);
            } else if !awaited {
                self.end_child(parent, activation, Ok(Json::null()), Carried::default());
            }
            return Ok(());
        }
        let wanted = match wanted {
            Some(wanted) => wanted,
            // It was not begun before a crash: what it was to be stands in the log.
            None => match self.wanted(parent, activation).await? {
                Some(wanted) => wanted,
                None => return Ok(()),
            },
        };
        let parent =
            Parent { instance: parent, activation, depth: depth_of(&started) + 1, awaited };
        self.begin_child(child, parent, (&started, carried), wanted);
        Ok(())
    }

    /// What its parent carries may flow into it.
    fn begin_child(
        &mut self,
        child: InstanceId,
        parent: Parent,
        (around, carried): (&Started, Carried),
        wanted: Wanted,
    ) {
        let Wanted { workflow: Name { namespace, name, version }, input } = wanted;
        let version = (!version.is_empty()).then_some(&*version);
        let definition = match self.engine.definition(&namespace, &name, version) {
            Ok(definition) => definition,
            Err(refusal) => {
                let error = WorkflowError::standard(
                    Standard::Configuration,
                    "The workflow cannot be run",
                    &refusal.to_string(),
                );
                let (parent, activation) = (parent.instance, parent.activation);
                return self.end_child(parent, activation, Err(error), Carried::default());
            }
        };
        let started = Started {
            workflow: definition.workflow.hash,
            name: definition.name().clone(),
            input,
            key: Arc::from(""),
            labels: around.labels.clone(),
            traceparent: telemetry::child_traceparent(parent.instance, &around.traceparent).into(),
            parent: Some(parent),
            carried,
            by: Arc::clone(&around.by),
        };
        let Parent { instance: parent, activation, awaited, .. } = parent;
        let then = Then::Tell { parent, activation, awaited };
        let started = Arc::new(started);
        self.begin(Starting { id: child, started, definition, digest: None, then });
    }

    /// What a task was to run, from the parent's history.
    async fn wanted(
        &self,
        parent: InstanceId,
        activation: ActivationId,
    ) -> Result<Option<Wanted>, Exit> {
        let mut positions = self.cache.positions(&parent.0)?;
        if let Some(resident) = self.residents.get(&parent) {
            positions.extend(&resident.positions);
        }
        positions.sort_unstable();
        let found = crate::api::history::find(&self.engine, parent, &positions, |event| {
            matches!(event, Event::ChildStarted { activation: found, .. } if *found == activation)
                .then(|| Wanted::of(event))
                .flatten()
        });
        found.await.map_err(|refusal| Exit::Broker(refusal.to_string()))
    }

    /// Its parent is resident.
    pub(super) fn end_child(
        &mut self,
        parent: InstanceId,
        activation: ActivationId,
        result: Result<Json, WorkflowError>,
        carried: Carried,
    ) {
        self.command(parent, Command::EndChild { activation, result, carried }, Asker::Nobody);
    }

    async fn tell_parent(&mut self, child: InstanceId) -> Result<(), Exit> {
        let Some(found) = self.look(child).await? else { return Ok(()) };
        if let (Some(parent), Some((_, end))) = (found.started.parent, &found.ended)
            && parent.awaited
            && self.resident(parent.instance).await?.is_some()
        {
            let carried = found.hands_back();
            self.end_child(parent.instance, parent.activation, result_of(child, end), carried);
        }
        Ok(())
    }

    async fn cancel_child(&mut self, child: InstanceId) -> Result<(), Exit> {
        if self.resident(child).await?.is_some() {
            let reason = "the instance that ran it no longer waits for it".into();
            self.command(child, Command::Cancel { reason }, Asker::Nobody);
        }
        Ok(())
    }

    async fn check_child(&mut self, child: InstanceId) -> Result<(), Exit> {
        let Some(found) = self.look(child).await? else { return Ok(()) };
        let Some(parent) = found.started.parent.filter(|parent| parent.awaited) else {
            return Ok(());
        };
        let around = self.look(parent.instance).await?;
        let waits = around.is_some_and(|around| {
            around.open_child(parent.activation).is_some_and(|(found, _)| found == child)
        });
        if waits { Ok(()) } else { self.cancel_child(child).await }
    }
}

fn result_of(child: InstanceId, end: &End) -> Result<Json, WorkflowError> {
    match end {
        End::Completed(output) => Ok(output.clone()),
        End::Faulted(error) => Err(error.clone()),
        End::Cancelled => Err(baton_core::child_cancelled(child)),
    }
}

fn depth_of(started: &Started) -> u32 {
    started.parent.map_or(0, |parent| parent.depth)
}
