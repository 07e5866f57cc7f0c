//! What comes in through the inbox: hostile until it has been checked.

use std::sync::Arc;

use async_nats::jetstream::Message;
use baton_core::{
    ActivationId, Attempt, Command, Error as WorkflowError, InstanceId, Json, Rejection, Timestamp,
    error::{Standard, TYPES},
    event::Report,
};
use baton_proto::v1::{self, step_result::Outcome};
use prost::Message as _;

use super::{Exit, lanes::Asker, owner::Owner, partition_of};
use crate::{broker, limits, wire::cut};

/// Why a result was refused; the codes stand in docs/errors.md and on the metric `baton_refused_results`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    WrongToken,
    WrongDepartment,
    UnknownInstance,
    NotJson,
    TooLarge,
    /// A kill switch had stopped the attempt: it is on record, and nothing follows from it.
    Fenced,
    /// With the code of the refusal.
    Rejected(&'static str),
}

/// A message of the inbox whose results are being taken.
pub(super) struct Taking {
    sequence: u64,
    department: Arc<str>,
    results: std::vec::IntoIter<v1::StepResult>,
}

impl Refused {
    fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed-result",
            Self::WrongToken => "wrong-token",
            Self::WrongDepartment => "wrong-department",
            Self::UnknownInstance => "unknown-instance",
            Self::NotJson => "result-not-json",
            Self::TooLarge => "result-too-large",
            Self::Fenced => "halted",
            Self::Rejected(code) => code,
        }
    }

    /// Whether somebody may be trying something, as against a message that came twice or late.
    fn is_security_event(self) -> bool {
        match self {
            Self::WrongToken | Self::WrongDepartment | Self::Malformed | Self::Fenced => true,
            Self::UnknownInstance | Self::NotJson | Self::TooLarge | Self::Rejected(_) => false,
        }
    }
}

impl Owner {
    /// Takes one message of the inbox, whatever it holds: nothing in it may stop the partition.
    pub(super) async fn take_message(&mut self, message: &Message) -> Result<(), Exit> {
        let Ok(sequence) = message.info().map(|info| info.stream_sequence) else {
            self.refuse(Refused::Malformed, "", None);
            return Ok(());
        };
        if sequence <= self.inbox_position {
            return Ok(());
        }
        let department = broker::result_department(&message.subject);
        match (department, v1::ResultBatch::decode(message.payload.clone())) {
            (Some(department), Ok(batch)) => {
                let department = Arc::from(department);
                self.taking =
                    Some(Taking { sequence, department, results: batch.results.into_iter() });
                self.take_results().await?;
            }
            (department, _) => {
                self.refuse(Refused::Malformed, department.unwrap_or_default(), None);
                self.inbox_position = sequence;
            }
        }
        Ok(())
    }

    /// Takes results of the message at hand while the batch has room. What is left waits for the next batch; should
    /// this owner go before that, the next one reads the message again, and what was taken counts once.
    pub(super) async fn take_results(&mut self) -> Result<(), Exit> {
        let Some(mut taking) = self.taking.take() else { return Ok(()) };
        while !self.batch.is_full() {
            let Some(result) = taking.results.next() else {
                self.inbox_position = taking.sequence;
                return Ok(());
            };
            let instance = crate::wire::instance_id(&result.instance).ok();
            if let Err(refused) = self.take_result(&taking, result).await? {
                self.refuse(refused, &taking.department, instance);
            }
        }
        self.taking = Some(taking);
        Ok(())
    }

