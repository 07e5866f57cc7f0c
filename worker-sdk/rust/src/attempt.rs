//! One attempt at one step: from a delivered command to its result.

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_proto::v1;
use prost::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock,
    context::{Context, Reports},
    delay::Delay,
    desk::Desk,
    function::Function,
    in_hand::AttemptId,
    trace,
};

/// A command as it came from the queue.
pub(crate) struct Delivered {
    pub(crate) id: AttemptId,
    command: v1::StepCommand,
    traceparent: Option<String>,
    /// Another delivery came before, so the attempt may be settled already.
    redelivered: bool,
    ack_wait: Duration,
}

/// Why a command cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the body is no StepCommand")]
    Body(#[from] prost::DecodeError),
    #[error("the instance must have 16 bytes")]
    Instance,
    #[error("the reply subject is missing")]
    ReplySubject,
}

/// How an attempt ended.
pub(crate) enum Ending {
    Finished(Box<Finished>),
    /// Nobody wants it any more: acknowledge it and forget it.
    Closed(AttemptId),
    /// Nobody could be asked whether it is still wanted: its next delivery will ask again.
    Left(AttemptId),
}

/// A result on its way.
pub(crate) struct Finished {
    pub(crate) id: AttemptId,
    pub(crate) cancelled: CancellationToken,
    pub(crate) reply_subject: String,
    pub(crate) result: v1::StepResult,
    /// How long the handler ran.
    pub(crate) took: Duration,
}

impl Delivered {
    pub(crate) fn read(message: &async_nats::Message, ack_wait: Duration) -> Result<Self, Error> {
        let command = v1::StepCommand::decode(message.payload.clone())?;
        let id = AttemptId::of_command(&command).ok_or(Error::Instance)?;
        if command.reply_subject.is_empty() {
            return Err(Error::ReplySubject);
        }
        let traceparent = message.headers.as_ref().and_then(|headers| headers.get("traceparent"));
        // An unknown form of the subject counts as a redelivery: asking once too often does no harm.
        let redelivered = command.ask_first
            || message.reply.as_deref().and_then(deliveries).is_none_or(|n| n > 1);
        Ok(Self {
            id,
            command,
            traceparent: traceparent.and_then(|header| trace::under_process(header.as_str())),
            redelivered,
            ack_wait,
        })
    }

    /// Runs the handler, unless the attempt is no longer wanted.
    pub(crate) async fn run(
        self,
        desk: Arc<Desk>,
        function: Arc<Function>,
        cancelled: CancellationToken,
    ) -> Ending {
        let Self { id, mut command, traceparent, redelivered, ack_wait } = self;
        if redelivered {
            match ask(&desk, &command, ack_wait).await {
                Some(true) => {}
                Some(false) => return Ending::Closed(id),
                None => return Ending::Left(id),
            }
        }
        let started_ms = clock::now_ms();
        if (command.deadline_ms > 0 && command.deadline_ms < started_ms) || cancelled.is_cancelled()
        {
            return Ending::Closed(id);
        }
        let began = Instant::now();
        let input = std::mem::take(&mut command.input);
        let reports = Reports::Nats {
            client: desk.client.clone(),
            subject: format!("baton.progress.{}", desk.department).into(),
        };
        let context = Context::new(
            command,
            Uuid::from_bytes(id.instance),
            traceparent,
            cancelled.clone(),
            reports,
        );
        let outcome =
            function.call(&desk.secrets, context.clone(), input, desk.output_bytes_max()).await;
        let result = v1::StepResult {
            instance: id.instance.to_vec(),
            step: id.step,
            attempt: id.attempt,
            token: context.command().token.clone(),
            outcome: Some(match outcome {
                Ok(output) => v1::step_result::Outcome::Output(output),
                Err(failure) => v1::step_result::Outcome::Failure(failure.into_wire()),
            }),
            worker: desk.worker.clone(),
            service: desk.service.clone(),
            started_ms,
            finished_ms: clock::now_ms(),
            cost: context.spent(),
        };
        let reply_subject = context.command().reply_subject.clone();
        Ending::Finished(Box::new(Finished {
            id,
            cancelled,
            reply_subject,
            result,
            took: began.elapsed(),
        }))
    }
}

/// Asks the engine whether the attempt is still open; none when no answer came within the command's ack wait.
async fn ask(desk: &Desk, command: &v1::StepCommand, ack_wait: Duration) -> Option<bool> {
    let query = v1::AttemptQuery {
        instance: command.instance.clone(),
        step: command.step,
        attempt: command.attempt,
        token: command.token.clone(),
    };
    let (subject, query) = (format!("baton.attempt.{}", desk.department), query.encode_to_vec());
    let ask = async {
        let mut delay = Delay::new();
        loop {
            match desk.request(subject.clone(), query.clone().into()).await {
                Ok(answer) => match v1::AttemptStatus::decode(answer.payload) {
                    Ok(status) => return status.open,
                    Err(error) => {
                        tracing::warn!(%error, "an answer about an attempt cannot be read");
                    }
                },
                Err(error) => {
                    tracing::debug!(%error, "the engine could not be asked about an attempt");
                }
            }
            tokio::time::sleep(delay.next()).await;
        }
    };
    tokio::time::timeout(ack_wait, ask).await.ok()
}

/// How often the message with this acknowledgement subject has been delivered:
/// `$JS.ACK.<stream>.<consumer>.<deliveries>…`, or with domain and account before the stream.
fn deliveries(reply: &str) -> Option<u64> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let place = match tokens.len() {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    tokens.get(place).copied().map(u64::from_str)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_read_from_both_forms_of_the_subject() {
        assert_eq!(
            deliveries("$JS.ACK.BATON_WORK.finance-pay.3.12.13.1700000000000000000.0"),
            Some(3)
        );
        assert_eq!(
            deliveries("$JS.ACK._.hash.BATON_WORK.finance-pay.2.12.13.1700000000000000000.0"),
            Some(2)
        );
        assert_eq!(
            deliveries("$JS.ACK._.hash.BATON_WORK.finance-pay.2.12.13.1700000000000000000.0.x"),
            Some(2)
        );
        assert_eq!(deliveries("_R_.abc.def"), None);
    }
}
