//! What a handler knows about the step in its hands.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::{Client, Subject};
use baton_proto::v1;
use futures::FutureExt;
use prost::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Failure, Outcome, secrets::Revealed};

/// The step that a handler works on. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Step>);

struct Step {
    command: v1::StepCommand,
    instance: Uuid,
    traceparent: Option<String>,
    cancelled: CancellationToken,
    reports: Reports,
    /// Set before the handler runs.
    secrets: OnceLock<Revealed>,
    spent: AtomicU64,
}

/// Where reports of progress go.
pub(crate) enum Reports {
    Nats { client: Client, subject: Subject },
    Kept(Arc<Mutex<Vec<(f64, String)>>>),
}

impl Context {
    pub(crate) fn new(
        command: v1::StepCommand,
        instance: Uuid,
        traceparent: Option<String>,
        cancelled: CancellationToken,
        reports: Reports,
    ) -> Self {
        let secrets = OnceLock::new();
        let spent = AtomicU64::new(0);
        Self(Arc::new(Step { command, instance, traceparent, cancelled, reports, secrets, spent }))
    }

    /// The instance of the workflow.
    pub fn instance(&self) -> Uuid {
        self.0.instance
    }

    /// The step's number in its instance.
    pub fn step(&self) -> u32 {
        self.0.command.step
    }

    /// 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.0.command.attempt
    }

    /// The same for every attempt and every redelivery of this step, and for no other step: pass it on to whoever
    /// carries an effect out, so that it happens once.
    pub fn idempotency_key(&self) -> &str {
        &self.0.command.idempotency_key
    }

    /// After this the engine takes no result; none: no deadline.
    pub fn deadline(&self) -> Option<SystemTime> {
        let ms = u64::try_from(self.0.command.deadline_ms).ok().filter(|ms| *ms > 0)?;
        UNIX_EPOCH.checked_add(Duration::from_millis(ms))
    }

    /// Name of the task in the workflow.
    pub fn task(&self) -> &str {
        &self.0.command.task
    }

    /// `namespace/name:version`.
    pub fn workflow(&self) -> &str {
        &self.0.command.workflow
    }

    /// `department.function`.
    pub fn function(&self) -> &str {
        &self.0.command.function
    }

    /// The W3C trace context of this work, whose span the engine writes: send it along with calls to other services,
    /// or make it the parent of your own spans, and they appear in the instance's trace under the step.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// The value of a secret that this step names. In the input, placeholders of secrets have been replaced already;
    /// this is for a secret that the input names and does not hold.
    ///
    /// # Errors
    ///
    /// An authorization error with status 403 when the step does not name that secret.
    pub fn secret(&self, name: &str) -> Outcome<&str> {
        let value = self.0.secrets.get().and_then(|secrets| secrets.get(name));
        value.ok_or_else(|| {
            Failure::secret_missing(format_args!("the step names no secret {name:?}"))
        })
    }

    /// The text without the values of this step's secrets. Output and failures are scrubbed by the worker itself; this
    /// is for what a handler writes elsewhere.
    pub fn scrub(&self, text: &str) -> String {
        match self.0.secrets.get() {
            Some(secrets) => secrets.scrub(text),
            None => text.to_owned(),
        }
    }

    /// Says how far the step has come: 0 to 1, or negative when unknown. Nobody waits for it, it may be lost, and it
    /// never enters the log.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        let message = self.scrub(&message.into());
        match &self.0.reports {
            Reports::Kept(kept) => {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push((fraction, message));
            }
            Reports::Nats { client, subject } => {
                let command = &self.0.command;
                let progress = v1::Progress {
                    instance: command.instance.clone(),
                    step: command.step,
                    attempt: command.attempt,
                    token: command.token.clone(),
                    fraction,
                    message,
                };
                // Polled once: when the connection has no room, the report is dropped rather than waited for.
                let sent =
                    client.publish(subject.clone(), progress.encode_to_vec().into()).now_or_never();
                if !matches!(sent, Some(Ok(()))) {
                    tracing::debug!(task = command.task, "a report of progress was dropped");
                }
            }
        }
    }

    /// Says what this attempt spends, in millionths of the unit of money; said more than once, it adds up. It goes into the
    /// log with the result, and policies see what a case has cost so far.
    pub fn spend(&self, millionths: u64) {
        let add = |spent: u64| Some(spent.saturating_add(millionths));
        let _ = self.0.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn spent(&self) -> u64 {
        self.0.spent.load(Ordering::Relaxed)
    }

    /// Waits until the step is no longer wanted. What the handler returns after that is thrown away.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    /// Whether the step is no longer wanted.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    pub(crate) fn reveal(&self, secrets: Revealed) -> &Revealed {
        self.0.secrets.get_or_init(|| secrets)
    }

    pub(crate) fn command(&self) -> &v1::StepCommand {
        &self.0.command
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token and the input: this goes to logs.
        f.debug_struct("Context")
            .field("instance", &self.instance())
            .field("step", &self.step())
            .field("attempt", &self.attempt())
            .field("function", &self.function())
            .finish_non_exhaustive()
    }
}