    async fn take_result(
        &mut self,
        taking: &Taking,
        result: v1::StepResult,
    ) -> Result<Result<(), Refused>, Exit> {
        let Ok(id) = crate::wire::instance_id(&result.instance) else {
            return Ok(Err(Refused::Malformed));
        };
        let (step, attempt) = (ActivationId(result.step), Attempt(result.attempt));
        if partition_of(id) != self.partition {
            return Ok(Err(Refused::UnknownInstance));
        }
        if !self.engine.tokens.verify(&result.token, id, step, attempt) {
            return Ok(Err(Refused::WrongToken));
        }
        // A step that is open knows its department without its instance being in memory.
        if let Some(open) = self.steps.get(&(id, step))
            && open.function.department != taking.department
        {
            return Ok(Err(Refused::WrongDepartment));
        }
        let stopped_by = self.halting.of_worker(&result.worker).map(|switch| switch.number);
        let command = match command(step, attempt, result) {
            Ok(command) => command,
            Err(refused) => return Ok(Err(refused)),
        };
        if self.resident(id).await?.is_none() {
            return Ok(Err(Refused::UnknownInstance));
        }
        let resident = &self.residents[&id];
        let halted = resident.instance.halted_step(step).is_some_and(|it| it.attempt == attempt);
        if halted && resident.function(step).is_none_or(|of| of.department != taking.department) {
            return Ok(Err(Refused::WrongDepartment));
        }
        if let Some(number) = stopped_by {
            let switch = number.to_string().into();
            let halt = Command::HaltStep { activation: step, attempt, switch };
            self.command(id, halt, Asker::Nobody);
        }
        if self.is_beside(id) {
            // Nothing is held that would be refused.
            let open = self.steps.get(&(id, step)).is_some_and(|open| open.attempt == attempt);
            if !(open || halted) || self.lanes.answered(id, step) {
                return Ok(Err(Refused::Rejected(Rejection::StaleAttempt.code())));
            }
        }
        let (sequence, department) = (taking.sequence, Arc::clone(&taking.department));
        self.command(id, command, Asker::Worker { sequence, department });
        Ok(Ok(()))
    }

    pub(super) fn refuse(&self, refused: Refused, department: &str, instance: Option<InstanceId>) {
        self.engine.metrics.result_refused(refused.code());
        let instance = instance.map(|id| id.to_string()).unwrap_or_default();
        if refused.is_security_event() {
            tracing::warn!(
                code = refused.code(),
                department,
                instance,
                "A result was refused: somebody may be trying something"
            );
        } else {
            tracing::debug!(code = refused.code(), department, instance, "A result was refused");
        }
    }
}

fn command(
    activation: ActivationId,
    attempt: Attempt,
    result: v1::StepResult,
) -> Result<Command, Refused> {
    let report = Report {
        worker: cut(&result.worker, 256).into(),
        service: cut(&result.service, 256).into(),
        started: Timestamp(result.started_ms),
        finished: Timestamp(result.finished_ms),
        cost: result.cost,
    };
    match result.outcome.ok_or(Refused::Malformed)? {
        Outcome::Output(output) => {
            if output.len() > limits::OUTPUT_BYTES_MAX {
                return Err(Refused::TooLarge);
            }
            let text = String::from_utf8(output).map_err(|_| Refused::NotJson)?;
            baton_dsl::check_json(&text).map_err(|_| Refused::NotJson)?;
            Ok(Command::CompleteStep { activation, attempt, output: Json::from_text(text), report })
        }
        Outcome::Failure(failure) => {
            let retryable = failure.retryable;
            Ok(Command::FailStep { activation, attempt, error: error(&failure), retryable, report })
        }
    }
}

fn error(failure: &v1::Failure) -> WorkflowError {
    let text =
        |text: &str| (!text.is_empty()).then(|| cut(text, limits::FAILURE_TEXT_BYTES_MAX).into());
    let kind = if failure.r#type.is_empty() {
        format!("{TYPES}{}", Standard::Runtime.name())
    } else {
        cut(&failure.r#type, limits::FAILURE_TEXT_BYTES_MAX).to_owned()
    };
    WorkflowError {
        kind: kind.into(),
        status: u16::try_from(failure.status).ok().filter(|status| *status > 0).unwrap_or(500),
        title: text(&failure.title),
        detail: text(&failure.detail),
        instance: None,
    }
}
