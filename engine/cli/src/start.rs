//! Starts an instance and, where asked to, waits for its end.

use std::{io::Write as _, time::Duration};

use baton_proto::v1::{HistoryEvent, Instance, StartRequest, Status, event::Kind};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tonic::Request;

use crate::{
    args::StartArguments,
    client::Client,
    error::{Error, Outcome},
    events,
    follow::{self, Follow},
    input, instances,
    output::{Output, Tone},
    progress, shape, times,
};

/// How long what can be read of an instance may lag behind its last event.
const LAG_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn start(
    client: &Client,
    arguments: StartArguments,
    output: &Output,
) -> Result<Outcome, Error> {
    let wait = arguments.wait || arguments.wait_ms.is_some();
    let wait_ms = arguments.wait_ms;
    let response = client.workflows().start(Request::new(request(arguments)?)).await;
    let started = response.map_err(|status| client.error(&status))?.into_inner();
    if wait {
        let instance = await_end(client, &started.id, wait_ms).await?;
        return answer(&instance, output);
    }
    if output.is_json() {
        output.json(&json!({ "id": started.id, "created": started.created }))?;
    } else {
        output.line(&started.id)?;
        if !started.created {
            let note = output.paint.apply(Tone::Dim, "had been started before with this key");
            writeln!(std::io::stderr().lock(), "{note}")?;
        }
    }
    Ok(Outcome::Well)
}

fn request(arguments: StartArguments) -> Result<StartRequest, Error> {
    Ok(StartRequest {
        namespace: arguments.workflow.namespace,
        name: arguments.workflow.name,
        version: arguments.workflow.version,
        input: input::value(&arguments.input)?,
        idempotency_key: arguments.key,
        labels: arguments.labels.into_iter().map(|label| (label.key, label.value)).collect(),
    })
}

/// The instance when it has ended, or as it is after `wait_ms`.
async fn await_end(client: &Client, id: &str, wait_ms: Option<u64>) -> Result<Instance, Error> {
    let spinner = progress::spinner(id);
    let mut follow = Follow::new(client, id.to_owned(), 0);
    let end = follow::to_end(&mut follow, |event| {
        if let Some(now) = progress_of(event) {
            spinner.set_message(format!("{id}  {now}"));
        }
    });
    let ended = match wait_ms {
        Some(ms) => timeout(Duration::from_millis(ms), end).await.unwrap_or(Ok(())),
        None => end.await,
    };
    spinner.finish_and_clear();
    ended?;
    if wait_ms.is_some() {
        return instances::get(client, id).await;
    }
    let patience = Instant::now() + LAG_MAX;
    loop {
        let instance = instances::get(client, id).await?;
        if shape::has_ended(&instance) || Instant::now() > patience {
            return Ok(instance);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn progress_of(event: &HistoryEvent) -> Option<String> {
    match events::event_kind(event)? {
        Kind::StepScheduled(step) if step.attempt > 1 => {
            Some(format!("{} attempt {}", event.task, step.attempt))
        }
        Kind::StepScheduled(_) => Some(event.task.clone()),
        Kind::TimerStarted(timer) => {
            let left = times::span(timer.fire_at_ms - events::at_ms(event));
            Some(format!("{} waits {left}", event.task))
        }
        Kind::ApprovalAsked(asked) => {
            Some(format!("{} waits for people of {}", event.task, asked.group))
        }
        Kind::StepHalted(halted) => {
            Some(format!("{} is stopped by kill switch {}", event.task, halted.switch))
        }
        Kind::InstanceSuspended(_) => Some("suspended".into()),
        Kind::ListenStarted(_) => Some(format!("{} listens", event.task)),
        Kind::ChildStarted(child) => {
            Some(format!("{} runs {}/{}", event.task, child.namespace, child.name))
        }
        Kind::InstanceStarted(_)
        | Kind::StepJudged(_)
        | Kind::StepRemedied(_)
        | Kind::ApprovalClaimed(_)
        | Kind::ApprovalAnswered(_)
        | Kind::ApprovalOverdue(_)
        | Kind::ApprovalsVoided(_)
        | Kind::TaskEntered(_)
        | Kind::TaskSkipped(_)
        | Kind::TaskCompleted(_)
        | Kind::TaskFaulted(_)
        | Kind::StepCompleted(_)
        | Kind::StepFailed(_)
        | Kind::StepCancelled(_)
        | Kind::ResultFenced(_)
        | Kind::KeyClaimed(_)
        | Kind::KeyAttached(_)
        | Kind::KeyResolved(_)
        | Kind::TimerFired(_)
        | Kind::LoopStarted(_)
        | Kind::LoopIterated(_)
        | Kind::ErrorCaught(_)
        | Kind::RetryScheduled(_)
        | Kind::InstanceResumed(_)
        | Kind::InstanceCompleted(_)
        | Kind::InstanceFaulted(_)
        | Kind::InstanceCancelled(_)
        | Kind::InstanceRerun(_)
        | Kind::ForkStarted(_)
        | Kind::MapStarted(_)
        | Kind::MapItemFaulted(_)
        | Kind::EventEmitted(_)
        | Kind::EventPublished(_)
        | Kind::EventTaken(_)
        | Kind::ListenIterated(_)
        | Kind::ListenIterationEnded(_)
        | Kind::ChildEnded(_)
        | Kind::ChildCancelled(_)
        | Kind::CompensationKept(_)
        | Kind::CompensationStarted(_)
        | Kind::CompensationFailed(_) => None,
    }
}

fn answer(instance: &Instance, output: &Output) -> Result<Outcome, Error> {
    if output.is_json() {
        output.json(&shape::result(instance))?;
    } else {
        let status = output.paint.apply(instances::status_tone(instance), shape::status(instance));
        output.line(&format!("{} {status}", instance.id))?;
        if let Some(error) = &instance.error {
            output.line(&shape::problem_text(error))?;
        }
        if !instance.reason.is_empty() {
            output.line(&instance.reason)?;
        }
        if !instance.output.is_empty() {
            output.line(&format!("{:#}", shape::value(&instance.output)))?;
        }
        if !shape::has_ended(instance) {
            output.line(&format!("it goes on; `baton watch {}` follows it", instance.id))?;
        }
    }
    Ok(match instance.status() {
        Status::Completed => Outcome::Well,
        Status::Faulted | Status::Cancelled => Outcome::NotCompleted,
        Status::Unspecified
        | Status::Pending
        | Status::Running
        | Status::Waiting
        | Status::Suspended => Outcome::Problems,
    })
}
